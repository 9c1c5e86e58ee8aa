"""The rivals of FTRL-Proximal event by event, over the rows of a batch (steps: ``rivals``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.ftrl import float_of
from ctr.kernels.ftrl_rows import logistic
from ctr.kernels.options import inline, jit
from ctr.kernels.rivals import D, W, step
from ctr.kernels.schedules import observe, rate
from ctr.kernels.table import (
    N_NONZERO,
    N_TOUCHED,
    ask_for,
    coordinate,
    event_noise,
    feature_noise,
    mark,
)

_AHEAD = 64
"""Keys from the one being read to the one being asked for: some events' worth of time."""


@inline
def score_row(pages: Any, keys: Any, values: Any, first: Any, last: Any) -> Any:
    """w.x of the features from ``first`` to ``last``."""
    score = 0.0
    for j in range(first, last):
        ask_for(pages.words, keys[min(j + _AHEAD, len(keys) - 1)] & pages.mask)
        w = float_of(pages.words[coordinate(keys[j], pages.mask), W])
        score += w * np.float64(values[j])
    return score


@inline
def update(
    pages: Any, c: Any, error: Any, x: Any, label: Any, pace: Any, noise: Any, rules: Any
) -> None:
    """Update coordinate ``c`` for a feature whose x times its event's weight is ``x``."""
    cell = pages.words[c]
    new, nonzero = float_of(cell[D]) == 0.0, float_of(cell[W]) != 0.0
    step(cell, error * x, x * x, label, pace, noise, rules)
    pages.counts[N_TOUCHED] += int(new)
    pages.counts[N_NONZERO] += int(float_of(cell[W]) != 0.0) - int(nonzero)
    mark(pages, c)


@jit
def learn(
    pages: Any,
    rules: Any,
    t: Any,
    indptr: Any,
    keys: Any,
    values: Any,
    labels: Any,
    weights: Any,
    out: Any,
) -> None:
    """Predict and then learn each row of a batch (see ``ctr.types.Batch``), in order.

    ``t``: events learned before; ``weights``: float32, one a row, or of length 0 for all 1;
    ``out``: float32, one a row, receives p before the row was learned. Mutates ``pages``.
    """
    for i in range(len(labels)):
        p = logistic(score_row(pages, keys, values, indptr[i], indptr[i + 1]))
        out[i] = p
        label = np.float64(labels[i])
        importance = np.float64(weights[i]) if len(weights) > 0 else 1.0
        pace = 1.0 / rate(rules.schedule, rules.rates, rules.alpha, t + i)
        observe(rules.schedule, rules.rates, p, label, importance)
        noise = event_noise(rules.seed, t + i)
        for j in range(indptr[i], indptr[i + 1]):
            c = coordinate(keys[j], pages.mask)
            x = np.float64(values[j]) * importance
            noise_j = feature_noise(noise, np.uint64(j - indptr[i]))
            update(pages, c, p - label, x, label, pace, noise_j, rules)


@jit
def score(
    pages: Any, rules: Any, indptr: Any, keys: Any, values: Any, probability: Any, out: Any
) -> None:
    """The score w.x of each row of a batch into ``out`` (float32), or p if ``probability``."""
    for i in range(len(indptr) - 1):
        wx = score_row(pages, keys, values, indptr[i], indptr[i + 1])
        out[i] = logistic(wx) if probability else wx
