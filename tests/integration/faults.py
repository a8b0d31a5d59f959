"""Processes that die, sleep, lag and leave, under load: nothing acknowledged is lost, doubled or out of order."""
import json
import subprocess
import time

from cluster import SCALE, Checker, Cluster, check, say, tell, wait_until

ACKNOWLEDGED_MIN = int(200000 / SCALE)
GAP_MAX_MS = 10000 * max(1.0, SCALE / 2)  # generous: timing decides nothing on a noisy machine
GAP_GOAL_MS = 2000
HAND_OVER_GOAL_MS = 200
CHUNK = int(50000 / SCALE)


def judge(summary, goal_ms=GAP_GOAL_MS, acknowledged_min=ACKNOWLEDGED_MIN):
    tell(summary)
    gap = max([summary["gap_ms"]] + [p["gap_ms"] for p in summary["partitions"]])
    say("GAP longest without an acknowledgement in a partition: %.0f ms (goal %d ms: %s)" %
        (gap, goal_ms, "met" if gap <= goal_ms else "MISSED"))
    check(gap <= GAP_MAX_MS, "no acknowledgement for %.0f ms" % gap)
    check(summary["unknown"] == 0, "%d records stayed unknown with a whole cluster" % summary["unknown"])
    check(summary["acknowledged"] >= acknowledged_min,
          "only %d acknowledged, %d are wanted" % (summary["acknowledged"], acknowledged_min))


def begin(env, cluster, topic="t", partitions=6, **options):
    cluster.start()
    cluster.wait_formed()
    cluster.create_topic(topic, partitions)
    return Checker(env.checker, cluster, topic, partitions=partitions, **options)


def kill_leader(env, shards=1):
    """kill -9 of the leader of a partition, twice: the second victim leads what the first one led."""
    with Cluster(env.cairnd, shards=shards) as cluster:
        load = begin(env, cluster)
        load.wait_acknowledged(CHUNK)
        first, epoch = cluster.leader("t", 0)
        first.kill()
        say("killed node %d, which led partition 0 at epoch %d" % (first.id, epoch))
        second, epoch = cluster.leader("t", 0, not_node=first)
        say("node %d leads it at epoch %d" % (second.id, epoch))
        load.wait_more(CHUNK)
        first.start()
        cluster.wait_formed(3)
        load.wait_more(CHUNK)
        second.kill()
        say("killed node %d" % second.id)
        load.wait_more(CHUNK)
        second.start()
        load.wait_acknowledged(ACKNOWLEDGED_MIN)
        load.end()
        judge(load.finish())


def kill_leader_two_shards(env):
    kill_leader(env, shards=2)


