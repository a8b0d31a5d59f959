"""What each client must be able to do. A scenario gets the cluster, the client and a topic name of its own."""
import os
import signal
import subprocess
import sys
import time

from clients import HERE, Program
from cluster import check, say, wait_until

sys.path.insert(0, os.path.join(HERE, "programs"))
import records  # noqa: E402

PARTITIONS = 6


def number(line):
    return int(line["v"].split(":", 1)[0])


def check_record(client, line):
    i = number(line)
    check(line["v"].encode() == records.value(i) and line["k"].encode() == records.key(i),
          "%s: record %d came back as %s" % (client.name, i, line))
    if not client.same_headers:
        wanted = [[name, data.hex()] for name, data in records.headers(i)]
        check(line["h"] == wanted, "%s: record %d's headers came back as %s" % (client.name, i, line["h"]))


def start_member(client, cluster, topic, instance=""):
    return client.start("consume", bootstrap=cluster.kafka_bootstrap(), topic=topic, group=topic + "-group", count=0,
                        instance=instance)


def start_producer(client, cluster, topic, rate, count=1000000):
    return client.start("produce", bootstrap=cluster.kafka_bootstrap(), topic=topic, codec="none", first=0, count=count,
                        rate=rate)


def acknowledged(lines):
    return [line["ack"] for line in lines if "ack" in line]


def check_no_errors(client, lines):
    errors = [line for line in lines if "error" in line]
    check(not errors, "%s: errors reached the program: %s" % (client.name, errors[:3]))


def check_consumed(client, lines, acked, sent, doubles):
    """Everything acknowledged is there, unchanged, each key in order; nothing that was not sent; doubles only where the
    client cannot help it. @lines may hold a record more than once where it was read again: offsets tell."""
    by_place, last = {}, {}
    for line in lines:
        check_record(client, line)
        place = (line["p"], line["o"])
        check(by_place.setdefault(place, number(line)) == number(line), "%s: another record at %s" % (client.name, place))
    seen = list(by_place.values())
    check(set(seen) <= set(sent), "%s: records that nobody sent" % client.name)
    lost = sorted(set(acked) - set(seen))
    check(not lost, "%s: %d of %d acknowledged are lost: %s" % (client.name, len(lost), len(acked), lost[:10]))
    if not doubles:
        check(len(seen) == len(set(seen)), "%s: %d records are there twice" % (client.name, len(seen) - len(set(seen))))
        for place in sorted(by_place):
            i = by_place[place]
            key = records.key(i)
            check(last.get(key, -1) < i, "%s: record %d stands behind %d" % (client.name, i, last.get(key, -1)))
            last[key] = i


def consume_all(client, cluster, topic, group, count):
    """Until @count different records were seen."""
    consumer = client.start("consume", bootstrap=cluster.kafka_bootstrap(), topic=topic, group=group, count=0, instance="")
    consumer.wait("%d records are consumed" % count,
                  lambda c: len({(line["p"], line["o"]) for line in c.of("o")}) >= count, 90)
    consumer.end()
    return consumer.of("o")


def codecs(cluster, client, topic):
    """Produce and consume with every codec, keys and headers; the topic is made by asking for it."""
    each = 400
    acked = []
    for n, codec in enumerate(client.codecs):
        lines = client.call("produce", bootstrap=cluster.kafka_bootstrap(), topic=topic, codec=codec, first=n * each,
                            count=each, rate=0)
        acked += acknowledged(lines)
    check(len(acked) == each * len(client.codecs), "%s: %d acknowledged" % (client.name, len(acked)))
    lines = consume_all(client, cluster, topic, topic + "-group", len(acked))
    check_consumed(client, lines, acked, acked, doubles=not client.idempotent)


