"""librdkafka, through confluent-kafka, going through its motions. usage: client_confluent.py <port> [sasl]"""
import sys

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import admin as a

servers = {"bootstrap.servers": "127.0.0.1:" + sys.argv[1], "client.id": "golden"}
if "sasl" in sys.argv:
    servers.update({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u",
                    "sasl.password": "p"})


def attempt(what, call):
    try:
        result = call()
        for future in (result.values() if isinstance(result, dict) else [result]):
            if hasattr(future, "result"):
                future.result(timeout=10)
    except AttributeError as e:  # an older release lacks the call
        print("confluent: %s: %s" % (what, e))
    except Exception as e:
        print("confluent: %s: %r" % (what, e))


for idempotent in (False, True):
    p = Producer({**servers, "enable.idempotence": idempotent, "compression.type": "lz4" if idempotent else "none"})
    for i in range(3):
        p.produce("golden", key=b"k%d" % i, value=b"v" * 20, headers={"h": b"1"}, partition=i % 2)
    if p.flush(10) != 0:
        print("confluent: not delivered")

if "sasl" not in sys.argv:
    c = Consumer({**servers, "group.id": "readers", "auto.offset.reset": "earliest", "enable.auto.commit": False,
                  "heartbeat.interval.ms": 200, "session.timeout.ms": 6000, "fetch.wait.max.ms": 100})
    c.subscribe(["golden"])
    got = 0
    for _ in range(100):
        m = c.poll(0.1)
        if m is not None and m.error() is None:
            got += 1
            if got == 6:
                break
    if got != 6:
        print("confluent: %d of 6 messages" % got)
    c.poll(0.5)
    attempt("commit", lambda: c.commit(offsets=[TopicPartition("golden", 0, 2)], asynchronous=False))
    attempt("committed", lambda: c.committed([TopicPartition("golden", 0), TopicPartition("golden", 1)], timeout=5))
    attempt("offsets", lambda: c.get_watermark_offsets(TopicPartition("golden", 0), timeout=5))
    attempt("times", lambda: c.offsets_for_times([TopicPartition("golden", 0, 1000)], timeout=5))
    c.close()

    admin = a.AdminClient(servers)
    topic = a.ConfigResource(a.ConfigResource.Type.TOPIC, "golden")
    attempt("create topics", lambda: admin.create_topics([a.NewTopic("made", 2, 1, config={"retention.ms": "5"})]))
    attempt("create partitions", lambda: admin.create_partitions([a.NewPartitions("made", 4)]))
    attempt("describe configs", lambda: admin.describe_configs([topic]))
    topic.set_config("retention.ms", "7")
    attempt("alter configs", lambda: admin.alter_configs([topic]))
    attempt("incremental", lambda: admin.incremental_alter_configs([a.ConfigResource(
        a.ConfigResource.Type.TOPIC, "golden", incremental_configs=[
            a.ConfigEntry("retention.ms", "9", incremental_operation=a.AlterConfigOpType.SET)])]))
    attempt("list groups", lambda: admin.list_consumer_groups(request_timeout=5))
    attempt("describe groups", lambda: admin.describe_consumer_groups(["readers"], request_timeout=5))
    attempt("describe cluster", lambda: admin.describe_cluster(request_timeout=5))
    attempt("describe topics", lambda: admin.describe_topics(
        confluent_kafka.TopicCollection(["golden"]), request_timeout=5))
    attempt("group offsets", lambda: admin.list_consumer_group_offsets(
        [confluent_kafka.ConsumerGroupTopicPartitions("readers")], request_timeout=5))
    attempt("list offsets", lambda: admin.list_offsets({TopicPartition("golden", 0): a.OffsetSpec.max_timestamp()}))
    attempt("delete records", lambda: admin.delete_records([TopicPartition("golden", 0, 1)]))
    attempt("elect", lambda: admin.elect_leaders(
        confluent_kafka.ElectionType.PREFERRED, [TopicPartition("golden", 0)]))
    attempt("delete groups", lambda: admin.delete_consumer_groups(["readers"], request_timeout=5))
    attempt("delete topics", lambda: admin.delete_topics(["made"]))
print("confluent: done")
