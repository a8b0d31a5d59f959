#!/usr/bin/env python3
"""Compares proto/kafka/schema, field by field (name, type, versions, null, default, tag, ignorable), with the definitions
that kafka-python (>= 3.0) is made from. Round trips cannot see two fields of one type with their names swapped; this can.
Prints the differences, exits 1 where there are any. usage: check_schema.py, with kafka-python in the path."""
import glob
import importlib
import os
import pkgutil
import sys

import kafka
import kafka.coordinator

import fake_broker
from fake_broker import generate

# Where kafka-python goes its own way, or a newer version than ours drops the field and so made it ignorable.
KNOWN = {("ignorable", "name"), ("ignorable", "client_id"), ("default", "replica_id"), ("default", "assignments")}
RENAMED = {"cluster_authorized_operations": "authorized_operations", "topic_authorized_operations": "authorized_operations"}


def definitions():
    """Name -> parsed definition, of every class of kafka-python that has one."""
    found = {}
    for package in (kafka.protocol, kafka.coordinator):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if ".old" in module.name or "generate" in module.name:
                continue
            try:
                values = vars(importlib.import_module(module.name)).values()
            except ImportError:
                continue
            for value in values:
                if isinstance(value, type) and getattr(value, "_json", None):
                    found[value._json["name"]] = value._json
    return found


def clip(versions, within):
    first, last = max(versions[0], within[0]), min(versions[1], within[1])
    return (first, last) if first <= last else None


def default_of(text):
    text = "" if text is None else str(text)
    if text == "null":
        return "null"
    return {"": 0, "true": 1, "false": 0}.get(text) if text in ("", "true", "false") else int(text, 0)


def snake(name):
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


class Comparison:
    def __init__(self):
        self.differences, self.fields = [], 0

    def say(self, what, path, ours, theirs):
        if ours != theirs and (what, path.rsplit(".", 1)[-1]) not in KNOWN:
            self.differences.append("%s: %s: %r here, %r there" % (path, what, ours, theirs))

    def compare(self, path, ours, theirs, common, within):
        theirs = [t for t in theirs if clip(generate.parse_range(t["versions"]), within)]
        names = [RENAMED.get(f.name, f.name) for f in ours]
        self.say("fields", path, names, [snake(t["name"]) for t in theirs])
        for f, t in zip(ours, theirs):
            self.fields += 1
            self.compare_field(path + "." + f.name, f, t, common, within)

    def compare_field(self, path, f, t, common, within):
        versions = clip(generate.parse_range(t["versions"]), within)
        self.say("versions", path, clip(f.versions, within), versions)
        type_name = t["type"].replace("[]", "")
        self.say("array", path, f.array, t["type"].startswith("[]"))
        if f.struct is None:
            self.say("type", path, f.type, {"bitfield": "int32"}.get(type_name, type_name))
        null = clip(generate.parse_range(t["nullableVersions"]), versions) if "nullableVersions" in t else None
        self.say("null", path, clip(f.null, versions) if f.nullable else None, null)
        self.say("default", path, default_of(f.default), default_of(t.get("default")))
        self.say("tag", path, f.tag, t.get("tag", -1))
        self.say("ignorable", path, f.ignorable, bool(t.get("ignorable")))
        self.say("classic", path, f.classic, "flexibleVersions" in t)
        if f.struct is not None:
            self.compare(path, f.struct.fields, t.get("fields") or common[type_name], common, versions)


def main():
    found, comparison = definitions(), Comparison()
    for path in sorted(glob.glob(os.path.join(fake_broker.ROOT, "proto/kafka/schema/*.txt"))):
        schema = generate.Schema(path)
        camel = "".join(word.capitalize() for word in schema.name.split("_"))
        names = [camel + "Request", camel + "Response"] if len(schema.messages) == 2 else \
            [camel.replace("Consumer", "ConsumerProtocol")]
        for message, name in zip(schema.messages, names):
            if name not in found:
                print("%s: not known to kafka-python" % name)
                continue
            theirs = found[name]
            common = {c["name"]: c["fields"] for c in theirs.get("commonStructs", [])}
            comparison.say("flexible", name, schema.flexible, generate.parse_range(theirs["flexibleVersions"]))
            comparison.say("key", name, message.key, theirs.get("apiKey", -1))
            comparison.compare(name, message.root.fields, theirs["fields"], common, schema.versions)
    print("\n".join(comparison.differences + ["%d fields, %d differences" % (comparison.fields,
                                                                            len(comparison.differences))]))
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
