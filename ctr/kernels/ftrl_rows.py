"""FTRL-Proximal event by event: McMahan et al. 2013, Algorithm 1, over the rows of a batch.

An event's cells are copied side by side (``Row``) so that the arithmetic runs in vector
instructions, and the cells of later events are asked for meanwhile. A cell that is no longer what
was copied, because the event has its coordinate twice, is updated anew from what it is now.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ctr.kernels.ftrl import (
    ND,
    Z,
    d_of,
    float_of,
    is_nonzero,
    more_n,
    root_of,
    step,
    weight,
    word_of,
)
from ctr.kernels.options import inline, jit
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

_LANES = 8
_AHEAD = 160
"""Keys from the one being read to the one being asked for: some events' worth of time."""

_PADDING = np.uint64(0x3F800000 << 32)
"""n = 0, d = 1: a coordinate that is not new."""


class Row(NamedTuple):
    """One event's features side by side: what they are, their cells, and the cells to be.

    Coordinates and words are uint64, all else is float64; the length is that of the longest
    event, up to whole vectors.
    """

    c: Any
    x: Any
    z: Any
    nd: Any
    w: Any
    wx: Any
    root: Any
    new_z: Any
    new_nd: Any


@inline
def logistic(score: Any) -> Any:
    """1 / (1 + exp(-score)), for any score."""
    return 1.0 / (1.0 + math.exp(min(-score, 709.0)))


@jit
def new_row(indptr: Any) -> Any:
    """A Row with room for the longest event."""
    longest = 0
    for i in range(len(indptr) - 1):
        longest = max(longest, indptr[i + 1] - indptr[i])
    size = padded(longest)
    words, numbers = np.zeros((5, size), np.uint64), np.zeros((4, size), np.float64)
    return Row(
        words[0],
        numbers[0],
        words[1],
        words[2],
        numbers[1],
        numbers[2],
        numbers[3],
        words[3],
        words[4],
    )


@inline
def padded(length: Any) -> Any:
    """``length`` up to whole vectors."""
    return (length + _LANES - 1) // _LANES * _LANES


@inline
def gather(pages: Any, row: Any, keys: Any, values: Any, first: Any, last: Any) -> Any:
    """Copy the features from ``first`` to ``last`` and their cells into ``row``; returns how many.

    The padding behind them has x = 0 and weight 0, is not new, and stays as it is when updated.
    """
    length = last - first
    mine, x = keys[first:last], values[first:last]
    ahead = keys[min(first + _AHEAD, len(keys) - length) :]
    for j in range(length):
        ask_for(pages.words, ahead[j] & pages.mask)
        c = coordinate(mine[j], pages.mask)
        row.c[j] = c
        row.x[j] = x[j]
        row.z[j] = pages.words[c, Z]
        row.nd[j] = pages.words[c, ND]
    for j in range(length, padded(length)):
        row.x[j] = 0.0
        row.z[j] = 0
        row.nd[j] = _PADDING
    return length


