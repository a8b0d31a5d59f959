"""What each client must be able to do. A scenario gets the cluster, the client and a topic name of its own."""
import os
import subprocess
import sys
import time

from clients import HERE, WAIT_LIMIT_S, Program
from cluster import TestFailure, check, say, wait_until
from groups import FETCH_OFFSETS, FIND_COORDINATOR, one, signed
from native import Client, decode, encode

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
    return client.start("consume", bootstrap=cluster.kafka_bootstrap(), topic=topic, group=group_of(topic), count=0,
                        instance=instance)


def group_of(topic):
    return topic + "-group"


def start_producer(client, cluster, topic, rate, count=1000000):
    return client.start("produce", bootstrap=cluster.kafka_bootstrap(), topic=topic, codec="none", first=0, count=count,
                        rate=rate)


def acknowledged(lines):
    return [line["ack"] for line in lines if "ack" in line]


def check_no_errors(client, lines):
    errors = [line for line in lines if "error" in line]
    check(not errors, "%s: errors reached the program: %s" % (client.name, errors[:3]))


def committed(cluster, topic):
    """What the group's coordinator says is committed: of each partition, the next offset."""
    asked = [(2, encode((1, bytes.fromhex(cluster.metadata(topic)["topic"]["id"])), (2, p))) for p in range(PARTITIONS)]
    with cluster.running()[0].client() as any_node:
        found = decode(any_node.call(FIND_COORDINATOR, encode((1, group_of(topic))))[1][0])
    if one(found, 2) != 0 or not one(found, 4):
        raise ConnectionError("group %s has no coordinator now" % group_of(topic))
    with Client(one(found, 4).decode()) as coordinator:
        offsets = coordinator.call(FETCH_OFFSETS, encode((1, group_of(topic)), *asked)).get(1, [])
    return {one(o, 2): signed(one(o, 3)) for o in map(decode, offsets) if signed(one(o, 3)) > 0}


def refused_commits(members):
    """For a failure's message."""
    refused = [line["commit"] for m in members for line in m.of("commit")]
    return "%d commits were refused: %s" % (len(refused), refused[-5:])


def wait_processed(client, cluster, topic, members, acked, ended=0):
    """All that was acknowledged is processed, and committed; true of @members, of which @ended left meanwhile. At least once
    is all that a client promises: what was processed without its commit when a partition moved is processed again by its
    next owner, who must have the time for it."""
    ends = {line["p"]: line["high"] for line in
            client.call("offsets", bootstrap=cluster.kafka_bootstrap(), topic=topic, time_ms=0) if line["high"] > 0}
    told = {}
    missing = set(acked)

    def all_committed():
        nonlocal told
        told = committed(cluster, topic)
        return told == ends

    def all_processed():
        missing.difference_update([number(line) for m in members for line in m.of("o")])
        return len(missing) <= ended * client.swallows
    try:
        wait_until("all is processed", all_processed, WAIT_LIMIT_S, 0.2)
        wait_until("all is committed", all_committed, WAIT_LIMIT_S, 0.2)
        all_processed()
    except TestFailure as e:
        raise TestFailure("%s: %s: %d are not processed: %s; there are %s, committed are %s; %s" %
                          (client.name, e, len(missing), sorted(missing)[:10], ends, told, refused_commits(members)))
    return missing


def check_swallowed(client, cluster, topic, members, acked, missing):
    """@missing are there, and what a member swallowed at its end: one record, in the middle of what was processed."""
    say("  %s swallowed %s" % (client.name, sorted(missing)))
    lines = consume_all(client, cluster, topic, topic + "-whole", len(acked))
    check_consumed(client, lines, acked, acked, doubles=not client.idempotent)
    places = {(line["p"], line["o"]) for m in members for line in m.of("o")}
    for line in lines:
        before = [line["o"] - 1 - k for k in range(len(missing))]  # each of them may have been swallowed by an owner of its own
        check(number(line) not in missing or min(before) < 0 or any((line["p"], o) in places for o in before),
              "%s: record %d and the %d before it were never processed" % (client.name, number(line), len(before)))


def check_commits_kept(client, members):
    """No commit that was acknowledged is forgotten: who is assigned a partition afterwards does not begin before it."""
    commits = {}
    for line in (line for m in members for line in m.of("committed")):
        for p, offset in line["committed"].items():
            commits.setdefault(int(p), []).append((line["t"], offset))
    for member in members:
        since, begun = None, set()
        for line in list(member.lines):
            if "assigned" in line:
                since, begun = line.get("t"), set()
            elif "o" in line and since is not None and line["p"] not in begun:
                begun.add(line["p"])
                kept = max([offset for t, offset in commits.get(line["p"], []) if t < since], default=0)
                check(line["o"] >= kept, "%s: partition %d was committed to %d, and its next owner began at %d" %
                      (client.name, line["p"], kept, line["o"]))


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
                  lambda c: len({(line["p"], line["o"]) for line in c.of("o")}) >= count)
    consumer.end()
    return consumer.of("o")


