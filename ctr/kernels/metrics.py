"""Progressive metrics event by event: losses, clicks, histograms of logits; names seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ctr.kernels.options import inline, jit

LEAST = 2.0**-24
"""Probabilities are taken as at least this and at most 1 minus this, the float32 next to 1."""

BINS = 4096
LOGIT = math.log((1.0 - LEAST) / LEAST)
"""The histograms' bins divide the logits from -LOGIT to LOGIT evenly."""

WEIGHT, LOSS, PREDICTED, OBSERVED = 0, 1, 2, 3
"""Columns of the sums: of weights, and of losses, p and labels times weights."""

TOTAL = 0
"""Row of the sums since the start; the rows after it are the window's parts."""

_SCALE = BINS / (2.0 * LOGIT)


@inline
def clip(p: Any) -> Any:
    """``p`` as float64 within [LEAST, 1 - LEAST]."""
    return min(max(np.float64(p), LEAST), 1.0 - LEAST)


@inline
def bin_of(logit: Any) -> Any:
    """The histogram bin of a logit."""
    return max(0, min(BINS - 1, int((logit + LOGIT) * _SCALE)))


@inline
def add(sums: Any, histograms: Any, row: Any, p: Any, loss: Any, bin_: Any, y: Any, w: Any) -> None:
    """Add one event with the label ``y`` and the weight ``w`` to one row."""
    sums[row, WEIGHT] += w
    sums[row, LOSS] += w * loss
    sums[row, PREDICTED] += w * p
    sums[row, OBSERVED] += w * y
    histograms[row, int(y), bin_] += w


@jit
def update(
    events: Any, sums: Any, histograms: Any, part: Any, p: Any, labels: Any, weights: Any
) -> None:
    """Add events to the total and to the window's part whose turn it is.

    ``events``: int64[1 + parts], ``sums``: float64[1 + parts, 4], ``histograms``: float64[1 +
    parts, 2, BINS], all mutated; ``part``: events of one part; ``p`` and ``labels``: float32[N];
    ``weights``: float32[N], or of length 0 for all 1. A part is emptied when its turn comes.
    """
    parts = len(events) - 1
    for i in range(len(labels)):
        turn = 1 + events[TOTAL] // part % parts
        if events[TOTAL] % part == 0:
            events[turn] = 0
            sums[turn] = 0.0
            histograms[turn] = 0.0
        q, y = clip(p[i]), np.float64(labels[i])
        w = np.float64(weights[i]) if len(weights) > 0 else 1.0
        yes, no = math.log(q), math.log1p(-q)
        loss, bin_ = -(yes if y > 0.0 else no), bin_of(yes - no)
        events[TOTAL] += 1
        events[turn] += 1
        add(sums, histograms, TOTAL, q, loss, bin_, y, w)
        add(sums, histograms, turn, q, loss, bin_, y, w)


@jit
def auc(histogram: Any) -> Any:
    """Area under the ROC curve of a histogram (float64[2, BINS]); NaN without both classes.

    Pairs of a click and a non-click in one bin count one half, as ties do.
    """
    below = won = clicks = 0.0
    for b in range(BINS):
        others, mine = histogram[0, b], histogram[1, b]
        won += mine * (below + 0.5 * others)
        below += others
        clicks += mine
    return won / (below * clicks) if below * clicks > 0.0 else np.nan


@jit
def names_in_order(name_ids: Any, count: int) -> Any:
    """The ids (int64) from 1 to ``count`` - 1 among ``name_ids`` (int32), by first occurrence."""
    seen = np.zeros(count, np.bool_)
    order = np.empty(count, np.int64)
    found = 0
    for name in name_ids:
        if 0 < name < count and not seen[name]:
            seen[name] = True
            order[found] = name
            found += 1
    return order[:found]


@jit
def count_names(name_ids: Any, indptr: Any, slots: Any, counts: Any) -> None:
    """Count the events in which each name occurs, once an event.

    ``name_ids``: int32, one a feature; ``indptr``: int64[rows + 1]; ``slots``: int64, the index
    in ``counts`` of a name id, -1 for none; its last item is for ids below 0, too. ``counts``:
    int64, mutated.
    """
    last = np.full(len(counts), -1, np.int64)
    for i in range(len(indptr) - 1):
        for j in range(indptr[i], indptr[i + 1]):
            name = name_ids[j]
            slot = slots[name if 0 <= name < len(slots) else len(slots) - 1]
            if slot >= 0 and last[slot] != i:
                last[slot] = i
                counts[slot] += 1
