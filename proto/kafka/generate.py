#!/usr/bin/env python3
"""Turns schema/*.txt into C: one header of structs and typed calls a schema, and one table of descriptors.

usage: generate.py <output folder> <schema.txt>...     (the build runs it; README.md has the language)
"""
import os
import re
import sys

OPEN = 32767  # "and all later versions"
SCALARS = {  # name: C type, bytes on the wire
    "bool": ("bool", 1), "int8": ("int8_t", 1), "int16": ("int16_t", 2), "int32": ("int32_t", 4),
    "int64": ("int64_t", 8), "uint16": ("uint16_t", 2), "uint32": ("uint32_t", 4), "float64": ("double", 8),
    "uuid": ("struct uuid", 16), "string": ("struct kafka_string", None), "bytes": ("struct kafka_bytes", None),
    "records": ("struct kafka_bytes", None),
}
INTEGERS = {"bool", "int8", "int16", "int32", "int64", "uint16", "uint32"}
RANGES = {"bool": (0, 1), "int8": (-2**7, 2**7 - 1), "int16": (-2**15, 2**15 - 1), "int32": (-2**31, 2**31 - 1),
          "int64": (-2**63, 2**63 - 1), "uint16": (0, 2**16 - 1), "uint32": (0, 2**32 - 1)}
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class SchemaError(Exception):
    pass


def parse_range(text):
    """'3-11', '9+', '4' or 'none' as (first, last); (1, 0) holds nothing."""
    if text == "none":
        return 1, 0
    m = re.match(r"(\d+)(?:-(\d+)|(\+))?\Z", text)
    if m is None:
        raise SchemaError("not a range of versions: " + text)
    first = int(m[1])
    last = OPEN if m[3] else int(m[2]) if m[2] else first
    if first > last:
        raise SchemaError("empty range of versions: " + text)
    return first, last


def within(version, versions):
    return versions[0] <= version <= versions[1]


class Field:
    """One line of a schema."""

    def __init__(self, words):
        self.name = words[0]
        m = re.match(r"(\[\])?([a-z][a-z0-9_]*)(\?)?(.*)\Z", words[1])
        if m is None or NAME.match(self.name) is None or (m[4] and not m[3]):
            raise SchemaError("not a field: " + " ".join(words))
        self.array, self.type, self.nullable = bool(m[1]), m[2], bool(m[3])
        self.null = parse_range(m[4]) if m[4] else (0, OPEN) if m[3] else (1, 0)
        self.versions, self.default, self.tag = (0, OPEN), None, -1
        self.ignorable = self.classic = False
        self.struct = None if self.type in SCALARS else Struct(self.type)
        words = words[2:]
        if words and words[0][0].isdigit():
            self.versions = parse_range(words.pop(0))
        while words:
            word = words.pop(0)
            if word in ("=", "tag") and not words:
                raise SchemaError("nothing after " + word)
            if word == "=":
                self.default = words.pop(0)
            elif word == "tag":
                self.tag = int(words.pop(0))
            elif word == "ignorable":
                self.ignorable = True
            elif word == "classic":
                self.classic = True
            else:
                raise SchemaError("unknown word: " + word)
        self.check_default()

    def check_default(self):
        self.default_null, self.default_value = False, 0
        if self.struct is not None and self.nullable and not self.array:
            self.default_null = True  # a struct that may be absent is absent unless said
        if self.default is None:
            return
        if self.default == "null":
            if not self.nullable:
                raise SchemaError(self.name + ": null by default, but never null")
            self.default_null = True
        elif self.array or self.type not in INTEGERS:
            raise SchemaError(self.name + ": only integers have defaults of their own")
        else:
            self.default_value = {"true": 1, "false": 0}.get(self.default)
            if self.default_value is None:
                self.default_value = int(self.default, 0)
            low, high = RANGES[self.type]
            if not low <= self.default_value <= high:
                raise SchemaError(self.name + ": the default does not fit")

    def pointer(self):
        return self.struct is not None and self.nullable and not self.array

    def wire_min(self, version, flexible):
        """The fewest bytes that this field can take."""
        flexible = flexible and not self.classic
        if self.array:
            return 1 if flexible else 4
        if self.pointer():
            return 1
        if self.struct is not None:
            return self.struct.wire_min(version, flexible)
        if SCALARS[self.type][1] is not None:
            return SCALARS[self.type][1]
        return 1 if flexible else 2 if self.type == "string" else 4