@inline
def score_row(row: Any, length: Any, l1: Any, l2: Any) -> Any:
    """w.x of a gathered row; leaves its weights in ``row.w``."""
    for j in range(padded(length)):
        w = weight(float_of(row.z[j]), d_of(row.nd[j]), l1, l2)
        row.w[j] = w
        row.wx[j] = w * row.x[j]
    a = b = c = d = 0.0
    wx = row.wx.reshape(-1, 4)
    for k in range(padded(length) // 4):
        a += wx[k, 0]
        b += wx[k, 1]
        c += wx[k, 2]
        d += wx[k, 3]
    return (a + b) + (c + d)


@inline
def update_row(row: Any, length: Any, slope: Any, pace: Any, noise: Any, rules: Any) -> Any:
    """Update each cell of a row from what was copied; returns what that adds to the counts.

    ``slope`` is (p - y) times the event's weight.
    """
    # two loops, because a power takes a call and a square root is one instruction for a vector
    if rules.power == 0.5:
        for j in range(padded(length)):
            row.root[j] = math.sqrt(more_n(row.nd[j], slope * row.x[j]))
    else:
        for j in range(padded(length)):
            row.root[j] = root_of(more_n(row.nd[j], slope * row.x[j]), rules.power)
    touched = nonzero = 0
    for j in range(padded(length)):
        z, nd = float_of(row.z[j]), row.nd[j]
        noise_j = feature_noise(noise, row.c[j], j)
        new_z, new_nd = step(
            z, nd, row.w[j], slope * row.x[j], row.root[j], pace, rules.beta, noise_j
        )
        row.new_z[j] = word_of(new_z)
        row.new_nd[j] = new_nd
        touched += int(d_of(nd) == 0.0)
        nonzero += is_nonzero(new_z, d_of(nd), rules.l1) - is_nonzero(z, d_of(nd), rules.l1)
    return touched, nonzero


@inline
def update_anew(
    pages: Any, row: Any, j: Any, slope: Any, pace: Any, noise: Any, rules: Any
) -> None:
    """Update the cell of feature ``j`` from what it is now, and undo what was counted for it."""
    c, g, counts = row.c[j], slope * row.x[j], pages.counts
    z, nd = float_of(pages.words[c, Z]), pages.words[c, ND]
    d = d_of(nd)
    w = weight(z, d, rules.l1, rules.l2)
    root = root_of(more_n(nd, g), rules.power)
    new_z, new_nd = step(z, nd, w, g, root, pace, rules.beta, feature_noise(noise, c, j))
    pages.words[c, Z] = word_of(new_z)
    pages.words[c, ND] = new_nd
    counts[N_TOUCHED] -= int(d_of(row.nd[j]) == 0.0)
    counts[N_NONZERO] += is_nonzero(new_z, d, rules.l1) - is_nonzero(z, d, rules.l1)
    counts[N_NONZERO] += is_nonzero(float_of(row.z[j]), d, rules.l1)
    counts[N_NONZERO] -= is_nonzero(float_of(row.new_z[j]), d, rules.l1)


@inline
def scatter(
    pages: Any, row: Any, length: Any, slope: Any, pace: Any, noise: Any, rules: Any
) -> None:
    """Put the updated cells of a row into the table, in order."""
    for j in range(length):
        c = row.c[j]
        mark(pages, c)
        if pages.words[c, Z] == row.z[j] and pages.words[c, ND] == row.nd[j]:
            pages.words[c, Z] = row.new_z[j]
            pages.words[c, ND] = row.new_nd[j]
        else:
            update_anew(pages, row, j, slope, pace, noise, rules)


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
    row = new_row(indptr)
    touched = nonzero = 0
    for i in range(len(labels)):
        length = gather(pages, row, keys, values, indptr[i], indptr[i + 1])
        p = logistic(score_row(row, length, rules.l1, rules.l2))
        out[i] = p
        label = np.float64(labels[i])
        importance = np.float64(weights[i]) if len(weights) > 0 else 1.0
        slope = (p - label) * importance
        pace = 1.0 / rate(rules.schedule, rules.rates, rules.alpha, t + i)
        observe(rules.schedule, rules.rates, p, label, importance)
        noise = event_noise(rules.seed, t + i)
        more_touched, more_nonzero = update_row(row, length, slope, pace, noise, rules)
        touched += more_touched
        nonzero += more_nonzero
        scatter(pages, row, length, slope, pace, noise, rules)
    pages.counts[N_TOUCHED] += touched
    pages.counts[N_NONZERO] += nonzero


@jit
def score(
    pages: Any, rules: Any, indptr: Any, keys: Any, values: Any, probability: Any, out: Any
) -> None:
    """The score w.x of each row of a batch into ``out`` (float32), or p if ``probability``."""
    row = new_row(indptr)
    for i in range(len(indptr) - 1):
        length = gather(pages, row, keys, values, indptr[i], indptr[i + 1])
        wx = score_row(row, length, rules.l1, rules.l2)
        out[i] = logistic(wx) if probability else wx
