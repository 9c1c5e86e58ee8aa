"""The loop of plain_loop.py, by confluent-kafka: confluent_loop.py SERVERS TOPIC MOST.

Its consume(), json.loads, and a dictionary with a count for every name and value.
"""

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.vw_text import tokens

servers, topic, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
settings = {"bootstrap.servers": servers, "group.id": "bench", "enable.auto.commit": False}
consumer = Consumer(settings)
numbers = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
ends = [consumer.get_watermark_offsets(partition, timeout=30)[1] for partition in partitions]
most = min(most, sum(ends))
consumer.assign(partitions)
counts: dict[str, int] = {}
learned, start = 0, time.perf_counter()
while learned < most:
    records = consumer.consume(5000, timeout=0.5)
    for record in records:
        if record.error():
            sys.exit(str(record.error()))
        for token in tokens(json.loads(record.value())["features"]):
            counts[token] = counts.get(token, 0) + 1
    learned += len(records)
seconds = time.perf_counter() - start
consumer.close()
print(json.dumps({"seconds": seconds, "counted": learned}))
