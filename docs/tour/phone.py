"""Prints what a person's phone would show: phone.py KAFKA PERSON COUNT

Reads the stream `notifications` from its start, and ends after COUNT messages
to that person. Needs: pip install confluent-kafka
"""
import json
import sys

from confluent_kafka import Consumer

kafka, person, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({
    "bootstrap.servers": kafka,
    "group.id": "phone-of-" + person,
    "auto.offset.reset": "earliest",
})
consumer.subscribe(["notifications"])
seen = set()  # a message may come twice: its id says so
while len(seen) < count:
    record = consumer.poll(1.0)
    if record is None:
        continue
    if record.error():
        sys.exit(str(record.error()))
    if record.key().decode() != person:
        continue
    message = json.loads(record.value())
    if message["id"] not in seen:
        seen.add(message["id"])
        print(message["message"])
consumer.close()