def give_back(env):
    """A leader dies and returns; what it led is handed back to it under load."""
    with Cluster(env.cairnd) as cluster:
        load = begin(env, cluster, rate=15000)
        load.wait_acknowledged(CHUNK // 5)
        victim, _ = cluster.leader("t", 0)
        victim.kill()
        load.wait_more(CHUNK // 5)
        victim.start()
        cluster.wait_formed(3)

        def balanced():
            return all(p["leader"] == p["preferred"] for n in cluster.running()
                       for p in cluster.metadata("t", n)["topic"]["partitions"])
        wait_until("every partition is led by its preferred node again", balanced, 60, 0.1)
        say("every partition is led by its preferred node again")
        load.wait_more(CHUNK // 2)
        load.wait_acknowledged(ACKNOWLEDGED_MIN)
        load.end()
        judge(load.finish())


def followers_only(cluster, topic):
    """Nodes that lead no partition of @topic."""
    def find():
        leading = {p["leader"] for p in cluster.metadata(topic)["topic"]["partitions"]}
        return 0 not in leading and [n for n in cluster.running() if n.id not in leading]
    return wait_until("a node leads no partition", find)


def kill_follower(env):
    with Cluster(env.cairnd) as cluster:
        load = begin(env, cluster, partitions=2)
        for _ in range(2):
            load.wait_more(CHUNK)
            victim = followers_only(cluster, "t")[0]
            victim.kill()
            say("killed node %d, which led nothing" % victim.id)
            load.wait_more(CHUNK)
            victim.start()
            cluster.wait_formed(3)
        load.wait_acknowledged(ACKNOWLEDGED_MIN)
        load.end()
        judge(load.finish())


def power_cut(env):
    """All processes at once, twice; then started together, and one after the other."""
    with Cluster(env.cairnd) as cluster:
        load = begin(env, cluster)
        for delay_s in (0.0, 0.4):
            load.wait_more(CHUNK + CHUNK // 2)
            cluster.power_cut()
            say("all nodes killed at once, %d acknowledged" % load.acknowledged)
            for node in cluster.nodes.values():
                node.start()
                time.sleep(delay_s)
            load.wait_more(CHUNK // 2)
        load.wait_acknowledged(ACKNOWLEDGED_MIN)
        load.end()
        judge(load.finish())


class Direct:
    """checker --direct: a produce and a fetch to one node, whoever leads."""

    def __init__(self, env, cluster, node, partition, offset, token, produce=True):
        others = [n.address for n in cluster.running() if n is not node]
        command = [env.checker, "--bootstrap", ",".join(others), "--topic", "t", "--direct", node.address,
                   "--partition", str(partition), "--offset", str(offset), "--token", str(token), "--timeout", "20"]
        self.partition, self.offset, self.token = partition, offset, token
        self.process = subprocess.Popen(command + ([] if produce else ["--no-produce"]), stdout=subprocess.PIPE,
                                        text=True, stdin=subprocess.DEVNULL)
        cluster.checkers.append(self)
        line = self.process.stdout.readline()
        check('"sent"' in line, "direct request to node %d: %r" % (node.id, line))

    def answers(self):
        out = self.process.stdout.read()  # it has a time limit of its own
        self.process.wait(60)
        return {m["type"]: m for m in map(json.loads, out.splitlines())}

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def high_watermark(env, cluster, node, partition):
    fetch = Direct(env, cluster, node, partition, 0, 0, produce=False).answers().get("fetch", {})
    check(fetch.get("error") == "OK", "fetch from the leader of partition %d: %s" % (partition, fetch))
    return fetch["high_watermark"]


NOT_ANSWERED = {"error": "CLOSED"}
NOT_LED = ("NOT_LEADER", "LEADER_NOT_READY", "UNKNOWN_OUTCOME", "TIMEOUT", "CLOSED", "BUSY", "UNKNOWN_TOPIC")


def check_direct(direct, answers, truth):
    """What a woken process says: that it does not lead, or the truth. @truth: the leader's fetch before it woke."""
    produce, fetch = answers.get("produce", NOT_ANSWERED), answers.get("fetch", NOT_ANSWERED)
    say("woken process, partition %d: produce %s at %s, fetch %s up to %s (the leader said %d before)" %
        (direct.partition, produce["error"], produce.get("base_offset"), fetch["error"], fetch.get("high_watermark"),
         truth["high_watermark"]))
    check(produce["error"] in NOT_LED + ("OK",), "produce to a woken process: %s" % produce["error"])
    check(fetch["error"] in NOT_LED + ("OK",), "fetch from a woken process: %s" % fetch["error"])
    if fetch["error"] == "OK":
        check(fetch["high_watermark"] >= truth["high_watermark"],
              "partition %d: a woken process answers with high watermark %d, its successor had said %d" %
              (direct.partition, fetch["high_watermark"], truth["high_watermark"]))
        known = {b[0]: b for b in truth["batches"]}
        for batch in fetch["batches"]:
            check(batch[0] not in known or known[batch[0]] == batch,
                  "partition %d offset %d: two histories, %s and %s" %
                  (direct.partition, batch[0], batch, known.get(batch[0])))
    return produce


def pause_leader(env):
    """SIGSTOP of a leader past the election timeout, requests waiting in its sockets, SIGCONT."""
    with Cluster(env.cairnd) as cluster:
        load = begin(env, cluster, allow_direct=True)
        load.wait_acknowledged(CHUNK)
        acknowledged = {}
        for turn in range(2):
            asleep, _ = cluster.leader("t", 0)
            led = [p["partition"] for p in cluster.metadata("t")["topic"]["partitions"] if p["leader"] == asleep.id]
            ends = {p: high_watermark(env, cluster, asleep, p) for p in led}
            asleep.stop()
            say("node %d sleeps; it led partitions %s" % (asleep.id, led))
            for p in led:
                cluster.leader("t", p, not_node=asleep)
            load.wait_more(CHUNK)
            truths, directs = {}, []
            for p in led:
                leader, _ = cluster.leader("t", p, not_node=asleep)
                # From where the sleeper knows the log, and from where it does not.
                for offset in (max(0, ends[p] - 500), high_watermark(env, cluster, leader, p)):
                    truth = Direct(env, cluster, leader, p, offset, 0, produce=False).answers()["fetch"]
                    check(truth["error"] == "OK", "the leader of partition %d: %s" % (p, truth["error"]))
                    truths[p, offset] = truth
                    directs.append(Direct(env, cluster, asleep, p, offset, 1000 * turn + len(directs) + 1))
            asleep.cont()
            for direct in directs:
                produce = check_direct(direct, direct.answers(), truths[direct.partition, direct.offset])
                if produce["error"] == "OK":
                    acknowledged[direct.token] = (direct.partition, produce["base_offset"])
            load.wait_more(CHUNK)
        load.wait_acknowledged(ACKNOWLEDGED_MIN)
        load.end()
        summary = load.finish()
        judge(summary)
        found = {d["token"]: (d["partition"], d["offset"]) for d in summary["direct"]}
        for token, where in acknowledged.items():
            check(found.get(token) == where, "direct record %d was acknowledged at %s, it stands at %s" %
                  (token, where, found.get(token)))


def slow_follower(env):
    """A follower that sleeps three fifths of its time; in the end the majority needs what it has."""
    with Cluster(env.cairnd) as cluster:
        load = begin(env, cluster, partitions=2)
        load.wait_acknowledged(CHUNK // 2)
        slow = followers_only(cluster, "t")[0]
        say("node %d is slow from now on" % slow.id)
        for _ in range(12):
            slow.stop()
            time.sleep(0.3)
            slow.cont()
            time.sleep(0.2)
        other = [n for n in cluster.running() if n is not slow][0]
        other.kill()
        say("killed node %d: the slow one is needed now" % other.id)
        load.wait_more(CHUNK)
        other.start()
        load.wait_acknowledged(ACKNOWLEDGED_MIN)
        load.end()
        judge(load.finish())


def terminate(env):
    """SIGTERM to one node after the other: exit 0, leaderships handed over first."""
    with Cluster(env.cairnd) as cluster:
        load = begin(env, cluster)
        load.wait_acknowledged(CHUNK // 2)
        for node in list(cluster.nodes.values()):
            begin_s = time.monotonic()
            status = node.term()
            say("node %d ended with %d after %.0f ms" % (node.id, status, (time.monotonic() - begin_s) * 1e3))
            check(status == 0, "node %d: exit %d after SIGTERM: %s" % (node.id, status, node.log()[-500:]))
            load.wait_more(CHUNK // 2)
            node.start()
            cluster.wait_formed(3)
            load.wait_more(CHUNK // 2)
        load.wait_acknowledged(ACKNOWLEDGED_MIN)
        load.end()
        judge(load.finish(), HAND_OVER_GOAL_MS)


TESTS = {f.__name__: f for f in (kill_leader, kill_leader_two_shards, give_back, kill_follower, power_cut, pause_leader,
                                 slow_follower, terminate)}
