"""Learning costs an event's own features: not the table, not what was ever seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from benchmarks.report import figure, table

from ctr.learn import LEARNERS, Learner
from ctr.types import Batch
from studies.findings import Finding
from studies.plan import Plan

_EVENTS, _FEATURES, _REPEATS = 100_000, 10, 5
_DISTINCT = 20_000_000
_BITS = (18, 22, 26)


def study(plan: Plan) -> Finding:
    """Events a second of each learner by bits, and before and after 20 million features more."""
    rng = np.random.default_rng(1)
    distinct = min(_DISTINCT, 20 * plan.events)
    batch = _batch(rng.zipf(1.3, _EVENTS * _FEATURES).astype(np.uint64))
    lines, rows = [], []
    for name, kind in LEARNERS.items():
        learners = {bits: kind(bits=bits, l1=0.1) for bits in _BITS}
        rates = _rates(learners, batch)
        last = learners[_BITS[-1]]
        before = _rates({0: last}, batch)[0]
        for first in range(0, distinct, _EVENTS * _FEATURES):
            last.learn(_batch(np.arange(first, first + _EVENTS * _FEATURES, dtype=np.uint64)))
        after = _rates({0: last}, batch)[0]
        lines.append(
            [name, *(figure(rates[bits]) for bits in _BITS), figure(before), figure(after)]
        )
        rows.append(
            {
                "learner": name,
                "events_per_second": {str(bits): rates[bits] for bits in _BITS},
                "before": before,
                "after": after,
                "distinct": last.touched,
            }
        )
        del last, learners
    head = ["events/s", *(f"2^{bits}" for bits in _BITS), "before", f"after {figure(distinct)}"]
    return Finding("cost", table(head, lines), rows)


def _batch(values: np.ndarray) -> Batch:
    """Events of ten features, spread over the table as a hash does it."""
    keys = values * np.uint64(0x9E3779B97F4A7C15)
    keys ^= keys >> np.uint64(32)
    keys *= np.uint64(0xD6E8FEB86659FD93)
    keys ^= keys >> np.uint64(29)
    rows = len(keys) // _FEATURES
    indptr = np.arange(0, len(keys) + 1, _FEATURES)
    labels = (np.arange(rows) % 10 == 0).astype(np.float32)
    return Batch(indptr, keys, np.ones(len(keys), np.float32), labels)


def _rates(learners: dict[int, Learner], batch: Batch) -> dict[int, float]:
    """Median events a second of each, measured in turn, after a round that is not counted."""
    found: dict[int, list[float]] = {key: [] for key in learners}
    for _ in range(_REPEATS + 1):
        for key, learner in learners.items():
            found[key].append(len(batch) / _seconds(lambda one=learner: one.learn(batch)))
    return {key: median(rates[1:]) for key, rates in found.items()}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
