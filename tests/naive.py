"""Plain-Python twins of the compiled code, in 64 bits, written from the paper and the design.

Slow and obvious on purpose: a dictionary for a table, a loop for a sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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


def rate(schedule: tuple[object, ...], alpha: float, t: int) -> float:
    """alpha(t) of ``("constant",)``, ``("power", r, c)``, ``("exponential", r)`` or
    ``("piecewise", (t, share), ...)``."""
    name, *numbers = schedule
    share = 1.0
    if name == "power":
        r, c = numbers
        share = (1 + t / r) ** -c
    elif name == "exponential":
        (r,) = numbers
        share = 10 ** (-t / r)
    elif name == "piecewise":
        for start, value in numbers:
            share = value if t >= start else share
    return max(alpha * share, alpha * 1e-6)


@dataclass
class Cell:
    """z, n and d of one coordinate; ``history`` holds (g, w, d) of every update."""

    z: float = 0.0
    n: float = 0.0
    d: float = 0.0
    history: list[tuple[float, float, float]] = field(default_factory=list)


class FTRL:
    """McMahan et al. 2013, Algorithm 1, with the schedule of the design, section 4."""

    def __init__(
        self,
        bits: int,
        alpha: float = 0.1,
        beta: float = 1.0,
        l1: float = 1.0,
        l2: float = 1.0,
        power: float = 0.5,
        schedule: tuple[object, ...] = ("constant",),
        unpenalised: Iterable[int] = (),
    ) -> None:
        self.bits, self.alpha, self.beta, self.power = bits, alpha, beta, power
        self.l1, self.l2, self.schedule = l1, l2, schedule
        self.unpenalised = set(unpenalised)
        self.t = 0
        self.cells: dict[int, Cell] = {}

    def penalties(self, c: int) -> tuple[float, float]:
        return (0.0, 0.0) if c in self.unpenalised else (self.l1, self.l2)

    def weight(self, c: int) -> float:
        cell = self.cells.get(c)
        l1, l2 = self.penalties(c)
        if cell is None or abs(cell.z) <= l1:
            return 0.0
        sign = 1.0 if cell.z > 0 else -1.0
        return -(cell.z - sign * l1) / (cell.d + l2)

    def score(self, features: Sequence[Feature]) -> float:
        return sum(self.weight(coordinate(key, self.bits)) * x for key, x in features)

    def learn(self, event: Event) -> float:
        p = logistic(self.score(event.features))
        alpha = rate(self.schedule, self.alpha, self.t)
        for key, x in event.features:
            c = coordinate(key, self.bits)
            cell = self.cells.setdefault(c, Cell())
            w = self.weight(c)
            g = (p - event.label) * x * event.weight
            cell.n += g * g
            d = max(cell.d, (self.beta + cell.n**self.power) / alpha)
            cell.z += g - (d - cell.d) * w
            cell.d = d
            cell.history.append((g, w, d))
        self.t += 1
        return p


def objective(
    w: float, history: Sequence[tuple[float, float, float]], l1: float, l2: float
) -> float:
    """What a coordinate's weight minimises after the updates in ``history`` (design, section 4)."""
    value, d_before = l1 * abs(w) + l2 / 2 * w * w, 0.0
    for g, w_s, d in history:
        value += g * w + (d - d_before) / 2 * (w - w_s) ** 2
        d_before = d
    return value


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
