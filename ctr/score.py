"""How good finished models are on files of events: predictions only, nothing is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ctr.features.formats import EventParser
from ctr.features.parser import REASONS
from ctr.metrics.progressive import Figures, Progressive
from ctr.stream.source import Source
from ctr.types import Batch, Float32

_WINDOW = 1 << 40
"""Longer than any file: only the figures of all events are asked for."""


class Predictor(Protocol):
    """A model or a learner."""

    def predict(self, batch: Batch) -> Float32: ...


@dataclass(frozen=True, slots=True)
class Scores:
    """The ``figures`` of each model on the same events, and what could not be used of them."""

    figures: tuple[Figures, ...]
    rejected: dict[str, int]
    skipped: int


def score(
    models: Sequence[Predictor],
    source: Source,
    parser: EventParser,
    on_progress: Callable[[int], None] = lambda events: None,
) -> Scores:
    """Have each of ``models`` predict all events of ``source``, which are read and parsed once.

    The models must be of one feature specification, the parser's. Events count with their weights.
    ``source`` is read to its end and not closed.

    >>> from ctr.features.parser import Parser
    >>> from ctr.model.sparse import SparseModel
    >>> from ctr.settings import Features
    >>> from ctr.stream.memory import MemorySource
    >>> spec = Features(bits=8)
    >>> source = MemorySource([b'{"label":1,"features":{}}', b'{"label":0,"features":{}}'])
    >>> scores = score([SparseModel(bits=8)], source, Parser(spec))
    >>> round(scores.figures[0].log_loss, 4), scores.figures[0].calibration
    (0.6931, 1.0)
    """
    totals = [Progressive(_WINDOW) for _ in models]
    rejected = np.zeros(len(REASONS), np.int64)
    seen = skipped = 0
    while not source.ended():
        records = source.next_batch(0.1)
        if records is None:
            continue
        events = parser.parse(records)
        for model, total in zip(models, totals, strict=True):
            total.update(model.predict(events.batch), events.batch.labels, events.batch.weights)
        rejected += np.bincount(events.rejected.reasons, minlength=len(REASONS))
        skipped += events.skipped
        seen += len(events)
        on_progress(seen)
    counted = {REASONS[code]: int(n) for code, n in enumerate(rejected) if n}
    return Scores(tuple(total.total for total in totals), counted, skipped)