class Struct:
    def __init__(self, name):
        self.name, self.fields, self.c_name = name, [], None

    def wire_min(self, version, flexible):
        return (1 if flexible else 0) + sum(f.wire_min(version, flexible) for f in self.fields
                                            if f.tag < 0 and within(version, f.versions))

    def nested(self):
        """This struct and all inside it, inner ones first."""
        for f in self.fields:
            if f.struct is not None:
                yield from f.struct.nested()
        yield self


class Message:
    def __init__(self, name, key, direction):
        self.name = name + ("_" + direction if direction else "")
        self.key, self.direction = key, direction
        self.root = Struct(self.name)

    def finish(self, versions, flexible):
        self.versions, self.flexible = versions, flexible
        seen = set()
        for s in self.root.nested():
            s.c_name = "kafka_" + (self.name if s is self.root else self.name + "_" + s.name)
            if s.c_name in seen:
                raise SchemaError("two structs named " + s.name)
            seen.add(s.c_name)
            names = [f.name for f in s.fields] + [f.name + "_count" for f in s.fields if f.array]
            if len(set(names)) != len(names):
                raise SchemaError(s.name + ": two fields of one name")
            if sorted(t for t in (f.tag for f in s.fields) if t >= 0) != [f.tag for f in s.fields if f.tag >= 0]:
                raise SchemaError(s.name + ": tags out of order")
            for f in s.fields:
                if f.tag >= 0 and f.versions[0] < flexible[0]:
                    raise SchemaError(f.name + ": tagged before the message is flexible")
                if f.struct is not None and not f.struct.fields:
                    raise SchemaError(f.name + ": unknown type or a struct without fields: " + f.type)

    def item_wire_min(self, field):
        """The fewest bytes of one item of an array, in any version that has the array."""
        if field.struct is None:
            fixed = SCALARS[field.type][1]
            return fixed if fixed is not None else 1
        sizes = [field.struct.wire_min(v, within(v, self.flexible))
                 for v in range(self.versions[0], self.versions[1] + 1) if within(v, field.versions)]
        if not sizes or min(sizes) < 1:
            raise SchemaError(field.name + ": an item without bytes could be repeated for ever")
        return min(sizes)


class Schema:
    """One file: an api's two messages, or one message that stands alone."""

    def __init__(self, path):
        self.path, self.serve, self.response_header, self.messages = path, None, None, []
        self.stem = os.path.splitext(os.path.basename(path))[0]
        self.comment = []
        head, stack = {}, []
        with open(path, encoding="ascii") as f:
            for number, line in enumerate(f, 1):
                try:
                    self.parse_line(line.rstrip("\n"), head, stack)
                except (SchemaError, ValueError, IndexError) as e:
                    raise SchemaError("%s:%d: %s" % (path, number, e)) from e
        try:
            self.finish(head)
        except (SchemaError, KeyError) as e:
            raise SchemaError("%s: %s" % (path, e)) from e

    def parse_line(self, line, head, stack):
        if line.startswith("#") and not head:
            self.comment.append(line.lstrip("# "))
        text = line.split("#")[0].rstrip()
        if not text:
            return
        words, indent = text.split(), len(text) - len(text.lstrip())
        if indent > 0:
            self.parse_field(words, indent, stack)
        elif words[0] in ("api", "message", "versions", "serve", "flexible", "response_header"):
            head[words[0]] = words[1:]
        elif words == ["fields"] or words in (["request"], ["response"]):
            api = "api" in head
            if api == (words == ["fields"]):
                raise SchemaError("an api has a request and a response, a message has fields")
            name = head["api" if api else "message"][0]
            key = int(head["api"][1]) if api else -1
            self.messages.append(Message(name, key, words[0] if api else ""))
            stack[:] = [(0, self.messages[-1].root)]
        else:
            raise SchemaError("unknown line: " + text)

    @staticmethod
    def parse_field(words, indent, stack):
        if indent % 4 != 0 or not stack:
            raise SchemaError("indent by four")
        while stack[-1][0] >= indent:
            stack.pop()
        if stack[-1][0] != indent - 4 or stack[-1][1] is None:
            raise SchemaError("a field below nothing")
        field = Field(words)
        stack[-1][1].fields.append(field)
        stack.append((indent, field.struct))

    def finish(self, head):
        versions, flexible = parse_range(head["versions"][0]), parse_range(head["flexible"][0])
        if versions[1] == OPEN:
            raise SchemaError("versions need an end")
        self.name = head["api" if "api" in head else "message"][0]
        if self.name != self.stem or len(self.messages) != (2 if "api" in head else 1):
            raise SchemaError("a file is named for its api and holds all of it")
        self.versions, self.flexible = versions, flexible
        self.serve = parse_range(head["serve"][0]) if "serve" in head else versions
        self.response_header = int(head["response_header"][0]) if "response_header" in head else -1
        for m in self.messages:
            m.finish(versions, flexible)


