"""Wrong configuration: one line that names the key, exit 2, nothing left behind."""
import os
import socket
import subprocess

from cluster import Cluster, check, say


def run(env, arguments, environment=None):
    extra = {k: v for k, v in os.environ.items() if not k.startswith("CAIRN")}
    extra.update(environment or {})
    p = subprocess.run([env.cairnd] + arguments, capture_output=True, text=True, timeout=30, env=extra,
                       stdin=subprocess.DEVNULL)
    return p.returncode, p.stdout, p.stderr


def refused(env, what, arguments, words, environment=None, log_lines=False):
    """@log_lines: it began to start, so lines of its log may stand before the complaint."""
    status, _, said = run(env, arguments, environment)
    lines = said.splitlines()
    complaints = [line for line in lines if line.startswith("cairnd: ")]
    say("%-20s exit %d: %s" % (what, status, complaints))
    check(status == 2, "%s: exit %d, not 2: %s" % (what, status, said))
    check(len(complaints) == 1, "%s: not one line: %s" % (what, said))
    check(log_lines or len(lines) == 1, "%s: more than one line: %s" % (what, said))
    for word in words:
        check(word in complaints[0], "%s: the line does not name %s: %s" % (what, word, complaints[0]))


def config_errors(env):
    with Cluster(env.cairnd) as cluster:
        node = cluster.nodes[1]
        base = node.command()[1:]

        def without(key):
            return [a for a in base if not a.startswith("--%s=" % key)]

        refused(env, "unknown key", base + ["--node.idd=1"], ["node.idd"])
        refused(env, "unknown variable", base, ["CAIRND_NONSENSE"], environment={"CAIRND_NONSENSE": "1"})
        refused(env, "bad number", without("shards") + ["--shards=many"], ["shards", "many", "allowed"])
        refused(env, "number too large", without("shards") + ["--shards=100000"], ["shards", "100000", "allowed"])
        refused(env, "bad address", without("peer.listen") + ["--peer.listen=nowhere"], ["peer.listen", "nowhere"])
        refused(env, "bad seeds", without("cluster.seeds") + ["--cluster.seeds=x"], ["cluster.seeds"])
        refused(env, "no node id", without("node.id"), ["node.id"])
        config = os.path.join(cluster.dir, "bad.conf")
        with open(config, "w") as f:
            f.write("# a comment\nlog.level = info\nlogg.level = info\n")
        refused(env, "unknown key in file", without("log.level") + ["--config=" + config], ["bad.conf:3", "logg.level"])

        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen(1)
            address = "127.0.0.1:%d" % busy.getsockname()[1]
            refused(env, "busy client port", without("listeners") + ["--listeners=client@" + address], [address],
                    log_lines=True)
            check(not os.path.exists(os.path.join(node.data_dir, "identity")), "a busy port, and yet an identity")
            refused(env, "busy peer port", without("peer.listen") + [
                "--peer.listen=" + address, "--peer.advertised=" + node.peer_address], [address], log_lines=True)

        blocker = os.path.join(cluster.dir, "a-file")
        with open(blocker, "w") as f:
            f.write("x")
        refused(env, "directory is a file", without("data.dir") + ["--data.dir=" + blocker], [blocker], log_lines=True)
        refused(env, "no parent", without("data.dir") + ["--data.dir=" + blocker + "/deep"], [blocker], log_lines=True)
        if os.geteuid() != 0:
            closed = os.path.join(cluster.dir, "closed")
            os.mkdir(closed, 0o500)
            refused(env, "not writable", without("data.dir") + ["--data.dir=" + closed], [closed], log_lines=True)
        else:
            refused(env, "not writable", without("data.dir") + ["--data.dir=/proc/cairn"], ["/proc/cairn"], log_lines=True)

        cluster.start()
        cluster.wait_formed(3)
        moved = {"--listeners=client@" + node.address: "--listeners=client@127.0.0.1:0",
                 "--kafka.listeners=kafka@" + node.kafka_address: "--kafka.listeners=kafka@127.0.0.1:0",
                 "--peer.listen=" + node.peer_address: "--peer.listen=127.0.0.1:0"}
        stranger = [moved.get(a, a) for a in base] + ["--peer.advertised=" + node.peer_address]
        refused(env, "directory in use", stranger, [node.data_dir], log_lines=True)
        check(node.alive(), "the node that has the directory lives on")
        status, out, _ = run(env, base + ["--check-config"])
        check(status == 0, "--check-config of a good configuration: %d %s" % (status, out))


TESTS = {"config_errors": config_errors}
