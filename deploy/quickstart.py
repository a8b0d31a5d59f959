"""The second half of deploy/quickstart: three nodes, a topic, a leader that dies while it is written to, and the proof that
nothing went missing.

Every line of every file list of dpkg becomes a record, keyed by its package. Keys are interleaved (each key's own lines stay
in order), so that all partitions are busy when the leader dies. Python's standard library only; everything that talks to the
cluster is the `cairn` program."""
import argparse
import bisect
import collections
import glob
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

LISTS = "/var/lib/dpkg/info/*.list"
TOPIC = "files"
PARTITIONS = 6
NODES = 3
PRODUCE_SECONDS = 15.0
KILL_AT = 0.42      # of the records acknowledged: well between 30 and 60 %
RESTART_AT = 0.80   # of the records acknowledged
TICK_S = 0.02
START_LIMIT_S = 30.0
PRODUCE_LIMIT_S = 120.0


class Failure(Exception):
    pass


def step(text):
    print("\n== " + text, flush=True)


class Progress:
    """One line that is drawn over on a terminal, a line a second elsewhere."""

    def __init__(self):
        self.terminal = sys.stdout.isatty()
        self.drawn = 0.0

    def draw(self, text, force=False):
        now = time.monotonic()
        if not force and now - self.drawn < (0.1 if self.terminal else 2.0):
            return
        self.drawn = now
        print("\r\033[K   " + text if self.terminal else "   " + text, end="" if self.terminal else "\n", flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", flush=True)


# ---- the cluster -----------------------------------------------------------------------------------------------------------

def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Cluster:
    def __init__(self, cairnd, cairn):
        self.cairnd, self.cairn = cairnd, cairn
        self.dir = tempfile.mkdtemp(prefix="cairn-quickstart-")
        ports = free_ports(3 * NODES)
        self.peers = ["127.0.0.1:%d" % p for p in ports[:NODES]]
        self.clients = ["127.0.0.1:%d" % p for p in ports[NODES:2 * NODES]]
        self.kafka = ["127.0.0.1:%d" % p for p in ports[2 * NODES:]]
        self.processes = {}
        self.bootstrap = ",".join(self.clients)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("CAIRN")}

    def command(self, number):
        return [self.cairnd, "--node.id=%d" % number, "--data.dir=%s/node%d" % (self.dir, number),
                "--cluster.seeds=" + ",".join("%d@%s" % (i + 1, a) for i, a in enumerate(self.peers)),
                "--peer.listen=" + self.peers[number - 1], "--listeners=client@" + self.clients[number - 1],
                "--kafka.listeners=kafka@" + self.kafka[number - 1],
                "--log.file.bytes=32M", "--log.max.bytes=2G", "--log.reserve.bytes=64M",
                "--log.file=%s/node%d.log" % (self.dir, number)]

    def start(self, number):
        with open("%s/node%d.err" % (self.dir, number), "ab") as err:
            self.processes[number] = subprocess.Popen(self.command(number), stdout=err, stderr=err,
                                                      stdin=subprocess.DEVNULL, env=self.env, start_new_session=True)

    def kill(self, number):
        self.processes[number].kill()
        self.processes[number].wait()
        del self.processes[number]

    def check_running(self):
        for number, process in self.processes.items():
            if process.poll() is not None:
                with open("%s/node%d.err" % (self.dir, number), errors="replace") as f:
                    said = f.read().strip().splitlines()[-1:]
                raise Failure("node %d ended with %d: %s" % (number, process.returncode, said))

    def run(self, *arguments):
        """The cairn program; its standard output."""
        p = subprocess.run([self.cairn] + list(arguments) + ["--bootstrap", self.bootstrap], capture_output=True,
                           text=True, errors="replace", env=self.env, timeout=PRODUCE_LIMIT_S)
        if p.returncode != 0:
            raise Failure("cairn %s: %s" % (" ".join(arguments), p.stderr.strip()))
        return p.stdout

    def await_formed(self):
        deadline = time.monotonic() + START_LIMIT_S
        last = ""
        while time.monotonic() < deadline:
            self.check_running()
            try:
                status = json.loads(self.run("cluster", "status", "--json", "--timeout", "2s"))
                alive = [n for n in status["nodes"] if n["alive"]]
                if status["metadata_leader"] != 0 and len(alive) == NODES:
                    return
            except Failure as e:
                last = str(e)
            time.sleep(0.05)
        raise Failure("the cluster did not form in %.0f s; %s; logs are in %s" % (START_LIMIT_S, last, self.dir))

    def partitions(self):
        return json.loads(self.run("topic", "describe", TOPIC, "--json"))["partitions"]

    def write_stop(self):
        path = os.path.join(self.dir, "stop")
        pids = " ".join(str(p.pid) for p in self.processes.values())
        with open(path, "w") as f:
            f.write("#!/bin/sh\n# Ends the nodes and removes what they stored.\nfor pid in %s; do\n"
                    "    if [ \"$(readlink /proc/$pid/exe)\" = '%s' ]; then kill -9 $pid; fi\ndone\n"
                    "for pid in %s; do\n    while [ \"$(readlink /proc/$pid/exe)\" = '%s' ]; do sleep 0.1; done\ndone\n"
                    "rm -rf '%s'\n" % (pids, self.cairnd, pids, self.cairnd, self.dir))
        os.chmod(path, 0o755)
        return path

    def close(self):
        """What they stored goes with them: nobody to hand leaderships over to."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- the records -----------------------------------------------------------------------------------------------------------

def read_lists():
    """{package: [line, ...]}, bytes."""
    lines = {}
    for path in sorted(glob.glob(LISTS)):
        with open(path, "rb") as f:
            content = [line for line in f.read().split(b"\n") if line]
        if content:
            lines[os.path.basename(path)[:-len(".list")].encode()] = content
    if not lines:
        raise Failure("no lines in %s: is this Debian?" % LISTS)
    return lines


def interleave(lines):
    """(key, line) of all keys, each key's lines spread evenly over the whole."""
    rng = random.Random(1)
    order = []
    for key, content in lines.items():
        phase = rng.random()
        order += [((i + phase) / len(content), key, i) for i in range(len(content))]
    order.sort()
    return [(key, lines[key][i]) for _, key, i in order]


