"""One learner over one stream, and what its predictions were worth."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np
from msgspec.structs import replace

from ctr import config
from ctr.learn import Learner, make
from ctr.metrics.progressive import Progressive
from ctr.settings import Learner as Settings
from ctr.types import Batch
from studies.streams import Stream

SEED = 0
"""Of the learners' randomized rounding: what is spread over seeds is spread over streams."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Judged:
    """What predictions for some events were worth."""

    log_loss: float
    auc_loss: float
    calibration: float
    normalized_entropy: float


@dataclass(frozen=True)
class Run:
    """A learner that went over a stream. ``late`` is its progressive validation over the second
    half; ``held_out`` that of the model as it was after the first 80%, on the rest;
    ``losses`` (float64) is the progressive log loss of each batch."""

    settings: Settings
    stream: str
    late: Judged
    held_out: Judged
    nonzero: int
    nonzero_held_out: int
    losses: np.ndarray


def settings(**given: Any) -> Settings:
    """Learner settings, checked as the command checks them."""
    overrides = {f"learner.{name}": value for name, value in given.items()}
    return config.load(environment={}, overrides=overrides).learner


def grid(base: Settings, **values: Sequence[Any]) -> list[Settings]:
    """Every combination of ``values`` put into ``base``."""
    names = list(values)
    return [
        replace(base, **dict(zip(names, row, strict=True))) for row in product(*values.values())
    ]


def new(settings: Settings, stream: Stream) -> Learner:
    """A learner with these settings for this stream."""
    return make(settings, bits=stream.bits, seed=SEED)


Maker = Callable[[Settings, Stream], Any]
"""What gives a learner for settings and a stream; it learns, predicts and counts its weights."""


def run(settings: Settings, stream: Stream, make: Maker = new) -> Run:
    """Learn all of ``stream`` in one pass with what ``make`` makes."""
    learner = make(settings, stream)
    learnt, rest = stream.parts()
    probabilities, frozen, kept = [], None, 0
    for k, batch in enumerate(stream.batches):
        if k == len(learnt):
            frozen, kept = [learner.predict(b) for b in rest], learner.nonzero
        probabilities.append(learner.learn(batch))
    second_half = range(len(stream.batches) // 2, len(stream.batches))
    return Run(
        settings,
        stream.name,
        judge([probabilities[k] for k in second_half], [stream.batches[k] for k in second_half]),
        judge(frozen, rest),
        learner.nonzero,
        kept,
        np.array([log_loss(p, b) for p, b in zip(probabilities, stream.batches, strict=True)]),
    )


def judge(probabilities: Iterable[np.ndarray], batches: Iterable[Batch]) -> Judged:
    """The figures of predictions, by the project's own metrics."""
    progressive = Progressive(window=1000)
    for p, batch in zip(probabilities, batches, strict=True):
        progressive.update(p, batch.labels, batch.weights)
    total = progressive.total
    return Judged(total.log_loss, 1 - total.auc, total.calibration, total.normalized_entropy)


def log_loss(p: np.ndarray, batch: Batch) -> float:
    return judge([p], [batch]).log_loss


def in_parallel(
    work: Callable[[_In], _Out], jobs: Sequence[_In], what: str, workers: int = 0
) -> list[_Out]:
    """``work`` for each job, in order; the kernels let threads run side by side."""
    found: list[_Out] = []
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        for done, result in enumerate(pool.map(work, jobs), 1):
            found.append(result)
            if sys.stderr.isatty() or done == len(jobs):
                end = "\n" if done == len(jobs) else "\r"
                print(f"  {what}: {done} of {len(jobs)}", end=end, file=sys.stderr, flush=True)
    return found


def run_all(
    variants: Sequence[Settings], streams: Sequence[Stream], what: str, make: Maker = new
) -> list[Run]:
    """Every variant over every stream, the streams of one variant behind each other."""
    jobs = [(variant, stream, make) for variant in variants for stream in streams]
    return in_parallel(lambda job: run(*job), jobs, what)