def declare(field):
    """The members of a C struct that hold @field."""
    c_type = "struct " + field.struct.c_name if field.struct is not None else SCALARS[field.type][0]
    if field.array:
        return ["%s *%s;" % (c_type, field.name), "int32_t %s_count;" % field.name]
    return ["%s %s%s;" % (c_type, "*" if field.pointer() else "", field.name)]


def note(field):
    """What a reader of the struct wants to know about @field beyond its C type."""
    said = []
    if field.versions != (0, OPEN):
        first, last = field.versions
        said.append("%d+" % first if last == OPEN else str(first) if first == last else "%d-%d" % (first, last))
    if field.nullable:
        said.append("nullable")
    if field.default is not None and field.default != "null":
        said.append("default " + field.default)
    return "  /* %s */" % ", ".join(said) if said else ""


CALLS = """\
extern const struct kafka_message kafka_message_{n};

/* kafka_codec.h says what these do, and their errors. */
MUST_USE static inline int kafka_{n}_decode(struct cursor *c, int16_t version, struct kafka_arena *arena,
                                            struct kafka_{n} *out)
{{
    return kafka_decode(&kafka_message_{n}, c, version, arena, out);
}}
MUST_USE static inline int kafka_{n}_encode(struct writer *w, int16_t version, const struct kafka_{n} *m)
{{
    return kafka_encode(&kafka_message_{n}, w, version, m);
}}
static inline size_t kafka_{n}_size(int16_t version, const struct kafka_{n} *m)
{{
    return kafka_size(&kafka_message_{n}, version, m);
}}
"""


def header(schema):
    guard = "CAIRN_KAFKA_MESSAGES_%s_H" % schema.stem.upper()
    out = ["/* Made from proto/kafka/schema/%s.txt by generate.py. */" % schema.stem,
           "#ifndef " + guard, "#define " + guard, "", '#include "proto/kafka/kafka_codec.h"', ""]
    if len(schema.messages) == 2:
        out += ["enum { KAFKA_API_%s = %d };" % (schema.name.upper(), schema.messages[0].key), ""]
    for m in schema.messages:
        for s in m.root.nested():
            out.append("struct %s {" % s.c_name)
            for f in s.fields:
                lines = declare(f)
                out.extend("    " + line for line in lines[:-1])
                out.append("    " + lines[-1] + note(f))
            out += ["};", "extern const struct kafka_struct kafka_struct_%s;" % s.c_name[6:],
                    "/* Every field at its default. */",
                    "static inline void %s_init(struct %s *s)" % (s.c_name, s.c_name), "{",
                    "    kafka_struct_init(&kafka_struct_%s, s);" % s.c_name[6:], "}", ""]
        out.append(CALLS.format(n=m.name))
    return "\n".join(out + ["#endif", ""])


