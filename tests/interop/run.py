#!/usr/bin/env python3
"""Other people's Kafka clients against a cluster of real nodes.

  run.py --build-dir DIR [--client NAME]... [--scenario NAME]... | --list

Exit status: 0 all passed, 1 something failed, 77 nothing could be run (the reasons are printed)."""
import argparse
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../integration")]

import clients  # noqa: E402
from cluster import Cluster, TestFailure, say  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

SKIPPED = 77


def run_client(client, args):
    """(passed, failed)"""
    client.prepare()
    say("%s: %s" % (client.name, client.call("version")[0]["version"]))
    passed = failed = 0
    with Cluster(os.path.join(os.path.abspath(args.build_dir), "node", "cairnd")) as cluster:
        cluster.start()
        cluster.wait_formed(3)
        for name in args.scenario or SCENARIOS:
            begin = time.monotonic()
            try:
                SCENARIOS[name](cluster, client, "%s-%s" % (name.replace("_", "-"), client.name))
                passed += 1
                print("ok %s %s (%.1f s)" % (client.name, name, time.monotonic() - begin), flush=True)
            except Exception as e:
                if not isinstance(e, TestFailure):
                    traceback.print_exc()
                failed += 1
                print("FAILED %s %s after %.1f s: %s" % (client.name, name, time.monotonic() - begin, e), flush=True)
                clients.Program.kill_all()
                cluster.restart_all()
        if failed:
            cluster.keep_logs()
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", default="build/release")
    parser.add_argument("--client", action="append", choices=[c.name for c in clients.ALL], metavar="NAME")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), metavar="NAME")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("clients: %s\nscenarios: %s" % (" ".join(c.name for c in clients.ALL), " ".join(SCENARIOS)))
        return 0
    passed = failed = left_out = 0
    for client in clients.ALL:
        if args.client and client.name not in args.client:
            continue
        try:
            good, bad = run_client(client, args)
            passed += good
            failed += bad
        except clients.LeftOut as e:
            left_out += 1
            print("left out %s: %s" % (client.name, e), flush=True)
        except TestFailure as e:
            failed += 1
            print("FAILED %s: %s" % (client.name, e), flush=True)
        finally:
            clients.Program.kill_all()
    print("%d passed, %d failed, %d clients left out" % (passed, failed, left_out))
    return 1 if failed else 0 if passed else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
