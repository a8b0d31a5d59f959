#!/usr/bin/env python3
"""Runs integration tests: run.py --build-dir DIR --test NAME [--test NAME]... | --list"""
import argparse
import os
import random
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bad_input  # noqa: E402
import configuration  # noqa: E402
import faults  # noqa: E402
import formation  # noqa: E402
import groups  # noqa: E402
import topics  # noqa: E402
from cluster import SCALE, TestFailure, say  # noqa: E402

TESTS = {}
for module in (faults, formation, topics, groups, bad_input, configuration):
    TESTS.update(module.TESTS)


class Environment:
    def __init__(self, build_dir, seed):
        self.cairnd = os.path.join(build_dir, "node", "cairnd")
        self.checker = os.path.join(build_dir, "tests", "integration", "checker")
        self.seed = seed
        for program in (self.cairnd, self.checker):
            if not os.access(program, os.X_OK):
                sys.exit("run.py: %s is not there: build it first" % program)


def run_one(name, env):
    say("%s (seed %d, scale %g)" % (name, env.seed, SCALE))
    begin = time.monotonic()
    try:
        TESTS[name](env)
    except TestFailure as e:
        print("FAILED %s after %.1f s (seed %d): %s" % (name, time.monotonic() - begin, env.seed, e), flush=True)
        return False
    except Exception:
        traceback.print_exc()
        print("FAILED %s after %.1f s (seed %d)" % (name, time.monotonic() - begin, env.seed), flush=True)
        return False
    print("ok %s (%.1f s)" % (name, time.monotonic() - begin), flush=True)
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build-dir", default="build/release")
    parser.add_argument("--test", action="append", choices=sorted(TESTS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(TESTS))
        return 0
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 31)
    env = Environment(os.path.abspath(args.build_dir), seed)
    good = [run_one(name, env) for name in (args.test or TESTS)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
