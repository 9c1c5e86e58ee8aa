"""Sums over events, in their order: what the gate before publishing judges a window by."""

from __future__ import annotations

import math
from typing import Any

from ctr.kernels.options import inline, jit

FLOOR = 2.0**-25
"""Least probability that is taken for true: a float32 nearer to 1 than this is 1."""


@inline
def log_loss(p: float, label: float) -> float:
    """Minus the logarithm of the probability that ``p`` gave to what happened."""
    return -math.log(max(p if label > 0.5 else 1.0 - p, FLOOR))


@jit
def add_events(p: Any, labels: Any, weights: Any, start: int, stop: int, sums: Any) -> None:
    """Add the events ``start`` to ``stop`` to ``sums``, one by one, so that no split shows.

    ``p``, ``labels``, ``weights``: float32[N]. ``sums``: float64[4], mutated: of weights, and of
    weights times label, probability and log loss.
    """
    weight, clicks, predicted, loss = sums[0], sums[1], sums[2], sums[3]
    for i in range(start, stop):
        w = float(weights[i])
        weight += w
        clicks += w * labels[i]
        predicted += w * p[i]
        loss += w * log_loss(p[i], labels[i])
    sums[0], sums[1], sums[2], sums[3] = weight, clicks, predicted, loss