def describe_field(message, struct, f):
    """One initializer of struct kafka_field."""
    c = "struct " + struct.c_name
    flags = [name for name, on in (
        ("KAFKA_FIELD_ARRAY", f.array), ("KAFKA_FIELD_POINTER", f.pointer()), ("KAFKA_FIELD_IGNORABLE", f.ignorable),
        ("KAFKA_FIELD_CLASSIC", f.classic), ("KAFKA_FIELD_DEFAULT_NULL", f.default_null)) if on]
    value = "INT64_MIN" if f.default_value == -2**63 else "%d" % f.default_value
    parts = ['.name = "%s"' % f.name, ".type = KAFKA_TYPE_" + ("STRUCT" if f.struct else f.type.upper()),
             ".flags = " + (" | ".join(flags) or "0"), ".tag = %d" % f.tag,
             ".version_min = %d, .version_max = %d" % f.versions, ".null_min = %d, .null_max = %d" % f.null,
             ".offset = offsetof(%s, %s)" % (c, f.name), ".default_value = " + value]
    if f.array:
        parts.append(".count_offset = offsetof(%s, %s_count)" % (c, f.name))
        parts.append(".item_wire_min = %d" % message.item_wire_min(f))
    if f.struct is not None:
        parts.append(".inner = &kafka_struct_%s" % f.struct.c_name[6:])
    return "    {%s}," % ", ".join(parts)


def tables(schemas):
    out = ["/* Made from proto/kafka/schema by generate.py. */"]
    out += ['#include "messages/%s.h"' % s.stem for s in schemas]
    out += ['#include "proto/kafka/kafka_api.h"', ""]
    for schema in schemas:
        for m in schema.messages:
            for s in m.root.nested():
                name = s.c_name[6:]
                out += ["static const struct kafka_field fields_%s[] = {" % name]
                out += [describe_field(m, s, f) for f in s.fields]
                out += ["};", "const struct kafka_struct kafka_struct_%s = {" % name,
                        '    "%s", sizeof(struct %s), fields_%s, %d};' % (name, s.c_name, name, len(s.fields))]
            out += ["const struct kafka_message kafka_message_%s = {" % m.name,
                    '    "%s", %d, %d, %d, %d, %d, &kafka_struct_%s};'
                    % ((m.name, m.key) + m.versions + m.flexible + (m.name,)), ""]
    return "\n".join(out + registry(schemas))


def registry(schemas):
    """The lists of all that there is; schemas without an api (those of tests) leave them to the library."""
    out = []
    apis = sorted((s for s in schemas if len(s.messages) == 2), key=lambda s: s.messages[0].key)
    if not apis:
        return out
    if len({s.messages[0].key for s in apis}) != len(apis):
        raise SchemaError("two apis of one key")
    out += ["const struct kafka_api kafka_apis[] = {"]
    for s in apis:
        camel = "".join(word.capitalize() for word in s.name.split("_"))
        out.append('    {%d, "%s", %d, %d, %d, %d, %d, &kafka_message_%s, &kafka_message_%s},' % (
            (s.messages[0].key, camel) + s.versions + (s.serve[0], s.flexible[0] if s.flexible[1] else OPEN,
            s.response_header, s.messages[0].name, s.messages[1].name)))
    out += ["};", "const size_t kafka_apis_count = %d;" % len(apis), ""]
    out += ["const struct kafka_message *const kafka_messages[] = {"]
    out += ["    &kafka_message_%s," % m.name for s in schemas for m in s.messages]
    out += ["};", "const size_t kafka_messages_count = %d;" % sum(len(s.messages) for s in schemas), ""]
    return out


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def main(argv):
    if len(argv) < 3:
        sys.exit(__doc__)
    folder = argv[1]
    try:
        schemas = [Schema(path) for path in sorted(argv[2:])]
        os.makedirs(os.path.join(folder, "messages"), exist_ok=True)
        for schema in schemas:
            write(os.path.join(folder, "messages", schema.stem + ".h"), header(schema))
        write(os.path.join(folder, "kafka_tables.c"), tables(schemas))
    except SchemaError as e:
        sys.exit("generate.py: %s" % e)


if __name__ == "__main__":
    main(sys.argv)
