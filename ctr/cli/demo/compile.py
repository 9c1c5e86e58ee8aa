"""Compiles what a trainer and a server run, by running it: ``python -m ctr.cli.demo.compile PART``.

The parts run beside each other, one a core, and leave their code in numba's cache. What is missed
here is compiled where it is first used: later, but not wrongly.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable

import numpy as np

from ctr.settings import Config, Features, Gate, Metrics
from ctr.types import Batch, Records

_EVENTS = 64
_CONFIG = Config(
    features=Features(bits=12, crosses=[["segment", "ad"]], time_features=["hour"]),
    metrics=Metrics(window=100),
    gate=Gate(grace=0),
)


def reading() -> None:
    """The parser, of events and of requests."""
    from ctr.features.parser import Parser
    from ctr.features.predictor import Predictor

    event = b'{"label":0,"features":{"ad":"a1","segment":"s2","price":1.5}}'
    Parser(_CONFIG.features).parse(Records.of([event, b"{"]))
    Predictor(Parser(_CONFIG.features, predicting=True), 1).warm()


def learning() -> None:
    """The learner, what it is judged by, and the model on its way to a server."""
    from ctr.learn import make
    from ctr.metrics.coverage import Coverage
    from ctr.metrics.progressive import Progressive
    from ctr.train import gate

    draw = np.random.default_rng(1)
    indptr = np.arange(0, 3 * _EVENTS + 1, 3)
    batch = Batch(
        indptr,
        draw.integers(0, 1 << 12, 3 * _EVENTS, np.uint64),
        np.ones(3 * _EVENTS, np.float32),
        draw.integers(0, 2, _EVENTS).astype(np.float32),
        np.ones(_EVENTS, np.float32),
    )
    learner = make(_CONFIG.learner, _CONFIG.features.bits, _CONFIG.model.seed)
    p = learner.learn(batch)
    progressive = Progressive(_CONFIG.metrics.window)
    progressive.update(p, batch.labels, batch.weights)
    _ = progressive.window  # the AUC
    gate.Gate(_CONFIG.gate).observe(p, batch.labels, batch.weights, np.arange(_EVENTS))
    Coverage(4).update(np.ones(3 * _EVENTS, np.int32), indptr, ["", "ad"])
    learner.state()
    pages = learner.take_changed_pages()
    _publishing(pages, learner.page_weights(pages), batch)


def _publishing(pages: np.ndarray, weights: np.ndarray, batch: Batch) -> None:
    """What the trainer's image, snapshots, the model topic and a server do with weights."""
    from ctr.model.encoding import decode, encode
    from ctr.model.image import Image
    from ctr.model.manifest import Manifest
    from ctr.model.snapshot import SnapshotStore
    from ctr.model.sparse import SparseModel

    bits = _CONFIG.features.bits
    image, served = Image(bits, exact=(0,)), SparseModel(bits)
    for factor in (1.0, 2.0):
        image.update(pages, weights * np.float32(factor))
        encoded = encode(image.take_changes(), "q2.13", 1)
        served.commit(served.stage(decode(encoded, served.page_count)[1]))
    served.predict(batch)
    with tempfile.TemporaryDirectory() as directory:
        store = SnapshotStore(directory)
        store.write(Manifest(version=1, spec=_CONFIG.features), image.model)
        store.read(1).model.predict(batch)


def kafka() -> None:
    """The reader of Kafka's record batches."""
    from kafka.record.memory_records import MemoryRecordsBuilder

    from ctr.stream.batches import RecordBatches

    builder = MemoryRecordsBuilder(2, 0, 1 << 16)
    builder.append(1, None, b"{}", [])
    builder.close()
    batches = RecordBatches(0, bytes(builder.buffer()), [])
    batches.take(0, 1, 1 << 16, lambda first, last: False)


PARTS: dict[str, Callable[[], None]] = {"reading": reading, "learning": learning, "kafka": kafka}

if __name__ == "__main__":
    for part in sys.argv[1:]:
        PARTS[part]()
