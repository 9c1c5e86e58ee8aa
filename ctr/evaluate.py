"""Progressive validation over a source: each event is predicted, then learned, once.

By one learner or by many: what they share, reading, parsing and hashing, is done once for all of
them (McMahan et al. 2013, section 3.3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

import numpy as np

from ctr.features.formats import EventParser
from ctr.features.parser import REASONS
from ctr.features.prepared import Prepared, preparing
from ctr.learn import Learner, make
from ctr.metrics.progressive import Figures, Progressive
from ctr.settings import Config
from ctr.stream.pipeline import Pipeline, cores
from ctr.stream.source import Source
from ctr.types import Batch, Records


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one pass over a stream showed.

    ``rejected``: bad events by reason; ``skipped``: those without label that were passed over;
    ``subsampled``: those without a click that ``events.keep_without_click`` left out.
    ``seconds`` is the pass alone, without compilation.
    """

    figures: Figures
    nonzero: int
    touched: int
    rejected: dict[str, int]
    skipped: int
    subsampled: int
    seconds: float

    @property
    def events_per_second(self) -> float:
        """Good events, those left out among them."""
        events = self.figures.events + self.subsampled
        return events / self.seconds if self.seconds > 0 else float("nan")

    def to_tree(self) -> dict[str, Any]:
        """As plain numbers by name, what is not a number as None."""
        tree: dict[str, Any] = {
            **asdict(self.figures),
            "nonzero_weights": self.nonzero,
            "touched_coordinates": self.touched,
            "rejected": self.rejected,
            "skipped": self.skipped,
            "subsampled": self.subsampled,
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
    return evaluate_all(config, source, [parser], [learner], on_progress)[0]


def evaluate_all(
    config: Config,
    source: Source,
    parsers: Sequence[EventParser],
    learners: Sequence[Learner],
    on_progress: Callable[[int], None] = lambda events: None,
    threads: int | None = None,
) -> list[Evaluation]:
    """The same with many ``learners`` in one pass; an evaluation for each, in their order.

    Each of them learns a batch while the next ones are read and parsed, on a thread for each of
    ``parsers``, which are alike. They learn on ``threads`` threads (by default as many as there are
    cores). No figure depends on how many of either: a learner is never in two of them.

    >>> from ctr.features.parser import Parser
    >>> from ctr.learn import FTRLProximal
    >>> from ctr.settings import Features
    >>> from ctr.stream.memory import MemorySource
    >>> events = [b'{"label":%d,"features":{"ad":"a%d"}}' % (k % 3 == 0, k % 9) for k in range(600)]
    >>> learners = [FTRLProximal(bits=12, alpha=alpha) for alpha in (0.01, 0.1)]
    >>> config = Config()
    >>> slow, fast = evaluate_all(config, MemorySource(events), [Parser(Features())], learners)
    >>> slow.figures.log_loss > fast.figures.log_loss
    True
    """
    runs = [_Run(learner, Progressive(config.metrics.window)) for learner in learners]
    rejected = np.zeros(len(REASONS), np.int64)
    share, seed = config.events.keep_without_click, config.model.seed
    seen = skipped = subsampled = 0
    prepare = [preparing(parser, share, seed) for parser in parsers]
    _compile(prepare, runs)
    started = time.perf_counter()
    with (
        Pipeline(source, prepare) as pipeline,
        ThreadPoolExecutor(threads or min(len(runs), cores())) as pool,
    ):
        for prepared in pipeline:
            events = prepared.events
            for _ in pool.map(_Run.learn, runs, repeat(events.batch)):
                pass  # here an error of theirs is raised
            rejected += np.bincount(events.rejected.reasons, minlength=len(REASONS))
            skipped += events.skipped
            subsampled += prepared.subsampled
            seen += len(events) + prepared.subsampled
            on_progress(seen)
    seconds = time.perf_counter() - started
    counted = {REASONS[code]: int(n) for code, n in enumerate(rejected) if n}
    return [run.report(counted, skipped, subsampled, seconds) for run in runs]


@dataclass(frozen=True, slots=True)
class _Run:
    """A learner and what its predictions were worth."""

    learner: Learner
    progressive: Progressive

    def learn(self, batch: Batch) -> None:
        p = self.learner.learn(batch)
        self.progressive.update(p, batch.labels, batch.weights)

    def report(
        self, rejected: dict[str, int], skipped: int, subsampled: int, seconds: float
    ) -> Evaluation:
        learner, total = self.learner, self.progressive.total
        left = rejected, skipped, subsampled
        return Evaluation(total, learner.nonzero, learner.touched, *left, seconds)


def _compile(prepare: Iterable[Callable[[Records], Prepared]], runs: Iterable[_Run]) -> None:
    """Have every kernel ready, so that what is timed is the stream; no event is no change."""
    for one in prepare:
        nothing = one(Records.of([b"\n"])).events.batch
    for run in runs:
        run.learn(nothing)
