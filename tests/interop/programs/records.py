"""The records that every client's program writes: what record number i looks like."""

KEYS = 23
PADDING = "0123456789abcdefghijklmnopqrstuvwxyz" * 3


def key(i):
    return b"k%d" % (i % KEYS)


def value(i):
    return ("%d:%s" % (i, PADDING[: i % 100])).encode()


def headers(i):
    return [("n", b"%d" % i), ("bytes", b"\x00\xff\x80")]
