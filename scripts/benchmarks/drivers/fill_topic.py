"""Makes a topic and fills it: fill_topic.py SERVERS TOPIC PARTITIONS CODEC FILE EVENTS."""

import sys
from itertools import islice

from kafka import KafkaAdminClient, KafkaProducer

servers, topic, partitions, codec, file, events = sys.argv[1:]
count = int(partitions)
admin = KafkaAdminClient(bootstrap_servers=servers)
admin.create_topics({topic: {"num_partitions": count}}, wait_for_metadata=True)
admin.close()
producer = KafkaProducer(
    bootstrap_servers=servers,
    compression_type=None if codec == "none" else codec,
    linger_ms=50,
    batch_size=1 << 18,
)
with open(file, "rb") as lines:
    for i, line in enumerate(islice(lines, int(events))):
        producer.send(topic, line.rstrip(b"\n"), partition=i % count)
producer.flush()
producer.close()
