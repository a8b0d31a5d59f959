"""What is not the protocol, on every port: the connection is closed with one line in the log, and nothing else changes."""
import os
import random
import socket
import struct
import time

import native
from cluster import SCALE, Checker, Cluster, check, say, tell, wait_until

REPEAT = 100
RSS_GROWTH_MAX = 48 << 20


def http():
    return b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"


def tls_hello():
    random_bytes = bytes(range(32))
    body = b"\x03\x03" + random_bytes + b"\x00" + struct.pack(">H", 4) + b"\x13\x01\x13\x02" + b"\x01\x00" + b"\x00\x00"
    handshake = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


def header(message_length, payload_length, kind=native.REQUEST, call=native.PRODUCE, version=native.VERSION):
    head = native.HEADER.pack(native.MAGIC, version, kind, call, 1, 0, 7, message_length, payload_length, 0)
    return head + struct.pack("<I", native.crc32c(head))


def inputs():
    rng = random.Random(7)
    return {
        "garbage": bytes(rng.randrange(256) for _ in range(4096)),
        "zeros": bytes(4096),
        "http": http(),
        "tls_hello": tls_hello(),
        "absurd_message_length": header(0xFFFFFFFF, 0),
        "absurd_payload_length": header(0, 0xFFFFFFFF),
        "future_frame_version": header(0, 0, version=99),
        "wrong_checksum": header(10, 10)[:-1] + b"\x00",
        "response_unasked": native.frame(native.METADATA, kind=native.RESPONSE),
        "malformed_message": native.frame(native.METADATA, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        "cut_in_header": header(100, 0)[:11],
        "cut_in_message": header(1000, 0) + b"abc",
    }


def until_closed(sock, limit_s=10.0):
    """Reads until the other side closes; False at the time limit."""
    sock.settimeout(limit_s * max(1.0, SCALE / 2))
    try:
        while sock.recv(65536):
            pass
        return True
    except socket.timeout:
        return False
    except OSError:
        return True


def throw(address, data, name):
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), 5)
    local = "%s:%d" % sock.getsockname()
    try:
        sock.sendall(data)
        if name.startswith("cut_"):
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # closed while we were still talking
    closed = until_closed(sock)
    sock.close()
    check(closed, "%s to %s: the connection was not closed" % (name, address))
    return local


def one_line_each(node, kind, address):
    for name, data in inputs().items():
        before = len(node.log())
        local = throw(address, data, name)

        def lines():
            return [line for line in node.log()[before:].splitlines() if local in line]
        if kind == "client":
            wait_until("a line about %s on the client port" % name, lines, 5)
            got = lines()
            check(len(got) == 1, "%s on the client port: %d lines: %s" % (name, len(got), got))
            say("%-22s %s" % (name, got[0].split(" ", 1)[1][:150]))
        else:
            # A line for strangers is written once in a while, whatever their number.
            check(len(lines()) <= 2, "%s on the peer port: %s" % (name, lines()))
            got = lines()
            say("%-22s %s" % (name, got[0].split(" ", 1)[1][:150] if got else "(peer port: told before)"))


def hold_half_open(address, n):
    """Connections that say nothing, and ones that stop inside a frame."""
    host, port = address.rsplit(":", 1)
    held = []
    for i in range(n):
        sock = socket.create_connection((host, int(port)), 5)
        if i % 2 == 0:
            sock.sendall(header(1000, 1 << 20)[: 5 + i % 27])
        held.append(sock)
    return held


def reset(address):
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), 5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.sendall(header(1000, 0))
    sock.close()


def bad_input(env):
    with Cluster(env.cairnd) as cluster:
        cluster.start()
        cluster.wait_formed(3)
        cluster.create_topic("t", 6)
        load = Checker(env.checker, cluster, "t", rate=4000)
        load.wait_acknowledged(int(4000 / SCALE))
        node = cluster.nodes[1]
        for kind, address in (("client", node.address), ("peer", node.peer_address)):
            one_line_each(node, kind, address)
        unknown_call(node)
        descriptors = node.descriptors()
        rss = node.rss()
        for _ in range(REPEAT):
            for address in (node.address, node.peer_address):
                for name in ("absurd_message_length", "absurd_payload_length", "http", "garbage"):
                    throw(address, inputs_cached(name), name)
                reset(address)
        held = hold_half_open(node.address, 100) + hold_half_open(node.peer_address, 100)
        load.wait_more(int(4000 / SCALE))
        for sock in held:
            sock.close()
        wait_until("the connections are gone", lambda: node.descriptors() <= descriptors + 8, 15)
        grown = node.rss() - rss
        say("resident memory grew by %.1f MiB over %d connections" % (grown / 2**20, REPEAT * 10 + 200))
        if "asan" not in os.path.realpath(env.cairnd) and SCALE <= 1:  # sanitizers keep what was freed
            check(grown <= RSS_GROWTH_MAX, "resident memory grew by %d bytes" % grown)
        load.wait_more(int(4000 / SCALE))
        load.end()
        summary = load.finish()
        tell(summary)
        check(summary["unknown"] == 0 and summary["gap_ms"] < 5000 * max(1.0, SCALE / 2), "the service was affected")
        cluster.check_running()


_cache = {}


def inputs_cached(name):
    if not _cache:
        _cache.update(inputs())
    return _cache[name]


def unknown_call(node):
    """A call of the future gets an answer, and the connection goes on."""
    with node.client() as client:
        try:
            client.call(63)
            check(False, "a call of the future succeeded")
        except native.NativeError as e:
            check(e.name == "UNKNOWN_CALL", "a call of the future: %s" % e)
        check(client.status()["node"] == node.id, "the connection does not go on")


TESTS = {"bad_input": bad_input}
