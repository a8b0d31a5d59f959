"""The native protocol, as much of it as tests need to look at a cluster and change topics: frames, a little protobuf.
Standard library only. Records are the checker's business."""
import socket
import struct

MAGIC = 0x314E5243
VERSION = 1
HEADER = struct.Struct("<IBBHHHIIII")
HEADER_SIZE = HEADER.size + 4
REQUEST, RESPONSE = 1, 2
HELLO, METADATA, PRODUCE, FETCH, LIST_OFFSETS, INIT_PRODUCER_ID = 1, 2, 3, 4, 5, 6
CREATE_TOPIC, DELETE_TOPIC, LIST_TOPICS, DESCRIBE_TOPIC, CLUSTER_STATUS = 7, 8, 9, 10, 11
PEER_HELLO = 64

ERRORS = {6: "NO_SPACE", 9: "BUSY", 12: "TIMEOUT", 13: "TOO_BIG", 15: "UNKNOWN_CALL", 16: "NOT_LEADER",
          17: "LEADER_NOT_READY", 18: "UNKNOWN_OUTCOME", 19: "UNKNOWN_TOPIC", 20: "TOPIC_EXISTS", 21: "INVALID_TOPIC",
          22: "INVALID_PARTITIONS", 23: "INVALID_REPLICAS", 24: "INVALID_CONFIG", 33: "NOT_FORMED"}


def _crc_table():
    table = []
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
        table.append(c)
    return table


_TABLE = _crc_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def frame(call, message=b"", payload=b"", kind=REQUEST, version=1, status=0, correlation=1):
    head = HEADER.pack(MAGIC, VERSION, kind, call, version, status, correlation, len(message), len(payload), 0)
    return head + struct.pack("<I", crc32c(head)) + message + payload


# ---- protobuf ---------------------------------------------------------------------------------------------------------

def _varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(*fields):
    """Fields are (number, value): int, bytes or str."""
    out = b""
    for number, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return out


def decode(data):
    """{number: [values]}; nested messages are left as bytes."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 2:
            size = varint()
            value = data[at:at + size]
            at += size
        else:
            raise ValueError("wire type %d" % (key & 7))
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _one(fields, number, default=0):
    return fields[number][-1] if number in fields else default


def _text(fields, number):
    return _one(fields, number, b"").decode()


def _uints(fields, number):
    """A repeated uint32: packed or not."""
    out = []
    for value in fields.get(number, []):
        if isinstance(value, int):
            out.append(value)
            continue
        at = 0
        while at < len(value):
            n = shift = 0
            while True:
                byte = value[at]
                at += 1
                n |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            out.append(n)
    return out


# ---- calls --------------------------------------------------------------------------------------------------------------

class NativeError(Exception):
    def __init__(self, status, fields):
        super().__init__("%s: %s" % (ERRORS.get(status, "error %d" % status), _text(fields, 1)))
        self.status = status
        self.fields = fields  # of the Failure
        self.name = ERRORS.get(status, str(status))


class Client:
    """One connection, one request at a time."""

    def __init__(self, address, timeout=5.0):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def _read(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("closed")
            data += piece
        return data

    def call(self, call, message=b"", payload=b""):
        self.correlation += 1
        self.socket.sendall(frame(call, message, payload, correlation=self.correlation))
        head = self._read(HEADER_SIZE)
        _, _, kind, got, _, status, correlation, n_message, n_payload, _ = HEADER.unpack(head[:-4])
        body = self._read(n_message)
        self._read(n_payload)
        if kind != RESPONSE or got != call or correlation != self.correlation:
            raise ConnectionError("an answer to something else")
        if status != 0:
            raise NativeError(status, decode(body))
        return decode(body)

    def status(self):
        m = self.call(CLUSTER_STATUS)
        return {"cluster_id": _one(m, 1, b"").hex(), "node": _one(m, 2), "metadata_leader": _one(m, 3),
                "metadata_term": _one(m, 4), "nodes": [_node(n) for n in m.get(5, [])], "topics": _one(m, 6),
                "partitions": _one(m, 7), "without_leader": _one(m, 8),
                "shards": [{"groups": _one(s, 2), "leading": _one(s, 3), "log_bytes": _one(s, 4), "damaged": _one(s, 6)}
                           for s in map(decode, m.get(9, []))],
                "metadata_voters": _uints(m, 12)}

    def metadata(self, topic):
        m = self.call(METADATA, encode((1, topic)))
        topics = [_topic(t) for t in m.get(4, [])]
        return {"metadata_leader": _one(m, 2), "nodes": [_node(n) for n in m.get(3, [])],
                "topic": topics[0] if topics else None}

    def create_topic(self, name, partitions=6, replication=3, timeout_ms=10000, configs=()):
        fields = [(1, name), (2, partitions), (3, replication), (5, timeout_ms)]
        fields += [(4, encode((1, k), (2, v))) for k, v in configs]
        return self.call(CREATE_TOPIC, encode(*fields))

    def delete_topic(self, name, timeout_ms=10000):
        return self.call(DELETE_TOPIC, encode((1, name), (3, timeout_ms)))

    def list_topics(self):
        m = self.call(LIST_TOPICS)
        return sorted(_text(decode(t), 1) for t in m.get(1, []))


def _node(data):
    m = decode(data)
    return {"node": _one(m, 1), "address": _text(m, 2), "alive": bool(_one(m, 4))}


def _topic(data):
    m = decode(data)
    partitions = []
    for p in map(decode, m.get(4, [])):
        partitions.append({"partition": _one(p, 1), "leader": _one(p, 2), "epoch": _one(p, 3), "replicas": _uints(p, 4),
                           "preferred": _one(p, 5), "group": _one(p, 6)})
    return {"error": _one(m, 1), "name": _text(m, 2), "id": _one(m, 3, b"").hex(), "partitions": partitions}
