#!/usr/bin/env python3
"""Runs integration tests again and again: run_many.py --test kill_leader [--test pause_leader] -n 20 [--build-dir DIR]

Output of a failed run is kept (its file is named), the gaps of the others are summed up. Exit 1 if any run failed."""
import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GAP = re.compile(r"GAP longest without an acknowledgement in a partition: (\d+) ms")
ACKNOWLEDGED = re.compile(r"acknowledged (\d+) unknown")


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test", action="append", required=True)
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--build-dir", default="build/release")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each next one has the next")
    parser.add_argument("--stop", action="store_true", help="at the first failure")
    args = parser.parse_args()
    failed = 0
    for name in args.test:
        gaps, acknowledged = [], 0
        for i in range(args.n):
            p = subprocess.run([sys.executable, os.path.join(HERE, "run.py"), "--build-dir", args.build_dir, "--test", name,
                                "--seed", str(args.seed + i)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            gap = [int(g) for g in GAP.findall(p.stdout)]
            gaps += gap
            acknowledged += sum(int(a) for a in ACKNOWLEDGED.findall(p.stdout))
            if p.returncode == 0:
                print("%s %d/%d ok, gap %s ms" % (name, i + 1, args.n, max(gap, default="-")), flush=True)
                continue
            failed += 1
            with tempfile.NamedTemporaryFile("w", prefix="cairn-%s-" % name, suffix=".log", delete=False) as f:
                f.write(p.stdout)
            reason = [line for line in p.stdout.splitlines() if line.startswith("FAILED")]
            print("%s %d/%d FAILED, output in %s\n  %s" % (name, i + 1, args.n, f.name, reason), flush=True)
            if args.stop:
                return 1
        if gaps:
            print("%s: %d acknowledged; gaps p50 %d ms, p99 %d ms, longest %d ms, over 2 s: %d of %d" %
                  (name, acknowledged, percentile(gaps, 50), percentile(gaps, 99), max(gaps), sum(g > 2000 for g in gaps),
                   len(gaps)), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
