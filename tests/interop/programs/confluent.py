#!/usr/bin/python3
"""confluent-kafka-python (librdkafka) as Debian has it, behind the commands of README.md."""
import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

import records
from program import Stop, Uncommitted, now, run, say, until

LIMIT_S = 60


def produce(bootstrap, topic, codec, first, count, rate):
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec,
                         "linger.ms": 5, "message.timeout.ms": 90000})

    def delivered(i):
        def callback(error, message):
            if error is not None:
                say(error=str(error), i=i)
            else:
                say(ack=i, p=message.partition(), o=message.offset())
        return callback

    stop = Stop()
    begin = time.monotonic()
    for n in range(count):
        if stop.asked:
            break
        i = first + n
        while True:
            try:
                producer.produce(topic, key=records.key(i), value=records.value(i), headers=records.headers(i),
                                 on_delivery=delivered(i))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        while rate and time.monotonic() - begin < n / rate:
            producer.poll(0.005)
    say(unsent=producer.flush(100))


def consume(bootstrap, topic, group, count, instance):
    config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
              "enable.auto.commit": False, "session.timeout.ms": 15000, "heartbeat.interval.ms": 500}
    if instance:  # its session must outlive the start of its successor
        config["group.instance.id"] = instance
        config["session.timeout.ms"] = 120000
    consumer = Consumer(config)
    stop = Stop()
    seen = 0
    uncommitted = Uncommitted()

    def ask_commit(offsets):
        for done in consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in offsets.items()], asynchronous=False):
            if done.error is not None:
                raise KafkaException(done.error)

    def commit():
        uncommitted.commit(ask_commit, KafkaException)

    def revoked(_, partitions):
        commit()
        uncommitted.forget()
        say(revoked=sorted(p.partition for p in partitions))

    consumer.subscribe([topic], on_assign=lambda c, ps: say(assigned=sorted(p.partition for p in ps), t=now()),
                       on_revoke=revoked)
    while not stop.asked and (count == 0 or seen < count):
        message = consumer.poll(0.2)
        if message is None:
            commit()
            continue
        if message.error():
            say(note=str(message.error()))
            continue
        seen += 1
        uncommitted.add(message.partition(), message.offset())
        say(p=message.partition(), o=message.offset(), k=message.key().decode(), v=message.value().decode(),
            h=[[name, data.hex()] for name, data in message.headers() or []])
        if uncommitted.count >= 100:
            commit()
    commit()
    consumer.close()


def offsets(bootstrap, topic, time_ms):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody"})
    partitions = sorted(consumer.list_topics(topic, LIMIT_S).topics[topic].partitions)
    at = consumer.offsets_for_times([TopicPartition(topic, p, time_ms) for p in partitions], LIMIT_S)
    for p in at:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, p.partition), LIMIT_S)
        say(p=p.partition, low=low, high=high, at=high if p.offset < 0 else p.offset)
    consumer.close()


def admin(bootstrap, topic):
    client = AdminClient({"bootstrap.servers": bootstrap})

    def wait(futures):
        return [f.result(LIMIT_S) for f in futures.values()]

    wait(client.create_topics([NewTopic(topic, 3, 3, config={"retention.ms": "3600000"})]))
    say(created=True)
    try:
        wait(client.create_topics([NewTopic(topic, 3, 3)]))
        say(created_twice=True)
    except KafkaException as e:
        say(again=e.args[0].name())
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    configs = wait(client.describe_configs([resource]))[0]
    say(retention=configs["retention.ms"].value, cleanup=configs["cleanup.policy"].value)
    wait(client.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={"retention.ms": "7200000"})]))
    say(retention_after=wait(client.describe_configs([resource]))[0]["retention.ms"].value)
    broker = sorted(client.list_topics(timeout=LIMIT_S).brokers)[0]
    say(broker_configs=len(wait(client.describe_configs([ConfigResource(ConfigResource.Type.BROKER, str(broker))]))[0]))
    wait(client.create_partitions([NewPartitions(topic, 5)]))
    say(partitions=until(5, lambda: len(client.list_topics(topic, timeout=LIMIT_S).topics[topic].partitions)))
    wait(client.delete_topics([topic]))
    say(there=until(False, lambda: topic in client.list_topics(timeout=LIMIT_S).topics))


def version():
    say(version="%s, librdkafka %s" % (confluent_kafka.version()[0], confluent_kafka.libversion()[0]))


if __name__ == "__main__":
    sys.exit(run(globals()))
