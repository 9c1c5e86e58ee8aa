"""Plain-Python twins of the compiled code, in 64 bits, written from the paper and the design.

Slow and obvious on purpose: a dictionary for a table, a loop for a sum. Those of the learners
and their schedules are in ``tests.naive_learners``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Feature = tuple[int, float]
"""A key and its x."""


@dataclass
class Event:
    """One row of a batch."""

    features: list[Feature]
    label: int
    weight: float = 1.0


def coordinate(key: int, bits: int) -> int:
    """The low bits; 0 belongs to key 0, so any other key that falls on it moves to 1."""
    if key == 0:
        return 0
    low = key % 2**bits
    return 1 if low == 0 else low


def logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0


def log_loss(p: float, label: int) -> float:
    p = min(max(p, 2**-24), 1 - 2**-24)
    return -math.log(p) if label else -math.log(1 - p)


def auc(scores: Sequence[float], labels: Sequence[int], weights: Sequence[float]) -> float:
    """The share, by weight, of pairs of a click and a non-click in the right order; ties half."""
    won = pairs = 0.0
    for mine, label, w in zip(scores, labels, weights, strict=True):
        if not label:
            continue
        for other, other_label, v in zip(scores, labels, weights, strict=True):
            if not other_label:
                pairs += w * v
                won += w * v * (1.0 if mine > other else 0.5 if mine == other else 0.0)
    return won / pairs if pairs else math.nan


def entropy(rate: float) -> float:
    """-ln likelihood per event of always saying ``rate``."""
    if math.isnan(rate) or rate in (0.0, 1.0):
        return 0.0 * rate
    return -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)


def figures(
    p: Sequence[float], labels: Sequence[int], weights: Sequence[float]
) -> dict[str, float]:
    """The figures of ``ctr.metrics`` but the AUC, recounted; NaN where there is none."""

    def ratio(a: float, b: float) -> float:
        return a / b if b > 0 else math.nan

    rows = list(zip(p, labels, weights, strict=True))
    total = sum(w for _, _, w in rows)
    predicted = sum(w * min(max(q, 2**-24), 1 - 2**-24) for q, _, w in rows)
    observed = sum(w * y for _, y, w in rows)
    loss = ratio(sum(w * log_loss(q, y) for q, y, w in rows), total)
    base = entropy(ratio(observed, total))
    return {
        "events": len(rows),
        "log_loss": loss,
        "base_log_loss": base,
        "normalized_entropy": ratio(loss, base),
        "predicted_clicks": predicted,
        "observed_clicks": observed,
        "calibration": ratio(predicted, observed),
        "base_rate": ratio(observed, total),
    }


def window_start(events: int, window: int) -> int:
    """The first event in a window made of parts of a tenth, after ``events`` events."""
    part = max(1, window // 10)
    parts = window // part
    begun = -(-events // part)
    return max(0, (begun - parts) * part)


def coverage(rows: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, int]:
    """In how many rows each name occurs."""
    counts: dict[str, int] = {}
    for row in rows:
        for name_id in set(row):
            if name_id > 0:
                counts[names[name_id]] = counts.get(names[name_id], 0) + 1
    return counts
