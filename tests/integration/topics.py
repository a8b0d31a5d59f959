"""Topics that go and come again under load."""
from cluster import Checker, Cluster, check, say, tell, wait_until
from faults import CHUNK


def recreate(env):
    """Deleted and created again under the same name, also while a node is down: nothing of the old one comes back."""
    with Cluster(env.cairnd) as cluster:
        cluster.start()
        cluster.wait_formed(3)
        for turn in range(4):
            topic = cluster.create_topic("t", 6)
            load = Checker(env.checker, cluster, "t", rate=15000, until_gone=True)
            load.wait_acknowledged(CHUNK // 4)
            victim = cluster.nodes[1 + turn % 3] if turn % 2 == 1 else None
            if victim is not None:
                victim.kill()
                say("node %d is down meanwhile" % victim.id)
                load.wait_more(CHUNK // 10)
            cluster.delete_topic("t")
            summary = load.finish(60)
            check(summary["gone"], "the checker did not notice the deletion: %s" % summary)
            say("turn %d: topic %s deleted with %d acknowledged" % (turn, topic["id"], summary["acknowledged"]))
            if victim is not None:
                cluster.create_topic("t", 6)  # again, before the node that was down is back
                load = Checker(env.checker, cluster, "t", rate=15000)
                load.wait_acknowledged(CHUNK // 10)
                victim.start()
                cluster.wait_formed(3)
                load.wait_more(CHUNK // 5)
                load.end()
                summary = load.finish()
                tell(summary)
                check(summary["unknown"] == 0, "unknown: %d" % summary["unknown"])
                cluster.delete_topic("t")
        for node in cluster.running():
            wait_until("node %d forgets the topic" % node.id, lambda: not cluster.status(node)["topics"])
            wait_until("node %d forgets its groups" % node.id,
                       lambda: sum(s["groups"] for s in cluster.status(node)["shards"]) <= 1)


TESTS = {"recreate": recreate}