def leader_loss(cluster, client, topic):
    """kill -9 of a partition's leader in the middle, and its return."""
    count, rate = 4000, 500
    cluster.create_topic(topic, PARTITIONS, 3)
    producer = start_producer(client, cluster, topic, rate, count)
    producer.wait("a quarter is acknowledged", lambda p: len(p.of("ack")) >= count // 4)
    node, _ = cluster.leader(topic, 0)
    node.kill()
    producer.wait("more is acknowledged without node %d" % node.id, lambda p: len(p.of("ack")) >= count // 2)
    node.start()
    lines = producer.finish(120)
    check_no_errors(client, lines)
    acked = acknowledged(lines)
    check(len(set(acked)) == count, "%s: %d of %d acknowledged" % (client.name, len(set(acked)), count))
    cluster.wait_formed(3)
    lines = consume_all(client, cluster, topic, topic + "-group", count)
    check_consumed(client, lines, acked, range(count), doubles=not client.idempotent)


def groups(cluster, client, topic):
    """One to five members join and leave under load; everything is processed at least once, and committed."""
    rate, members_max = 300, 5
    cluster.create_topic(topic, PARTITIONS, 3)
    producer = start_producer(client, cluster, topic, rate)
    members = []
    everybody = []

    def join():
        members.append(start_member(client, cluster, topic))
        everybody.append(members[-1])

    def all_busy():
        marks = [len(m.of("o")) for m in members]
        for member, mark in zip(members, marks):
            member.wait("a member of %d gets records" % len(members), lambda m, mark=mark: len(m.of("o")) > mark, 60)

    for _ in range(members_max):
        join()
        all_busy()
    for _ in range(members_max - 2):
        members.pop(0).end()
        all_busy()
    join()
    lines = producer.end(120)
    acked = acknowledged(lines)
    count = len(acked)
    check(sorted(set(acked)) == list(range(count)), "%s: not all of %d were acknowledged, once" % (client.name, count))
    seen = lambda: {number(line) for m in everybody for line in m.of("o")}  # noqa: E731
    wait_until("%s: all is processed" % client.name, lambda: len(seen()) == count, 60)
    for member in members:
        member.end()
    check_consumed(client, [line for m in everybody for line in m.of("o")], acked, acked, doubles=not client.idempotent)
    # Who comes after them finds nothing left to do: all was committed.
    late = start_member(client, cluster, topic)
    client.call("produce", bootstrap=cluster.kafka_bootstrap(), topic=topic, codec="none", first=count, count=PARTITIONS * 10, rate=0)
    late.wait("the late member sees new records", lambda m: len({number(line) for line in m.of("o")}) >= PARTITIONS * 10, 60)
    late.end()
    again = [number(line) for line in late.of("o") if number(line) < count]
    check(not again, "%s: %d records were processed, their commit is lost" % (client.name, len(again)))


def offsets(cluster, client, topic):
    """Earliest, latest, and the first offset at or behind a time."""
    cluster.create_topic(topic, 2, 3)
    ask = {"bootstrap": cluster.kafka_bootstrap(), "topic": topic}
    client.call("produce", codec="none", first=0, count=200, rate=0, **ask)
    time.sleep(0.05)  # the times of the two halves differ
    middle = int(time.time() * 1000)
    time.sleep(0.05)
    halves = {line["p"]: line["high"] for line in client.call("offsets", time_ms=middle, **ask)}
    client.call("produce", codec="none", first=200, count=200, rate=0, **ask)
    lines = client.call("offsets", time_ms=middle, **ask)
    check(len(lines) == 2 and sum(halves.values()) == 200, "%s: offsets: %s" % (client.name, lines))
    check(sum(line["high"] for line in lines) == 400, "%s: ends: %s" % (client.name, lines))
    for line in lines:
        check(line["low"] == 0 and line["at"] == halves[line["p"]], "%s: by time: %s, not %s" % (client.name, line, halves))


def admin(cluster, client, topic):
    """Topics and their configs, made, described, changed and deleted."""
    if not client.can_admin:
        say("  %s has no admin calls" % client.name)
        return
    said = {}
    for line in client.call("admin", bootstrap=cluster.kafka_bootstrap(), topic=topic):
        said.update(line)
    wanted = {"created": True, "again": "TOPIC_ALREADY_EXISTS", "retention": "3600000", "cleanup": "delete",
              "retention_after": "7200000", "partitions": 5, "there": False}
    for key, value in wanted.items():
        check(said.get(key) == value, "%s: %s is %r, not %r" % (client.name, key, said.get(key), value))
    check(said.get("broker_configs", 0) > 10, "%s: a broker's configs: %s" % (client.name, said))


def longest_pauses(lines):
    """Of each partition, the longest time between two acknowledgements."""
    last, longest = {}, {}
    for line in lines:
        if "p" in line:
            longest[line["p"]] = max(longest.get(line["p"], 0), line["heard"] - last.get(line["p"], line["heard"]))
            last[line["p"]] = line["heard"]
    return [longest[p] for p in sorted(longest)]


def rolling_restart(cluster, client, topic):
    """All nodes, one after the other, under a running group and a producer: no error reaches the program."""
    cluster.create_topic(topic, PARTITIONS, 3)
    members = [start_member(client, cluster, topic) for _ in range(3)]
    producer = start_producer(client, cluster, topic, 500)
    seen = lambda: {number(line) for m in members for line in m.of("o")}  # noqa: E731
    wait_until("%s: the group works" % client.name, lambda: len(seen()) > 500, 60)
    for node in cluster.nodes.values():
        mark = len(producer.of("ack"))
        check(node.term() == 0, "node %d did not end well" % node.id)
        producer.wait("it goes on without node %d" % node.id, lambda p: len(p.of("ack")) > mark + 500)
        node.start()
        cluster.wait_formed(3)
    lines = producer.end(120)
    check_no_errors(client, lines)
    acked = acknowledged(lines)
    check(sorted(set(acked)) == list(range(len(acked))), "%s: not all of %d were acknowledged, once" % (client.name, len(acked)))
    wait_until("%s: all is processed" % client.name, lambda: len(seen()) == len(acked), 60)
    for member in members:
        member.end()
    check_consumed(client, [line for m in members for line in m.of("o")], acked, acked, doubles=not client.idempotent)
    pauses = longest_pauses(lines)
    if pauses:
        say("  %s: %d acknowledged; longest pause of each partition: %s s" %
            (client.name, len(acked), " ".join("%.2f" % p for p in pauses)))


def static_members(cluster, client, topic):
    """A member with a name of its own comes back in time: the other one is not disturbed."""
    if not client.static_members:
        say("  %s has no static members" % client.name)
        return
    cluster.create_topic(topic, PARTITIONS, 3)
    start = lambda name: start_member(client, cluster, topic, name)  # noqa: E731
    owners = [start("one"), start("two")]
    producer = start_producer(client, cluster, topic, 300)
    for member in owners:
        member.wait("a static member gets records", lambda m: len(m.of("o")) > 50)
    before = len(owners[0].of("revoked"))
    owners[1].process.send_signal(signal.SIGKILL)
    owners[1].process.wait()
    Program.running.remove(owners[1])
    partitions = lambda m: {line["p"] for line in m.of("o")[-40:]}  # noqa: E731
    mine, other = partitions(owners[0]), partitions(owners[1])
    returned = start("two")
    returned.wait("it gets records again", lambda m: len(m.of("o")) > 50)
    check(not mine & partitions(returned), "%s: two owners of %s" % (client.name, mine & partitions(returned)))
    check(partitions(returned) <= other | set(range(PARTITIONS)) - mine, "%s: other partitions" % client.name)
    check(len(owners[0].of("revoked")) == before, "%s: the other static member was rebalanced" % client.name)
    producer.kill()
    owners[0].end()
    returned.end()


def box(cluster, client, topic):
    """The program of a typical user, as it stands but for the address: it consumes what it produced and commits it."""
    if client.name != "confluent-kafka-python":
        return
    with open(os.path.join(HERE, "box.py")) as f:
        text = f.read()
    check("127.0.0.1:9092" in text, "box.py names the usual port")
    text = text.replace("127.0.0.1:9092", cluster.kafka_bootstrap().split(",")[0])
    child = subprocess.Popen(["/usr/bin/python3", "-u", "-c", text], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        check(child.stdout.readline() == "None 0\n", "the box's record was not acknowledged at offset 0")
        committed = ("import sys; from confluent_kafka import Consumer, TopicPartition as T\n"
                     "c = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': 'webhook-delivery'})\n"
                     "ps = c.list_topics('payment-events', 10).topics['payment-events'].partitions\n"
                     "print(sum(max(t.offset, 0) for t in c.committed([T('payment-events', p) for p in ps], 10)))\n")
        wait_until("the box's commit is there", lambda: subprocess.run(
            ["/usr/bin/python3", "-c", committed, cluster.kafka_bootstrap()], stdout=subprocess.PIPE, text=True,
            timeout=30).stdout == "1\n", 30, 0.3)
        check(child.poll() is None, "the box's program ended")
    finally:
        child.kill()
        child.wait()


SCENARIOS = {f.__name__: f for f in (codecs, offsets, admin, leader_loss, rolling_restart, groups, static_members, box)}
