"""A cluster of real cairnd processes on loopback, and what is done to it in tests. Standard library only.

Ports are found by binding to 0 and releasing; a node that lost its port to somebody else meanwhile is started again on
another one as long as nobody knows the first. Everything lives in one temporary directory. Processes are ended by their own
pid, also when the test fails (atexit).

`power_cut` kills all processes at once. What the kernel had in its page cache survives that: loss of unsynced bytes is
what the simulator (tests/sim) is for.
"""
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import native

SCALE = float(os.environ.get("CAIRN_TEST_SCALE", "1"))  # divides rates, multiplies limits (slow builds)
ALARMS = ("Assertion", "Sanitizer", "runtime error:", " CORRUPT", "=CORRUPT", "fatal")
PAGE = os.sysconf("SC_PAGE_SIZE")
PORTS = 3  # of a node: peers, clients, Kafka's clients


class TestFailure(Exception):
    pass


def check(condition, text):
    if not condition:
        raise TestFailure(text)


def say(text):
    print("[%8.3f] %s" % (time.monotonic() - _begin, text), flush=True)


_begin = time.monotonic()


def wait_until(what, condition, limit_s=20.0, interval_s=0.02):
    """The condition's first true value. Connection errors count as not yet."""
    deadline = time.monotonic() + limit_s * max(1.0, SCALE / 2)
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, native.NativeError) as e:
            last = e
        if time.monotonic() > deadline:
            raise TestFailure("waited %.0f s in vain: %s%s" % (limit_s, what, " (%s)" % last if last else ""))
        time.sleep(interval_s)


def free_ports(n):
    """All at once, so that they differ."""
    sockets = []
    for _ in range(n):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        sockets.append(s)
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Node:
    def __init__(self, cluster, number, peer_port, client_port, kafka_port):
        self.cluster = cluster
        self.id = number
        self.peer_port = peer_port
        self.client_port = client_port
        self.kafka_port = kafka_port
        self.data_dir = os.path.join(cluster.dir, "node%d" % number)
        self.log_path = os.path.join(cluster.dir, "node%d.log" % number)
        self.process = None
        self.stopped = False
        self.exits = []

    @property
    def address(self):
        return "127.0.0.1:%d" % self.client_port

    @property
    def peer_address(self):
        return "127.0.0.1:%d" % self.peer_port

    @property
    def kafka_address(self):
        return "127.0.0.1:%d" % self.kafka_port

    def command(self, extra=()):
        c = self.cluster
        return [c.cairnd, "--node.id=%d" % self.id, "--data.dir=" + self.data_dir, "--cluster.seeds=" + c.seeds(),
                "--listeners=client@" + self.address, "--peer.listen=" + self.peer_address,
                "--kafka.listeners=kafka@" + self.kafka_address,
                "--shards=%d" % c.shards] + ["--%s=%s" % kv for kv in c.config.items()] + list(extra)

    def start(self, extra=()):
        check(self.process is None, "node %d runs already" % self.id)
        env = {k: v for k, v in os.environ.items() if not k.startswith("CAIRN")}
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0")  # a killed process has no time for it
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(extra), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            cwd=self.cluster.dir, env=env, start_new_session=True)
        self.stopped = False

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def _reap(self, limit_s):
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TestFailure("node %d (pid %d) did not end in %.0f s" % (self.id, self.process.pid, limit_s))
        self.process = None
        self.exits.append(status)
        return status

    def kill(self):
        """SIGKILL; returns once it is gone."""
        self.signal_kill()
        return self._reap(10)

    def signal_kill(self):
        if self.alive():
            os.kill(self.process.pid, signal.SIGKILL)

    def term(self, limit_s=30.0):
        os.kill(self.process.pid, signal.SIGTERM)
        return self._reap(limit_s * max(1.0, SCALE / 2))

    def wait_exit(self, limit_s=20.0):
        return self._reap(limit_s * max(1.0, SCALE / 2))

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        self.stopped = True
        pid = self.process.pid
        wait_until("node %d is stopped" % self.id, lambda: _state(pid) == "T", 5)

    def cont(self):
        if self.alive():
            os.kill(self.process.pid, signal.SIGCONT)
        self.stopped = False

    def client(self, timeout=5.0):
        return native.Client(self.address, timeout)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def rss(self):
        with open("/proc/%d/statm" % self.process.pid) as f:
            return int(f.read().split()[1]) * PAGE

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))


def _state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


