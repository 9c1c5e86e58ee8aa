"""Publishes a snapshot to a model topic, and then a version a second while FLAG is there:
updates.py BOOTSTRAP TOPIC SNAPSHOT FLAG. Each changes some ten thousand weights a little.
"""

import sys
import time
from pathlib import Path

import numpy as np

from ctr.model import snapshot
from ctr.model.image import Image
from ctr.model.topic import TopicWriter
from ctr.settings import Kafka

SECONDS, CHANGED = 1.0, 10_000

bootstrap, topic, file, flag = sys.argv[1:]
manifest, model = snapshot.read(snapshot.find(file))
pages = model.pages()
image = Image(model.bits, manifest.encoding)
image.update(pages.ids, pages.dense())
writer = TopicWriter(Kafka(bootstrap_servers=bootstrap), topic, "benchmark")
writer.claim()
writer.publish(manifest, image)
print("published", flush=True)
rng = np.random.default_rng(1)
count = min(len(pages), CHANGED * len(pages) // max(1, model.nonzero))
while True:
    began = time.monotonic()
    if Path(flag).exists():
        some = np.sort(rng.choice(len(pages), count, replace=False))
        chosen = pages.only(np.isin(np.arange(len(pages)), some))
        moved = chosen.dense() * rng.uniform(0.9, 1.1, (len(chosen), 64)).astype(np.float32)
        image.update(chosen.ids, moved)
        writer.publish(manifest, image)
    time.sleep(max(0.0, SECONDS - (time.monotonic() - began)))
