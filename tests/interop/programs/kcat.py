#!/usr/bin/python3
"""kcat as Debian has it, behind the commands of README.md. It says nothing of single records it wrote: its exit status
stands for all of them."""
import collections
import ctypes
import json
import re
import signal
import subprocess
import sys
import threading
import time

import records
from program import Stop, run, say

CHUNK = 500
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """A program that is killed leaves no kcat behind, which would still be a member."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def check(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=150,
                          preexec_fn=die_with_parent, **options)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(command), done.stderr.decode()[-300:]))
    return done.stdout.decode()


def produce(bootstrap, topic, codec, first, count, rate):
    stop = Stop()
    started = time.monotonic()
    chunk = min(CHUNK, int(rate) or CHUNK)
    for begin in range(first, first + count, chunk):
        if stop.asked:
            break
        if rate:
            time.sleep(max(0, (begin - first) / rate - (time.monotonic() - started)))
        numbers = range(begin, min(begin + chunk, first + count))
        lines = b"".join(records.key(i) + b"\t" + records.value(i) + b"\n" for i in numbers)
        # kcat knows one set of headers for all of its records.
        check(["kcat", "-P", "-b", bootstrap, "-t", topic, "-K", "\t", "-z", codec, "-H", "n=all",
               "-X", "enable.idempotence=true", "-X", "message.timeout.ms=90000"], input=lines)
        for i in numbers:
            say(ack=i)
    say(unsent=0)


def listen(stderr, errors):
    """What kcat says of its group: "% Group g rebalanced (memberid m): assigned: t [0], t [1]"."""
    for line in stderr:
        told = re.search(r"rebalanced \(memberid .*\): (assigned|revoked):(.*)", line)
        if told:
            say(**{told.group(1): sorted(int(p) for p in re.findall(r" \[(\d+)\]", told.group(2)))})
        else:
            errors.append(line.rstrip())


def consume(bootstrap, topic, group, count, instance):
    command = ["kcat", "-b", bootstrap, "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=15000",
               "-X", "heartbeat.interval.ms=500", "-X", "auto.commit.interval.ms=500", "-u",
               "-E",  # else it ends when all of its connections are down for a moment
               "-f", '%p\t%o\t%k\t%h\t%s\n']
    if instance:  # its session must outlive the start of its successor
        command += ["-X", "group.instance.id=" + instance, "-X", "session.timeout.ms=120000"]
    if count:
        command += ["-c", str(count)]
    stop = Stop()  # before kcat is there: an end asked for meanwhile must reach it
    child = subprocess.Popen(command + ["-G", group, topic], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=die_with_parent)
    stop.then = child.terminate
    if stop.asked:
        child.terminate()
    errors = collections.deque(maxlen=5)
    listener = threading.Thread(target=listen, args=(child.stderr, errors), daemon=True)
    listener.start()
    for line in child.stdout:
        p, o, k, h, v = line.rstrip("\n").split("\t")
        say(p=int(p), o=int(o), k=k, v=v, h=[[name, data.encode().hex()] for name, data in
                                             (header.split("=") for header in h.split(",") if header)])
    status = child.wait(30)
    listener.join(30)
    if status != 0 and not stop.asked:
        raise RuntimeError("kcat ended with %d: %s" % (status, "; ".join(errors)))


def offsets(bootstrap, topic, time_ms):
    meta = json.loads(check(["kcat", "-L", "-J", "-b", bootstrap, "-t", topic]))
    for partition in meta["topics"][0]["partitions"]:
        p = partition["partition"]

        def ask(stamp):
            out = check(["kcat", "-Q", "-b", bootstrap, "-t", "%s:%d:%d" % (topic, p, stamp)])
            return int(out.split(" offset ")[1])

        low, high, at = ask(-2), ask(-1), ask(time_ms)
        say(p=p, low=low, high=high, at=high if at < 0 else at)


def version():
    say(version=[line for line in check(["kcat", "-V"]).splitlines() if line.startswith("Version")][0])


if __name__ == "__main__":
    sys.exit(run(globals()))
