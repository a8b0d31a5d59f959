"""kafka-python (any release) going through its motions. usage: client_kafka_python.py <port> [sasl]"""
import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

servers = {"bootstrap_servers": "127.0.0.1:" + sys.argv[1], "client_id": "golden"}
if "sasl" in sys.argv:
    servers.update(security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_plain_username="u",
                   sasl_plain_password="p")


def attempt(what, call):
    try:
        call()
    except Exception as e:
        print("kafka-python: %s: %r" % (what, e))


p = KafkaProducer(**servers)
for i in range(3):
    p.send("golden", key=b"k%d" % i, value=b"v" * 20, headers=[("h", b"1")], partition=i % 2)
attempt("flush", lambda: p.flush(10))
p.close(5)

if "sasl" not in sys.argv:
    c = KafkaConsumer("golden", **servers, group_id="readers", auto_offset_reset="earliest", enable_auto_commit=False,
                      heartbeat_interval_ms=200, session_timeout_ms=6000, consumer_timeout_ms=3000,
                      fetch_max_wait_ms=100)
    got = [m for m, _ in zip(c, range(3))]
    if len(got) != 3:
        print("kafka-python: %d of 3 messages" % len(got))
    attempt("commit", c.commit)
    attempt("committed", lambda: c.committed(TopicPartition("golden", 0)))
    attempt("end offsets", lambda: c.end_offsets([TopicPartition("golden", 0)]))
    attempt("times", lambda: c.offsets_for_times({TopicPartition("golden", 0): 1000}))
    c.poll(500)
    c.close()

    admin = KafkaAdminClient(**servers)
    topic = ConfigResource(ConfigResourceType.TOPIC, "golden")
    attempt("create topics", lambda: admin.create_topics([NewTopic("made", 2, 1)]))
    attempt("create partitions", lambda: admin.create_partitions({"made": NewPartitions(4)}))
    attempt("describe configs", lambda: admin.describe_configs([topic]))
    attempt("alter configs", lambda: admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "golden",
                                                                          configs={"retention.ms": "9"})]))
    attempt("list groups", lambda: (getattr(admin, "list_groups", None) or admin.list_consumer_groups)())
    attempt("describe groups", lambda: (getattr(admin, "describe_groups", None)
                                        or admin.describe_consumer_groups)(["readers"]))
    attempt("group offsets", lambda: (getattr(admin, "list_group_offsets", None)
                                      or admin.list_consumer_group_offsets)("readers"))
    attempt("describe cluster", lambda: admin.describe_cluster())
    attempt("describe log dirs", lambda: admin.describe_log_dirs())
    attempt("delete records", lambda: admin.delete_records({TopicPartition("golden", 0): 1}))
    attempt("delete groups", lambda: (getattr(admin, "delete_groups", None) or admin.delete_consumer_groups)(["readers"]))
    attempt("delete topics", lambda: admin.delete_topics(["made"]))
    admin.close()
print("kafka-python: done")
