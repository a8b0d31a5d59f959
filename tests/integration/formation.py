"""How clusters come to be, grow, and whom they refuse."""
import itertools
import random
import shutil
import time

from cluster import SCALE, Checker, Cluster, check, say, tell, wait_until
from faults import CHUNK, judge


def works(env, cluster, seconds=0.5):
    cluster.create_topic("t", 3)
    load = Checker(env.checker, cluster, "t", rate=8000, seconds=seconds, partitions=3, streams=2)
    summary = load.finish(60)
    check(summary["acknowledged"] > 0 and summary["unknown"] == 0, "a new cluster does not work: %s" % summary)
    return summary


def one_cluster(cluster):
    ids = {cluster.status(n)["cluster_id"] for n in cluster.running()}
    check(len(ids) == 1, "nodes of different clusters: %s" % ids)


def start_orders(env):
    """First start in every order, the nodes a moment apart."""
    for order in itertools.permutations((1, 2, 3)):
        with Cluster(env.cairnd) as cluster:
            for number in order:
                cluster.nodes[number].start()
                time.sleep(0.15)
            cluster.wait_formed(3)
            one_cluster(cluster)
            summary = works(env, cluster)
            say("order %s: %d acknowledged" % (order, summary["acknowledged"]))


def start_deaths(env):
    """kill -9 of one node at a random moment of the first start; it comes back a random moment later."""
    seed = env.seed
    rounds = 8
    for i in range(rounds):
        rng = random.Random("%d/%d" % (seed, i))
        delays = [rng.uniform(0, 0.3) for _ in range(3)]
        victim = rng.randint(1, 3)
        die_s, down_s = rng.uniform(0, 0.5), rng.uniform(0, 0.4)
        say("seed %d round %d: starts at %s, node %d dies after %.3f s, is down for %.3f s" %
            (seed, i, ["%.2f" % d for d in delays], victim, die_s, down_s))
        with Cluster(env.cairnd) as cluster:
            events = [(delays[n - 1], n, "start") for n in (1, 2, 3)]
            at = delays[victim - 1] + die_s
            events += [(at, victim, "kill"), (at + down_s, victim, "start")]
            begin = time.monotonic()
            for when, number, what in sorted(events):
                time.sleep(max(0.0, begin + when - time.monotonic()))
                getattr(cluster.nodes[number], what)()
            cluster.wait_formed(3)
            one_cluster(cluster)
            works(env, cluster, 0.3)


def grow(env):
    """A cluster of three becomes one of five, under load; then two of them may die."""
    with Cluster(env.cairnd) as cluster:
        cluster.start()
        cluster.wait_formed(3)
        cluster.create_topic("t", 6)
        load = Checker(env.checker, cluster, "t", rate=8000)
        load.wait_acknowledged(CHUNK // 10)
        for _ in range(2):
            node = cluster.add_node()
            node.start()
            say("node %d joins" % node.id)
        cluster.wait_formed(5)
        one_cluster(cluster)
        wait_until("the metadata group has five voters", lambda: len(cluster.status()["metadata_voters"]) == 5, 30)
        say("five voters: %s" % cluster.status()["metadata_voters"])
        topic = cluster.create_topic("wide", 6, 5)
        check(all(sorted(p["replicas"]) == [1, 2, 3, 4, 5] for p in topic["partitions"]), "five replicas: %s" % topic)
        wide = Checker(env.checker, cluster, "wide", rate=10000)
        wide.wait_acknowledged(CHUNK // 5)
        load.end()
        tell(load.finish())
        for number in (2, 5):
            cluster.nodes[number].kill()
            say("killed node %d" % number)
        wide.wait_more(CHUNK // 5)
        for number in (2, 5):
            cluster.nodes[number].start()
        wide.wait_more(CHUNK // 10)
        wide.end()
        judge(wide.finish(), acknowledged_min=int(25000 / SCALE))


def wiped_disk(env):
    """An empty disk under an id that the cluster knows."""
    with Cluster(env.cairnd) as cluster:
        cluster.start()
        cluster.wait_formed(3)
        cluster.create_topic("t", 6)
        load = Checker(env.checker, cluster, "t", rate=8000)
        load.wait_acknowledged(CHUNK // 10)
        victim = cluster.nodes[3]
        victim.kill()
        shutil.rmtree(victim.data_dir)
        before = len(victim.log())
        victim.start()
        status = victim.wait_exit(20)
        said = victim.log()[before:]
        last = [line for line in said.splitlines() if line.startswith("cairnd: ")]
        say("exit %d: %s" % (status, last))
        check(status == 2, "a wiped node ended with %d, not 2:\n%s" % (status, said[-800:]))
        check(len(last) == 1 and ("disk" in last[0] or "empty" in last[0]), "it does not explain: %s" % said[-800:])
        load.wait_more(CHUNK // 10)
        load.end()
        summary = load.finish()
        tell(summary)
        check(summary["unknown"] == 0, "unknown: %d" % summary["unknown"])


TESTS = {f.__name__: f for f in (start_orders, start_deaths, grow, wiped_disk)}