class Cluster:
    def __init__(self, cairnd, nodes=3, shards=1, config=None, seeds=None, keep=False):
        self.cairnd = cairnd
        self.shards = shards
        self.config = {"log.level": "info", "log.file.bytes": "32M", "log.max.bytes": "2G", "log.reserve.bytes": "32M",
                       "stop.timeout.ms": "5000"}
        self.config.update(config or {})
        self.dir = tempfile.mkdtemp(prefix="cairn-test-")
        self.keep = keep
        self.nodes = {}
        self.seed_ids = list(range(1, (seeds or nodes) + 1))
        self.checkers = []
        self.closed = False
        atexit.register(self.close)
        ports = free_ports(PORTS * nodes)
        for i in range(nodes):
            self.nodes[i + 1] = Node(self, i + 1, *ports[PORTS * i:PORTS * (i + 1)])

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.check_running()
                self.check_logs()
        except TestFailure:
            kind = TestFailure
            raise
        finally:
            if kind is not None:
                self.keep_logs()
            self.close()

    def seeds(self):
        return ",".join("%d@%s" % (i, self.nodes[i].peer_address) for i in self.seed_ids)

    def add_node(self):
        number = max(self.nodes) + 1
        self.nodes[number] = Node(self, number, *free_ports(PORTS))
        return self.nodes[number]

    def start(self):
        for node in self.nodes.values():
            node.start()

    def bootstrap(self):
        return ",".join(n.address for n in self.nodes.values())

    def kafka_bootstrap(self):
        return ",".join(n.kafka_address for n in self.nodes.values())

    # ---- looking at it ----

    def check_running(self):
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is not None:
                raise TestFailure("node %d ended by itself with %d: %s" %
                                  (node.id, node.process.returncode, node.log()[-600:]))

    def check_logs(self):
        """Nothing that ends a process or damages a replica went by unseen."""
        for node in self.nodes.values():
            bad = [line for line in node.log().splitlines() if any(word in line for word in ALARMS)]
            check(not bad, "node %d: %s" % (node.id, bad[:3]))

    def running(self):
        return [n for n in self.nodes.values() if n.alive() and not n.stopped]

    def status(self, node=None):
        with (node or self.running()[0]).client(2.0) as client:
            return client.status()

    def wait_formed(self, nodes=None, limit_s=30.0):
        """Every running node knows the metadata leader and says that @nodes are alive."""
        wanted = nodes or len(self.running())

        def formed():
            self.check_running()
            for node in self.running():
                with node.client(2.0) as client:
                    s = client.status()
                if s["metadata_leader"] == 0 or sum(n["alive"] for n in s["nodes"]) < wanted:
                    return False
            return True
        wait_until("the cluster is formed, with %d nodes alive" % wanted, formed, limit_s)

    def create_topic(self, name, partitions=6, replication=3, limit_s=20.0):
        def create():
            for node in self.running():
                try:
                    with node.client(12.0) as client:
                        client.create_topic(name, partitions, replication)
                    return True
                except native.NativeError as e:
                    if e.name == "TOPIC_EXISTS":
                        return True
                    if e.name not in ("NOT_LEADER", "LEADER_NOT_READY", "TIMEOUT", "UNKNOWN_OUTCOME", "NOT_FORMED", "BUSY",
                                      "INVALID_REPLICAS"):
                        raise TestFailure("create topic %s: %s" % (name, e))
                    last = e
            raise last
        wait_until("topic %s is created" % name, create, limit_s)
        return self.wait_leaders(name)

    def delete_topic(self, name, limit_s=20.0):
        def delete():
            for node in self.running():
                try:
                    with node.client(12.0) as client:
                        client.delete_topic(name)
                    return True
                except native.NativeError as e:
                    if e.name == "UNKNOWN_TOPIC":
                        return True
                    last = e
            raise last
        wait_until("topic %s is deleted" % name, delete, limit_s)

    def metadata(self, topic, node=None):
        with (node or self.running()[0]).client(2.0) as client:
            return client.metadata(topic)

    def leader(self, topic, partition, not_node=None, limit_s=20.0):
        """(node, epoch), the newest that a running node knows."""
        def find():
            best = (0, 0)
            for node in self.running():
                t = self.metadata(topic, node)["topic"]
                if t and t["error"] == 0:
                    p = t["partitions"][partition]
                    best = max(best, (p["epoch"], p["leader"]))
            if best[1] in self.nodes and (not_node is None or best[1] != not_node.id):
                return self.nodes[best[1]], best[0]
            return None
        return wait_until("topic %s partition %d has a leader" % (topic, partition), find, limit_s)

    def wait_leaders(self, topic, limit_s=20.0):
        """Every partition has a leader that every running node knows."""
        def known():
            self.check_running()
            for node in self.running():
                t = self.metadata(topic, node)["topic"]
                if not t or t["error"] != 0 or any(p["leader"] == 0 for p in t["partitions"]):
                    return None
            return t
        return wait_until("topic %s has leaders" % topic, known, limit_s)

    # ---- what is done to it ----

    def power_cut(self):
        """All processes at once; see above for what this is not."""
        victims = [n for n in self.nodes.values() if n.alive()]
        for node in victims:
            node.signal_kill()
        for node in victims:
            node._reap(10)

    def restart_all(self):
        for node in self.nodes.values():
            if node.process is None:
                node.start()

    # ---- the end ----

    def keep_logs(self):
        """Of a failed test: where a person can look."""
        self.keep = self.keep or os.environ.get("CAIRN_TEST_KEEP") == "1"
        for node in self.nodes.values():
            tail = [line for line in node.log().splitlines() if " info peer_link_" not in line][-25:]
            print("---- node %d (%s), last lines of its log" % (node.id, "up" if node.alive() else "down"))
            print("\n".join(tail), flush=True)

    def close(self):
        if self.closed:
            return
        self.closed = True
        for checker in self.checkers:
            checker.kill()
        for node in self.nodes.values():
            node.signal_kill()
        for node in self.nodes.values():
            if node.process is not None:
                node.process.wait()
                node.process = None
        if self.keep:
            say("kept: %s" % self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


class Checker:
    """tests/integration/checker, running: its progress and its summary."""

    def __init__(self, program, cluster, topic, rate=25000, seconds=0, streams=4, partitions=6, bootstrap=None, **options):
        rate = max(500, int(rate / SCALE))
        self.rate = rate
        command = [program, "--bootstrap", bootstrap or cluster.bootstrap(), "--topic", topic, "--rate", str(rate),
                   "--seconds", str(seconds), "--streams", str(streams), "--partitions", str(partitions),
                   "--timeout", str(15 * max(1, SCALE / 2))]
        for key, value in options.items():
            flag = "--" + key.replace("_", "-")
            command += [flag] if value is True else [flag, str(value)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        stdin=subprocess.DEVNULL)
        self.cluster = cluster
        cluster.checkers.append(self)
        self.progress = {"phase": "setup", "acknowledged": 0, "consumed": 0}
        self.summary = None
        self.errors = []
        self.threads = [threading.Thread(target=self._read_out, daemon=True),
                        threading.Thread(target=self._read_err, daemon=True)]
        for t in self.threads:
            t.start()

    def _read_out(self):
        for line in self.process.stdout:
            m = json.loads(line)
            if m["type"] == "progress":
                self.progress = m
            elif m["type"] == "summary":
                self.summary = m

    def _read_err(self):
        for line in self.process.stderr:
            self.errors.append(line.rstrip())
            print("  checker: " + line.rstrip(), flush=True)

    @property
    def acknowledged(self):
        return self.progress["acknowledged"]

    def wait_acknowledged(self, n, limit_s=40.0):
        def there():
            self.cluster.check_running()
            check(self.process.poll() is None or self.acknowledged >= n, "the checker ended early: %s" % self.errors)
            return self.acknowledged >= n
        wait_until("%d more are acknowledged (%d now)" % (n, self.acknowledged), there, limit_s)

    def wait_more(self, n, limit_s=40.0):
        """@n records more than now."""
        self.wait_acknowledged(self.acknowledged + n, limit_s)

    def end(self):
        """Stop offering; it goes on to verify."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def finish(self, limit_s=120.0):
        try:
            status = self.process.wait(limit_s * max(1.0, SCALE / 2))
        except subprocess.TimeoutExpired:
            self.kill()
            raise TestFailure("the checker did not end in %.0f s; %s" % (limit_s, self.progress))
        for t in self.threads:
            t.join(5)
        check(status == 0 and self.summary and self.summary["ok"],
              "the checker found violations (exit %d): %s" % (status, "; ".join(self.errors[:3])))
        return self.summary

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def tell(summary):
    """The summary of a checker, in a line."""
    say("offered %d acknowledged %d unknown %d consumed %d verified %d | gap %.0f ms, worst partition %.0f ms | "
        "p50 %.2f p99 %.1f ms | resent batches %d" %
        (summary["offered"], summary["acknowledged"], summary["unknown"], summary["consumed"], summary["verified"],
         summary["gap_ms"], max(p["gap_ms"] for p in summary["partitions"]), summary["p50_ms"], summary["p99_ms"],
         summary["resent_batches"]) + (" " + str(summary["errors"]) if summary["errors"] else ""))


def fail(text):
    print("FAILED: " + text, flush=True)
    sys.exit(1)
