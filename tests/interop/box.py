from confluent_kafka import Producer, Consumer
producer = Producer({'bootstrap.servers': '127.0.0.1:9092'})
producer.produce(topic='payment-events', key=b'customer-42', value=b'{"amount": 1200}', callback=lambda err, msg: print(err, msg.offset()))
producer.flush()
consumer = Consumer({'bootstrap.servers': '127.0.0.1:9092', 'group.id': 'webhook-delivery', 'auto.offset.reset': 'earliest'})
consumer.subscribe(['payment-events'])
while True:
    msg = consumer.poll(1.0)
    if msg and not msg.error():
        consumer.commit(msg)