class Acks:
    """The producer's --ack-log as it grows: partition, offset, wall clock ms, key of each acknowledged record."""

    def __init__(self, path):
        self.path = path
        self.rows = []
        self.position = 0
        self.rest = b""

    def read(self):
        try:
            with open(self.path, "rb") as f:
                f.seek(self.position)
                data = f.read()
        except FileNotFoundError:
            return
        self.position += len(data)
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            partition, offset, ms, key = line.split(b" ", 3)
            self.rows.append((int(partition), int(offset), int(ms), key))


class Producer:
    """`cairn produce`, fed through a pipe at a steady pace."""

    def __init__(self, cluster, records, acks):
        self.records = records
        self.rate = len(records) / PRODUCE_SECONDS
        self.sent = 0
        self.process = subprocess.Popen(
            [cluster.cairn, "produce", "--topic", TOPIC, "--key-delimiter", "\t", "--ack-log", acks.path, "--bootstrap",
             cluster.bootstrap, "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=cluster.env)
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def _feed(self):
        begin = time.monotonic()
        try:
            with self.process.stdin as pipe:
                while self.sent < len(self.records):
                    due = min(len(self.records), int((time.monotonic() - begin) * self.rate) + 1)
                    if due > self.sent:
                        pipe.write(b"".join(k + b"\t" + v + b"\n" for k, v in self.records[self.sent:due]))
                        pipe.flush()
                        self.sent = due
                    time.sleep(TICK_S)
        except BrokenPipeError:
            pass

    def finish(self):
        self.thread.join(PRODUCE_LIMIT_S)
        out, err = self.process.stdout.read(), self.process.stderr.read()
        status = self.process.wait(PRODUCE_LIMIT_S)
        if status != 0:
            raise Failure("cairn produce ended with %d: %s" % (status, err.decode(errors="replace").strip()[-600:]))
        return json.loads(out)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


# ---- what is shown ---------------------------------------------------------------------------------------------------------

def choose_victim(cluster, acks):
    """The leader of the partition that is written to most."""
    busy = collections.Counter(row[0] for row in acks.rows)
    partitions = cluster.partitions()
    target = max((p for p in partitions if p["leader"] != 0), key=lambda p: busy[p["partition"]])
    led = {p["partition"] for p in partitions if p["leader"] == target["leader"]}
    return target["leader"], led


def produce_through_failure(cluster, records, acks):
    """Returns (kill time ms, victim, partitions that it led, records sent but not acknowledged at the kill)."""
    producer = Producer(cluster, records, acks)
    progress = Progress()
    total = len(records)
    killed, restarted = None, False
    deadline = time.monotonic() + PRODUCE_LIMIT_S
    try:
        while producer.process.poll() is None and time.monotonic() < deadline:
            acks.read()
            done = len(acks.rows)
            if killed is None and done >= KILL_AT * total:
                victim, led = choose_victim(cluster, acks)
                acks.read()
                now_ms = int(time.time() * 1000)
                cluster.kill(victim)
                killed = (now_ms, victim, led, producer.sent - len(acks.rows))
                progress.draw("%d of %d acknowledged (%d %%), %d under way: kill -9 of node %d, which leads partitions %s" %
                              (done, total, 100 * done // total, killed[3], victim, sorted(led)), force=True)
                print(flush=True) if progress.terminal else None
            if killed is not None and not restarted and done >= RESTART_AT * total:
                restarted = True
                cluster.start(killed[1])
                progress.draw("%d of %d acknowledged: node %d is started again" % (done, total, killed[1]), force=True)
                print(flush=True) if progress.terminal else None
            cluster.check_running()
            progress.draw("%d of %d acknowledged, %d sent" % (done, total, producer.sent))
            time.sleep(TICK_S)
        progress.end()
        said = producer.finish()
    finally:
        producer.close()
    acks.read()
    if killed is None:
        raise Failure("the producer was through before a node could be killed")
    if not restarted:
        cluster.start(killed[1])
    print("   cairn produce: %d sent, %d acknowledged, %d unknown, %.1f s" %
          (said["sent"], said["acknowledged"], said["unknown"], said["seconds"]), flush=True)
    if said["acknowledged"] != total or len(acks.rows) != total:
        raise Failure("%d records, %d acknowledged, %d in the acknowledgement log" %
                      (total, said["acknowledged"], len(acks.rows)))
    return killed


def find_gap(acks, kill_ms, led):
    """(begin ms, end ms): the longest time around the kill without an acknowledgement in a partition that the dead node
    led."""
    longest = (kill_ms, kill_ms)
    for partition in led:
        times = sorted(row[2] for row in acks.rows if row[0] == partition)
        after = bisect.bisect_right(times, kill_ms)
        if 0 < after < len(times) and times[after] - times[after - 1] > longest[1] - longest[0]:
            longest = (times[after - 1], times[after])
    return longest


def consume_and_check(cluster, lines, acks):
    """Every line exactly once, in order per key; each acknowledged offset holds a record of its key."""
    p = subprocess.Popen([cluster.cairn, "consume", "--topic", TOPIC, "--format", "%p\\t%o\\t%k\\t%v\\n", "--bootstrap",
                          cluster.bootstrap], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cluster.env)
    got = collections.defaultdict(list)
    places = {}
    progress = Progress()
    expected_offset = collections.Counter()
    home = {}
    n = 0
    for row in p.stdout:
        partition, offset, key, value = row[:-1].split(b"\t", 3)
        partition, offset = int(partition), int(offset)
        if offset != expected_offset[partition]:
            raise Failure("partition %d: offset %d came where %d was next" % (partition, offset, expected_offset[partition]))
        if home.setdefault(key, partition) != partition:
            raise Failure("key %s stands in partitions %d and %d" % (key.decode(), home[key], partition))
        expected_offset[partition] += 1
        got[key].append(value)
        places[partition, offset] = key
        n += 1
        if n % 1000 == 0:
            progress.draw("%d read" % n)
    progress.end()
    err = p.stderr.read()
    if p.wait() != 0:
        raise Failure("cairn consume ended with %d: %s" % (p.returncode, err.decode(errors="replace").strip()))
    for key, content in lines.items():
        if got.get(key) != content:
            have = got.get(key, [])
            at = next((i for i, (a, b) in enumerate(zip(content, have)) if a != b), min(len(content), len(have)))
            raise Failure("package %s: %d lines were written, %d read; they differ from line %d on" %
                          (key.decode(), len(content), len(have), at + 1))
    strangers = set(got) - set(lines)
    if strangers:
        raise Failure("keys that nobody wrote: %s" % sorted(strangers)[:3])
    for partition, offset, _, key in acks.rows:
        if offset >= 0 and places.get((partition, offset)) != key:
            raise Failure("partition %d offset %d was acknowledged for %s, it holds %s" %
                          (partition, offset, key.decode(), places.get((partition, offset))))
    return n


def next_steps(cluster):
    stop = cluster.write_stop()
    cairn = cluster.cairn
    print("""
The cluster is up: %(bootstrap)s
Logs and data: %(dir)s

    export CAIRN_BOOTSTRAP=%(bootstrap)s
    %(cairn)s cluster status
    %(cairn)s topic describe %(topic)s
    %(cairn)s consume --topic %(topic)s --count 5 --format '%%p/%%o %%k %%v\\n'
    echo hello | %(cairn)s produce --topic %(topic)s

Kafka's clients find it too: bootstrap.servers=%(kafka)s
    kcat -b %(kafka)s -C -t %(topic)s -o beginning -c 5 -f '%%p/%%o %%k %%s\\n'

Stop it, and remove what it stored: %(stop)s""" % {"bootstrap": cluster.bootstrap, "kafka": ",".join(cluster.kafka), "dir": cluster.dir, "cairn": cairn,
                                                    "topic": TOPIC, "stop": stop})


def show(cluster):
    step("Three nodes")
    for number in range(1, NODES + 1):
        cluster.start(number)
    cluster.await_formed()
    print("   up: %s" % cluster.bootstrap)
    cluster.run("topic", "create", TOPIC, "--partitions", str(PARTITIONS), "--replication", str(NODES))
    print("   topic %s: %d partitions, %d replicas each" % (TOPIC, PARTITIONS, NODES))

    lines = read_lists()
    records = interleave(lines)
    step("Write %d lines of %d package file lists; kill a leader on the way" % (len(records), len(lines)))
    acks = Acks(os.path.join(cluster.dir, "acks"))
    kill_ms, victim, led, under_way = produce_through_failure(cluster, records, acks)

    step("Read everything and compare")
    checked = consume_and_check(cluster, lines, acks)
    print("   every line exactly once, in order for each of %d packages" % len(lines))

    begin_ms, end_ms = find_gap(acks, kill_ms, led)
    before = sum(row[2] <= begin_ms for row in acks.rows)
    after = sum(row[2] >= end_ms for row in acks.rows)
    during = len(acks.rows) - before - after
    step("Summary")
    print("   node %d died by kill -9 with %d records under way; it led partitions %s" %
          (victim, under_way, ", ".join(map(str, sorted(led)))))
    print("   longest gap in those partitions  %d ms" % (end_ms - begin_ms))
    print("   acknowledged before the gap      %d" % before)
    print("   acknowledged during the gap      %d (other partitions)" % during)
    print("   acknowledged after the gap       %d" % after)
    print("   records checked                  %d: 0 lost, 0 twice, 0 out of order" % checked)
    if min(before, during, after, under_way) <= 0:
        raise Failure("before, during, after and under way should all be above zero")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairnd", required=True)
    parser.add_argument("--cairn", required=True)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cluster = Cluster(args.cairnd, args.cairn)
    kept = False
    try:
        show(cluster)
        if args.keep:
            next_steps(cluster)
            kept = True
        return 0
    except Failure as e:
        print("\nquickstart: FAILED: %s" % e, file=sys.stderr)
        copy = cluster.dir + ".logs"
        os.makedirs(copy, exist_ok=True)
        for path in glob.glob(cluster.dir + "/node*.log") + glob.glob(cluster.dir + "/node*.err"):
            shutil.copy(path, copy)
        print("The nodes' logs are kept in %s" % copy, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nquickstart: interrupted", file=sys.stderr)
        return 130
    finally:
        if not kept:
            cluster.close()


if __name__ == "__main__":
    sys.exit(main())
