#!/usr/bin/env python3
"""The generator refuses schemas that would make a wrong table, naming the line."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, sys.argv.pop(1))
import generate  # noqa: E402

HEAD = "message x\nversions 0-3\nflexible 2+\nfields\n"


def parse(text, name="x"):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name + ".txt")
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        schema = generate.Schema(path)
        generate.header(schema)
        generate.tables([schema])
        return schema


class Refuses(unittest.TestCase):
    def refuses(self, text, why, name="x"):
        with self.assertRaises(generate.SchemaError) as caught:
            parse(text, name)
        self.assertIn(why, str(caught.exception))

    def test_accepts_a_small_schema(self):
        field = parse(HEAD + "    a  []b? 1+ = null tag 0\n        c  int8\n".replace("1+", "2+")).messages[0].root.fields[0]
        self.assertEqual((field.versions, field.tag, field.default_null), ((2, generate.OPEN), 0, True))

    def test_names_the_line(self):
        self.refuses(HEAD + "    a  int8\n    b  int8 sideways\n", "x.txt:6")

    def test_types(self):
        self.refuses(HEAD + "    a  int9\n", "unknown type")
        self.refuses(HEAD + "    a  [int8\n", "not a field")

    def test_defaults(self):
        self.refuses(HEAD + "    a  int8 = 128\n", "does not fit")
        self.refuses(HEAD + "    a  string = null\n", "never null")
        self.refuses(HEAD + "    a  string = x\n", "only integers")

    def test_tags(self):
        self.refuses(HEAD + "    a  int8 1+ tag 0\n", "before the message is flexible")
        self.refuses(HEAD + "    a  int8 2+ tag 1\n    b  int8 2+ tag 0\n", "out of order")
        self.refuses(HEAD + "    a  int8 2+ tag\n", "nothing after")

    def test_names(self):
        self.refuses(HEAD + "    a  int8\n    a  int8\n", "two fields")
        self.refuses(HEAD + "    a  []int8\n    a_count  int8\n", "two fields")
        self.refuses(HEAD + "    a  s\n        x  int8\n    b  s\n        x  int8\n", "two structs")
        self.refuses(HEAD + "    a  int8\n", "named for its api", name="y")

    def test_shape(self):
        self.refuses(HEAD + "      a  int8\n", "indent")
        self.refuses(HEAD + "    a  int8\n        b  int8\n", "below nothing")
        self.refuses("message x\nversions 0+\nflexible none\nfields\n    a  int8\n", "need an end")
        self.refuses("api x 1\nversions 0-1\nflexible none\nrequest\n    a  int8\n", "all of it")

    def test_items_without_bytes(self):
        self.refuses(HEAD + "    a  []s\n        x  int8 1+\n", "without bytes")


if __name__ == "__main__":
    unittest.main()
