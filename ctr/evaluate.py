"""Progressive validation over a source: each event is predicted, then learned, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from ctr.features.parser import REASONS
from ctr.learn import Learner, make
from ctr.metrics.progressive import Figures, Progressive
from ctr.settings import Config
from ctr.stream.source import Source
from ctr.types import Events, Records


class EventParser(Protocol):
    """What reads events: the JSON parser or that of another format."""

    def parse(self, records: Records) -> Events: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one pass over a stream showed. ``seconds`` is the pass alone, without compilation."""

    figures: Figures
    nonzero: int
    touched: int
    rejected: dict[str, int]
    skipped: int
    seconds: float

    @property
    def events_per_second(self) -> float:
        return self.figures.events / self.seconds if self.seconds > 0 else float("nan")

    def to_tree(self) -> dict[str, Any]:
        """As plain numbers by name, what is not a number as None."""
        tree: dict[str, Any] = {
            **asdict(self.figures),
            "nonzero_weights": self.nonzero,
            "touched_coordinates": self.touched,
            "rejected": self.rejected,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "events_per_second": self.events_per_second,
        }
        return {name: None if value != value else value for name, value in tree.items()}


def evaluate(
    config: Config,
    source: Source,
    parser: EventParser,
    learner: Learner | None = None,
    on_progress: Callable[[int], None] = lambda events: None,
) -> Evaluation:
    """Learn all of ``source`` once with a fresh ``learner`` (or the one given), and report.

    Every event's probability is taken before it is learned, so the figures are those of unseen
    events (paper, section 5). ``source`` is read to its end and not closed.
    """
    learner = learner or make(config.learner, config.features.bits, config.model.seed)
    progressive = Progressive(config.metrics.window)
    rejected = np.zeros(len(REASONS), np.int64)
    learned = skipped = 0
    _compile(parser, config)
    started = time.perf_counter()
    while not source.ended():
        records = source.next_batch(0.1)
        if records is None:
            continue
        events = parser.parse(records)
        p = learner.learn(events.batch)
        progressive.update(p, events.batch.labels, events.batch.weights)
        rejected += np.bincount(events.rejected.reasons, minlength=len(REASONS))
        skipped += events.skipped
        learned += len(events)
        on_progress(learned)
    seconds = time.perf_counter() - started
    counted = {REASONS[code]: int(n) for code, n in enumerate(rejected) if n}
    total = progressive.total
    return Evaluation(total, learner.nonzero, learner.touched, counted, skipped, seconds)


def _compile(parser: EventParser, config: Config) -> None:
    """Have every kernel ready, so that what is timed is the stream."""
    batch = parser.parse(Records.of([b"\n"])).batch
    spare = make(config.learner, 8, config.model.seed)
    p = spare.learn(batch)
    Progressive(config.metrics.window).update(p, batch.labels, batch.weights)
