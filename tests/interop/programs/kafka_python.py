#!/usr/bin/python3
"""kafka-python as Debian has it, behind the commands of README.md."""
import sys
import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

import records
from program import Stop, Uncommitted, now, run, say, until

ASK_VERSION_MS = 60000  # by default 2 s for a first answer, which a busy machine may miss


def produce(bootstrap, topic, codec, first, count, rate):
    # One request at a time and retries: its order is kept; it has no idempotence, so a retry may double a record.
    # The request timeout is also how long a record may wait for a leader.
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", linger_ms=5, retries=10000,
                             max_in_flight_requests_per_connection=1, retry_backoff_ms=100, request_timeout_ms=60000,
                             api_version_auto_timeout_ms=ASK_VERSION_MS,
                             compression_type=None if codec == "none" else codec)
    stop = Stop()
    begin = time.monotonic()
    for n in range(count):
        if stop.asked:
            break
        i = first + n
        future = producer.send(topic, key=records.key(i), value=records.value(i), headers=records.headers(i))
        future.add_callback(lambda m, i=i: say(ack=i, p=m.partition, o=m.offset))
        future.add_errback(lambda e, i=i: say(error=str(e), i=i))
        while rate and time.monotonic() - begin < n / rate:
            time.sleep(0.005)
    producer.flush(90)
    producer.close()
    say(unsent=0)


class Listener(ConsumerRebalanceListener):
    """@commit what was said while it is still ours: once joined again, only what was committed counts."""

    def __init__(self, commit, uncommitted):
        self.commit = commit
        self.uncommitted = uncommitted

    def on_partitions_revoked(self, revoked):
        self.commit()
        self.uncommitted.forget()
        say(revoked=sorted(p.partition for p in revoked))

    def on_partitions_assigned(self, assigned):
        say(assigned=sorted(p.partition for p in assigned), t=now())


def consume(bootstrap, topic, group, count, instance):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), group_id=group, auto_offset_reset="earliest",
                             enable_auto_commit=False, session_timeout_ms=15000, heartbeat_interval_ms=500,
                             api_version_auto_timeout_ms=ASK_VERSION_MS)
    stop = Stop()
    seen = 0
    uncommitted = Uncommitted()

    def commit():
        uncommitted.commit(lambda offsets: consumer.commit(
            {TopicPartition(topic, p): OffsetAndMetadata(o, "") for p, o in offsets.items()}), KafkaError)

    consumer.subscribe([topic], listener=Listener(commit, uncommitted))
    while not stop.asked and (count == 0 or seen < count):
        polled = consumer.poll(timeout_ms=200, max_records=100)
        for messages in polled.values():
            for m in messages:
                seen += 1
                uncommitted.add(m.partition, m.offset)
                say(p=m.partition, o=m.offset, k=m.key.decode(), v=m.value.decode(),
                    h=[[name, data.hex()] for name, data in m.headers])
        if uncommitted.count >= 100 or not polled:
            commit()
    commit()
    consumer.close()


def offsets(bootstrap, topic, time_ms):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), api_version_auto_timeout_ms=ASK_VERSION_MS)
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    low, high = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    at = consumer.offsets_for_times({p: time_ms for p in partitions})
    for p in partitions:
        say(p=p.partition, low=low[p], high=high[p], at=high[p] if at[p] is None else at[p].offset)
    consumer.close()


def admin(bootstrap, topic):
    client = KafkaAdminClient(bootstrap_servers=bootstrap.split(","), api_version_auto_timeout_ms=ASK_VERSION_MS)

    def config(name):
        answer = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])[0]
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}[name]

    client.create_topics([NewTopic(topic, 3, 3, topic_configs={"retention.ms": "3600000"})])
    say(created=True)
    try:
        client.create_topics([NewTopic(topic, 3, 3)])
        say(created_twice=True)
    except TopicAlreadyExistsError:
        say(again="TOPIC_ALREADY_EXISTS")
    say(retention=config("retention.ms"), cleanup=config("cleanup.policy"))
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "7200000"})])
    say(retention_after=config("retention.ms"))
    broker = client.describe_cluster()["brokers"][0]["node_id"]
    answer = client.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(broker))])[0]
    say(broker_configs=len(answer.resources[0][4]))
    client.create_partitions({topic: NewPartitions(5)})
    say(partitions=until(5, lambda: len(client.describe_topics([topic])[0]["partitions"])))
    client.delete_topics([topic])
    say(there=until(False, lambda: topic in client.list_topics()))


def version():
    say(version=kafka.__version__)


if __name__ == "__main__":
    sys.exit(run(globals()))
