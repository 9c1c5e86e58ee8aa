"""A topic learned to its end by what ctr train is made of: from_kafka.py SERVERS TOPIC BITS.

Source, parser, learner and metrics, each on threads as there, without checkpoints and publishing.
The clock starts with the first records, which are not counted.
"""

import json
import sys
import time

from ctr.features.parser import Parser
from ctr.features.prepared import preparing
from ctr.memory import keep_freed
from ctr.settings import Config, Events, Features, Kafka, Learner
from ctr.stream.kafka import KafkaSource
from ctr.stream.pipeline import Pipeline, worker_count
from ctr.train.state import State

servers, topic, bits = sys.argv[1:]
keep_freed()
kafka, events = Kafka(bootstrap_servers=servers), Events(topic=topic, stop_at_end=True)
learner = Learner(schedule="constant")
config = Config(kafka=kafka, events=events, features=Features(bits=int(bits)), learner=learner)
state, source = State(config), KafkaSource(kafka, events)
prepare = [preparing(Parser(config.features)) for _ in range(worker_count(0))]
first, start = 0, time.perf_counter()
with Pipeline(source, prepare) as pipeline:
    for prepared in pipeline:
        if not first:
            first, start = len(prepared.events), time.perf_counter()
        state.learn(prepared)
seconds = time.perf_counter() - start
figures = state.progressive.total
source.close()
counted = figures.events - first
print(json.dumps({"seconds": seconds, "counted": counted, "log_loss": figures.log_loss}))
