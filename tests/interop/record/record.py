#!/usr/bin/env python3
"""Takes down what clients that we did not write send and accept: tests/unit/kafka/golden/<client>.txt.

    python3 -m venv /tmp/rec && /tmp/rec/bin/pip install kafka-python==3.0.12
    /tmp/rec/bin/python record.py <client name> <command of a client, its port comes next> ...

e.g.  record.py librdkafka-2.0.2 /tmp/old/bin/python client_confluent.py      (pip install confluent-kafka==2.0.2)
      record.py kafka-python-2.0.2 /tmp/kp2/bin/python client_kafka_python.py (pip install kafka-python==2.0.2)
      NODE_PATH=/tmp/js/node_modules record.py kafkajs-2.2.4 node client_kafkajs.js      (npm install kafkajs@2.2.4)

The client talks to fake_broker.py on loopback, once for each set of advertised versions. Its requests are golden: our
decoder must read them whole, our encoder write the same again. So are the responses, which kafka-python encoded and the
client accepted (what it did not, it says here): that we encode the same bytes is our proof without their clients at
hand. One line a case: client, api, version, direction, the frame without its size in hex."""
import os
import subprocess
import sys

import fake_broker

FRAME_SIZE_MAX = 2048  # bytes; longer cases add nothing


def main(argv):
    name, command = argv[1], argv[2:]
    cases, order = {}, []

    def record(schema, version, direction, frame):
        """The first and the longest of each kind."""
        if len(frame) > FRAME_SIZE_MAX:
            return
        key = (schema.messages[0].key, version, direction)
        kept = cases.setdefault(key, [])
        if not kept:
            order.append((key, schema))
        if frame not in kept:
            if len(kept) < 2:
                kept.append(frame)
            elif len(frame) > len(kept[1]):
                kept[1] = frame

    for profile in ("new", "first", "old"):
        for extra in ([], ["sasl"]):
            broker = fake_broker.Broker(profile, record)
            subprocess.run(command + [str(broker.port)] + extra, timeout=60, check=False)
            broker.close()

    path = os.path.join(fake_broker.ROOT, "tests/unit/kafka/golden", name + ".txt")
    with open(path, "w", encoding="ascii") as f:
        f.write("# Taken by tests/interop/record/record.py from %s.\n" % name)
        for key, schema in sorted(order, key=lambda o: o[0]):
            camel = "".join(word.capitalize() for word in schema.name.split("_"))
            for frame in cases[key]:
                f.write("%s %s %d %s %s\n" % (name, camel, key[1], key[2], frame.hex()))
    print("%s: %d kinds" % (path, len(order)))


if __name__ == "__main__":
    main(sys.argv)
