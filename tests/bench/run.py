#!/usr/bin/env python3
"""Measures a cluster of three nodes and its client on this one machine, beside the limits of the machine itself, measured in
the same round: absolute figures of a shared machine mean little, the ratios do.

    tests/bench/run.py                          three rounds of everything, a table
    tests/bench/run.py --rounds 1 --json        for programs
    tests/bench/run.py --kafka                  also librdkafka through the Kafka port, by turns with the native client
    tests/bench/run.py --only produce-1k --perf where the time goes, by process and function
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from cluster import Cluster  # noqa: E402

CONFIG = {"log.max.bytes": "32G", "log.file.bytes": "64M", "log.reserve.bytes": "256M", "log.level": "warn"}
CASES = {
    "produce-1k": (["produce", "--size", "1024"], "mb_per_second", "MB/s"),
    "produce-100": (["produce", "--size", "100"], "records_per_second", "records/s"),
    "latency": (["latency", "--size", "100"], None, "us"),
    "consume": (["consume"], "mb_per_second", "MB/s"),
}


def answer_of(command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        sys.exit("run.py: %s: %s" % (" ".join(command), result.stderr.strip() or result.stdout.strip()))
    return json.loads(result.stdout)


READS = 5  # a read of what was just written takes a fraction of a second: one alone says little


def middle(command, what):
    """Its answer; of READS runs the middle one's, where it reads."""
    answers = [answer_of(command) for _ in range(READS if what == "consume" else 1)]
    return sorted(answers, key=lambda a: a["records_per_second"])[len(answers) // 2]


def bench(build, cluster, arguments):
    command = [os.path.join(build, "client", "cairn"), "bench"] + arguments + ["--json", "--bootstrap", cluster.bootstrap()]
    return middle(command, arguments[0])


KAFKA_TURNS = 2
KAFKA_BATCH_BYTES = 1000000  # librdkafka's default; the native client is given the same


def kafka(build, cluster, seconds):
    """MB/s of the native client and of librdkafka, A B B A: produced with batches of the same size, and then read, both the same topic."""
    program = os.path.join(build, "tests", "bench", "rdkafka_bench")
    if not os.access(program, os.X_OK):
        sys.exit("run.py: --kafka needs %s: install librdkafka-dev and build again" % program)
    sums = {}
    for turn in range(KAFKA_TURNS):
        topics = ["native-%d" % turn, "rdkafka-%d" % turn]
        for topic in topics:
            cluster.create_topic(topic, 6)
        for what in ("produce", "consume"):
            native = [what, "--topic", topics[0], "--seconds", str(seconds)]
            if what == "produce":
                native += ["--size", "1024", "--batch-size", str(KAFKA_BATCH_BYTES), "--linger", "5"]
            theirs = [program, what, cluster.kafka_bootstrap(), topics[1 if what == "produce" else 0], str(seconds), "1024",
                      str(KAFKA_BATCH_BYTES)]
            ways = [("native", lambda: bench(build, cluster, native)), ("rdkafka", lambda: middle(theirs, what))]
            for who, measure in ways if turn % 2 == 0 else reversed(ways):
                sums.setdefault("%s-%s" % (who, what), []).append(measure()["mb_per_second"])
    found = {key: statistics.mean(values) for key, values in sums.items()}
    for what in ("produce", "consume"):
        found["rdkafka/native-" + what] = found["rdkafka-" + what] / found["native-" + what]
    return found


def limits(build, directory):
    """p50 in us of the machine's own limits."""
    program = os.path.join(build, "tests", "bench", "limits_bench")
    text = subprocess.run([program, directory], capture_output=True, text=True, check=True, timeout=300).stdout
    values = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 2 and words[2].startswith("p50_us="):
            values[words[0]] = float(words[2][7:])
    return {"sync_us": values["write+fdatasync_4KiB_recycled"], "ping_pong_us": values["loopback_ping_pong_64B"]}


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def idle(cluster, groups, seconds):
    """Per cent of a core that a node with so many idle groups uses."""
    for i in range(0, groups, 250):
        cluster.create_topic("idle-%d" % i, min(250, groups - i))
    time.sleep(3)
    pids = [node.process.pid for node in cluster.nodes.values()]
    begin, cpu = time.monotonic(), cpu_seconds(pids)
    time.sleep(seconds)
    return 100.0 * (cpu_seconds(pids) - cpu) / (time.monotonic() - begin) / len(pids)


def profile(seconds, path):
    return subprocess.Popen(["perf", "record", "-q", "-a", "-g", "-o", path, "--", "sleep", str(seconds)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def show_profile(path):
    for by in ("comm", "sym"):
        out = subprocess.run(["perf", "report", "-i", path, "--stdio", "--no-children", "-g", "none", "--sort", by],
                             capture_output=True, text=True).stdout
        rows = [l for l in out.splitlines() if "%" in l and not l.startswith("#")]
        print("\n".join(rows[:25]) + "\n")


def one_round(build, args, results):
    with tempfile.TemporaryDirectory() as directory, Cluster(os.path.join(build, "node", "cairnd"), config=CONFIG) as c:
        c.start()
        c.wait_formed()
        found = limits(build, directory)
        for name in args.only or CASES:
            arguments, key, _ = CASES[name]
            path = os.path.join(directory, "perf.data")
            perf = profile(args.seconds, path) if args.perf else None
            r = bench(build, c, arguments + ["--seconds", str(args.seconds)])
            if perf is not None:
                perf.wait()
                show_profile(path)
            if r["unknown"] or r["failed"]:
                sys.exit("run.py: %s: %d unknown, %d failed" % (name, r["unknown"], r["failed"]))
            if key is None:
                found["latency_p50_us"] = r["latency_us"]["p50"]
                found["latency_p99_us"] = r["latency_us"]["p99"]
                found["latency_ratio"] = r["latency_us"]["p50"] / (found["sync_us"] + 2 * found["ping_pong_us"])
            else:
                found[name] = r[key]
        if args.kafka:
            found.update(kafka(build, c, args.seconds))
        if args.idle:
            found["idle_core_percent"] = idle(c, args.idle, 10)
    results.append(found)
    if not args.json:
        print("  ".join("%s %.4g" % kv for kv in found.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", default=os.path.join(HERE, "..", "..", "build", "release"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--only", action="append", choices=list(CASES))
    parser.add_argument("--idle", type=int, default=0, metavar="GROUPS", help="also the CPU of a node with so many idle groups")
    parser.add_argument("--kafka", action="store_true", help="also librdkafka through the Kafka port (needs librdkafka-dev)")
    parser.add_argument("--perf", action="store_true", help="profile the whole machine meanwhile (needs perf)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    build = os.path.abspath(args.build_dir)
    results = []
    for _ in range(args.rounds):
        one_round(build, args, results)
    medians = {key: statistics.median(r[key] for r in results) for key in results[0]}
    if args.json:
        print(json.dumps({"rounds": results, "median": medians}))
    else:
        print("median: " + "  ".join("%s %.4g" % kv for kv in medians.items()))


if __name__ == "__main__":
    main()
