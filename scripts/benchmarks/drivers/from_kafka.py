"""A topic learned to its end by what ctr train is made of: from_kafka.py SERVERS TOPIC BITS.

Source, parser, learner and metrics, without checkpoints and publishing. The clock starts with the
first records, which are not counted.
"""

import json
import sys
import time

from ctr.settings import Config, Events, Features, Kafka, Learner
from ctr.stream.kafka import KafkaSource
from ctr.train.state import State

servers, topic, bits = sys.argv[1:]
kafka, events = Kafka(bootstrap_servers=servers), Events(topic=topic, stop_at_end=True)
learner = Learner(schedule="constant")
config = Config(kafka=kafka, events=events, features=Features(bits=int(bits)), learner=learner)
state, source = State(config), KafkaSource(kafka, events)
first, start = 0, time.perf_counter()
while not source.ended():
    records = source.next_batch(1.0)
    if records is not None:
        if not first:
            first, start = len(records), time.perf_counter()
        state.learn(records)
seconds = time.perf_counter() - start
figures = state.progressive.total
source.close()
counted = figures.events - first
print(json.dumps({"seconds": seconds, "counted": counted, "log_loss": figures.log_loss}))
