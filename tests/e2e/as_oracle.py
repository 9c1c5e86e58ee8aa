"""What a topic holds, as the plain-Python oracle reads it, and what a learner makes of that."""

from __future__ import annotations

import numpy as np

from ctr import learn
from ctr.settings import Config, Features
from ctr.stream.dead_letters import Letter
from ctr.train.checkpoint import Checkpoint
from ctr.types import Batch
from tests.oracle import Row, read_record

from .states import learned
from .streams import read_topic


def read_as_oracle(
    spec: Features, bootstrap: str, topic: str
) -> tuple[list[Row], list[Letter], dict[str, int]]:
    """The good events of a topic, the dead letters of the bad ones, and these by reason."""
    rows: list[Row] = []
    letters: list[Letter] = []
    counts: dict[str, int] = {}
    for record in read_topic(bootstrap, topic):
        value = record.value or b""
        results = read_record(value, spec, record.timestamp)
        lines = [(n, line) for n, line in enumerate(value.split(b"\n")) if line.strip(b" \t\r")]
        for (n, line), result in zip(lines or [(0, value)], results, strict=True):
            if isinstance(result, Row):
                rows.append(result)
            else:
                assert result is not None
                source = f"{topic}/{record.partition}/{record.offset}/{n}"
                letters.append(Letter(source, result, line))
                counts[result] = counts.get(result, 0) + 1
    return rows, letters, counts


def assert_learned(checkpoint: Checkpoint, rows: list[Row], config: Config) -> None:
    """The learner has learned these very rows, in this order, each once: it is so to the bit."""
    assert learned(checkpoint) == len(rows)
    learner = learn.make(config.learner, config.features.bits, config.model.seed)
    sizes = [len(row.keys) for row in rows]
    learner.learn(
        Batch(
            np.cumsum([0, *sizes]),
            np.array([key for row in rows for key in row.keys], np.uint64),
            [value for row in rows for value in row.values],
            [row.label for row in rows],
            [row.weight for row in rows],
        )
    )
    _, arrays = learner.state()
    for name, array in checkpoint.parts["learner"][1].items():
        assert array.tobytes() == arrays[name].tobytes(), name
