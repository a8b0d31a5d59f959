#!/usr/bin/env python3
"""Every message of ours in every version of ours, filled to the brim and encoded by kafka-python (>= 3.0, its classes
follow Kafka's own definitions): tests/unit/kafka/golden/kafka-python-encoder.txt. Covers what no client of record.py
sends: tagged fields, errors, nulls, rare APIs. usage: encode_all.py, with kafka-python in the path (see record.py)."""
import os
import struct
import uuid

import fake_broker

BITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}


class Filler:
    """Values that differ from field to field and from every default. Nothing random: a second run gives the same."""

    def __init__(self, version):
        self.version, self.count = version, 0

    def simple(self, type_name):
        self.count += 1
        n = self.count
        if type_name in BITS:
            value = (n * 2654435761) % (1 << BITS[type_name])
            return -value - 2 if n % 5 == 0 and value < 100 else value or 1
        if type_name == "bool":
            return True
        if type_name == "string":
            return "text %d " % n + "x" * (130 if n % 11 == 0 else n % 7)
        if type_name in ("bytes", "records"):
            return struct.pack(">I", n) * (40 if n % 11 == 0 else 2)
        if type_name == "uuid":
            return uuid.UUID(int=n << 64 | 0x1234567)
        if type_name == "bitfield":  # an int32 in fact
            return {3, 4, 5 + n % 7}
        raise ValueError(type_name)

    def fill(self, data_class):
        out = {}
        for name, field in data_class._struct.fields.items():
            if not field.for_version_q(self.version):
                continue
            self.count += 1
            tagged = field.tagged_field_q(self.version)
            if field.nullable_for_version_q(self.version) and self.count % 4 == 0 and not tagged:
                out[name] = None
            elif field.is_struct_array():
                out[name] = [self.fill(field.data_class) for _ in range(2)]
            elif field.is_struct():
                out[name] = self.fill(field.data_class)
            elif field.is_array():
                out[name] = [self.simple(field.array_of.type_str.lstrip("[]")) for _ in range(3)]
            else:
                out[name] = self.simple(field.type_str)
        return data_class(**out)


def main():
    name, broker = "kafka-python-encoder", fake_broker.Broker("new", None)
    broker.close()
    path = os.path.join(fake_broker.ROOT, "tests/unit/kafka/golden", name + ".txt")
    with open(path, "w", encoding="ascii") as f:
        f.write("# Made by tests/interop/record/encode_all.py.\n")
        for key, (schema, low, high) in sorted(broker.apis.items()):
            camel = "".join(word.capitalize() for word in schema.name.split("_"))
            for version in range(low, high + 1):
                for direction in ("request", "response"):
                    message = Filler(version).fill(broker.classes[key, direction == "request"])
                    message.API_VERSION = version
                    message.with_header(correlation_id=key * 1000 + version)
                    f.write("%s %s %d %s %s\n" % (name, camel, version, direction, message.encode(header=True).hex()))


if __name__ == "__main__":
    main()