def codecs(cluster, client, topic):
    """Produce and consume with every codec, keys and headers; the topic is made by asking for it."""
    each = 400
    acked = []
    for n, codec in enumerate(client.codecs):
        lines = client.call("produce", bootstrap=cluster.kafka_bootstrap(), topic=topic, codec=codec, first=n * each,
                            count=each, rate=0)
        check_no_errors(client, lines)
        acked += acknowledged(lines)
    check(len(acked) == each * len(client.codecs), "%s: %d acknowledged" % (client.name, len(acked)))
    lines = consume_all(client, cluster, topic, group_of(topic), len(acked))
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
    lines = producer.finish()
    check_no_errors(client, lines)
    acked = acknowledged(lines)
    check(len(set(acked)) == count, "%s: %d of %d acknowledged" % (client.name, len(set(acked)), count))
    cluster.wait_formed(3)
    lines = consume_all(client, cluster, topic, group_of(topic), count)
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
            member.wait("a member of %d gets records" % len(members), lambda m, mark=mark: len(m.of("o")) > mark)

    for _ in range(members_max):
        join()
        all_busy()
    for _ in range(members_max - 2):
        members.pop(0).end()
        all_busy()
    join()
    lines = producer.end()
    acked = acknowledged(lines)
    count = len(acked)
    check(sorted(set(acked)) == list(range(count)), "%s: not all of %d were acknowledged, once" % (client.name, count))
    missing = wait_processed(client, cluster, topic, everybody, acked, len(everybody) - len(members))
    for member in members:
        member.end()
    check_consumed(client, [line for m in everybody for line in m.of("o")], set(acked) - missing, acked,
                   doubles=not client.idempotent)
    if missing:
        check_swallowed(client, cluster, topic, everybody, acked, missing)
    # Who comes after them finds nothing left to do: all was committed.
    late = start_member(client, cluster, topic)
    client.call("produce", bootstrap=cluster.kafka_bootstrap(), topic=topic, codec="none", first=count, count=PARTITIONS * 10, rate=0)
    late.wait("the late member sees new records", lambda m: len({number(line) for line in m.of("o")}) >= PARTITIONS * 10)
    late.end()
    again = [number(line) for line in late.of("o") if number(line) < count]
    check(not again, "%s: %d records were processed, their commit is lost: %s; %s" %
          (client.name, len(again), sorted(again)[:10], refused_commits(everybody)))
    check_commits_kept(client, everybody + [late])


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
    wait_until("%s: the group works" % client.name, lambda: sum(len(m.of("o")) for m in members) > 500, WAIT_LIMIT_S)
    for node in cluster.nodes.values():
        mark = len(producer.of("ack"))
        check(node.term() == 0, "node %d did not end well" % node.id)
        producer.wait("it goes on without node %d" % node.id, lambda p: len(p.of("ack")) > mark + 500)
        node.start()
        cluster.wait_formed(3)
    lines = producer.end()
    check_no_errors(client, lines)
    acked = acknowledged(lines)
    check(sorted(set(acked)) == list(range(len(acked))), "%s: not all of %d were acknowledged, once" % (client.name, len(acked)))
    wait_processed(client, cluster, topic, members, acked)
    for member in members:
        member.end()
    check_commits_kept(client, members)
    check_consumed(client, [line for m in members for line in m.of("o")], acked, acked, doubles=not client.idempotent)
    pauses = longest_pauses(lines)
    if pauses:
        say("  %s: %d acknowledged; longest pause of each partition: %s s" %
            (client.name, len(acked), " ".join("%.2f" % p for p in pauses)))


def owned(member):
    """The partitions that it says it has."""
    told = [line for line in list(member.lines) if "assigned" in line or "revoked" in line]
    return told[-1].get("assigned", []) if told else []


def static_members(cluster, client, topic):
    """A member with a name of its own comes back in time: the other one is not disturbed."""
    if not client.static_members:
        say("  %s has no static members" % client.name)
        return
    cluster.create_topic(topic, PARTITIONS, 3)
    start = lambda name: start_member(client, cluster, topic, name)  # noqa: E731
    owners = [start("one"), start("two")]
    producer = start_producer(client, cluster, topic, 300)
    wait_until("%s: two static members share the partitions" % client.name,
               lambda: sorted(owned(owners[0]) + owned(owners[1])) == list(range(PARTITIONS)) and owned(owners[0])
               and owned(owners[1]), WAIT_LIMIT_S)
    mine, others = owned(owners[0]), owned(owners[1])

    def works(member, what):
        mark = len(member.of("o"))
        member.wait(what, lambda m: len(m.of("o")) > mark + 50)
    for member in owners:
        works(member, "a static member gets records")
    rebalances = lambda: len(owners[0].of("revoked") + owners[0].of("assigned"))  # noqa: E731
    before = rebalances()
    owners[1].kill()
    returned = start("two")
    works(returned, "it gets records again")
    works(owners[0], "so does the other one")
    returned.wait("it knows its partitions", lambda m: m.of("assigned"))
    places = {line["p"] for line in returned.of("o")}
    check(owned(returned) == others, "%s: it had %s and has %s" % (client.name, others, owned(returned)))
    check(places <= set(others), "%s: it got records of %s, and has %s" % (client.name, places, others))
    check(rebalances() == before and owned(owners[0]) == mine, "%s: the other static member was rebalanced" % client.name)
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
            timeout=WAIT_LIMIT_S).stdout == "1\n", WAIT_LIMIT_S, 0.3)
        check(child.poll() is None, "the box's program ended")
    finally:
        child.kill()
        child.wait()


SCENARIOS = {f.__name__: f for f in (codecs, offsets, admin, leader_loss, rolling_restart, groups, static_members, box)}
