"""The loop that anybody would write first: plain_loop.py SERVERS TOPIC MOST.

kafka-python's poll(), json.loads, and a dictionary with a count for every name and value.
"""

import json
import sys
import time

from kafka import KafkaConsumer, TopicPartition

from benchmarks.vw_text import tokens

servers, topic, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = KafkaConsumer(bootstrap_servers=servers, max_poll_records=5000)
partitions = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic))]
consumer.assign(partitions)
consumer.seek_to_beginning(*partitions)
most = min(most, sum(consumer.end_offsets(partitions).values()))
counts: dict[str, int] = {}
learned, start = 0, time.perf_counter()
while learned < most:
    for records in consumer.poll(timeout_ms=500).values():
        for record in records:
            for token in tokens(json.loads(record.value)["features"]):
                counts[token] = counts.get(token, 0) + 1
        learned += len(records)
seconds = time.perf_counter() - start
consumer.close()
print(json.dumps({"seconds": seconds, "counted": learned}))
