"""The ways to a sparse model beside FTRL-Proximal's 16-byte cell: one cell of them, one step each.

A cell is 32 bytes, half a cache line: the weight w itself, z (what FTRL-Proximal and dual
averaging sum up, the velocity of momentum, or the count of OGD-Count), n and d, all float64. d is
1/eta as of the coordinate's last update, so that an idle coordinate keeps its weight whatever the
rate does; its sign bit is set when the coordinate is free of penalties. With ``counts`` the word
of n holds two float32, P and N. ``docs/learners.md`` has the formulas and the papers.

Here is what is done to one cell; ``rivals_rows`` runs it over events, ``rivals_table`` over tables.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ctr.kernels.ftrl import d_of, float_of, n_of, pack, penalty, weight, word_of, z_of_weight
from ctr.kernels.options import inline, outline
from ctr.kernels.table import round_randomly

CELL = np.dtype([("w", "<f8"), ("z", "<f8"), ("n", "<f8"), ("d", "<f8")])

W, Z, N, D = 0, 1, 2, 3
"""The words of a cell."""

FTRL, RDA, FOBOS, OGD, OGD_COUNT = 0, 1, 2, 3, 4
"""Kinds of learner."""

FLOAT64, FLOAT32, Q213 = 0, 1, 2
"""Precisions of the state."""

_MAX = float(np.finfo(np.float32).max)
_Q213_ONE, _Q213_END = 8192.0, 4.0
_MANTISSA = np.uint64(11)


class Rules(NamedTuple):
    """A learner's settings as kernels take them.

    ``kind`` and ``precision``: codes above; ``counts`` and ``global_rate``: bool; ``schedule``
    and ``rates``: see ``ctr.kernels.schedules``; ``seed``: uint64; all else float64.
    """

    kind: Any
    precision: Any
    counts: Any
    global_rate: Any
    alpha: Any
    beta: Any
    l1: Any
    l2: Any
    power: Any
    momentum: Any
    min_count: Any
    schedule: Any
    rates: Any
    seed: Any


@inline
def clipped(x: Any) -> Any:
    """``x``, or the float32 that is nearest to it among all finite ones."""
    return min(max(x, -_MAX), _MAX)


@inline
def n_after(n: Any, g: Any, size: Any, label: Any, noise: Any, counts: Any) -> Any:
    """The word of n after the gradient ``g``; ``size`` is (x weight)^2, what counts add.

    Sums of counts stay exact in expectation beyond the 2^24 of a float32 by random rounding.
    """
    if not counts:
        return word_of(min(float_of(n) + g * g, _MAX))
    clicks, others = n_of(n), d_of(n)
    if label > 0.5:
        return pack(round_randomly(min(clicks + size, _MAX), noise), np.float32(others))
    return pack(np.float32(clicks), round_randomly(min(others + size, _MAX), noise))


@inline
def n_value(n: Any, counts: Any) -> Any:
    """n (float64) of its word: a sum of squares, or PN/(P+N)."""
    if not counts:
        return float_of(n)
    clicks, others = n_of(n), d_of(n)
    return clicks * others / (clicks + others) if clicks + others > 0.0 else 0.0


@inline
def d_after(d: Any, n: Any, pace: Any, rules: Any) -> Any:
    """|d| after an update that left n at ``n``; ``pace`` is 1/alpha(t)."""
    if rules.global_rate:
        return min(max(abs(d), pace), _MAX)
    root = math.sqrt(n) if rules.power == 0.5 else n**rules.power
    return min(max(abs(d), (rules.beta + root) * pace), _MAX)


@inline
def soft(u: Any, amount: Any) -> Any:
    """``u`` brought towards zero by ``amount``, and not past it."""
    return math.copysign(max(abs(u) - amount, 0.0), u)


@inline
def fobos(w: Any, g: Any, d: Any, l1: Any, l2: Any) -> Any:
    """w of Duchi & Singer 2009: a step along the gradient, then the proximal step of l1 and l2."""
    return soft(w - g / d, l1 / d) / (1.0 + l2 / d)


@inline
def ogd(w: Any, v: Any, g: Any, d: Any, l1: Any, l2: Any, momentum: Any) -> Any:
    """(w, v) after a step along the subgradient of loss and l1, then the proximal one of l2."""
    pull = math.copysign(l1, w) if w != 0.0 else 0.0
    v = clipped(momentum * v + (g + pull) / d)
    return (w - v) / (1.0 + l2 / d), v


@inline
def rounded(w: Any, d: Any, precision: Any, noise: Any) -> Any:
    """``w`` in the precision of the state; q2.13 spares what is unpenalised or beyond it.

    What is zero as a float32, as which weights leave the learner, is zero.
    """
    if precision == FLOAT64:
        return w if np.float32(w) != np.float32(0.0) else 0.0
    if precision == Q213 and abs(w) < _Q213_END and math.copysign(1.0, d) > 0.0:
        up = np.float64(noise >> _MANTISSA) * 2.0**-53
        return math.copysign(math.floor(abs(w) * _Q213_ONE + up) / _Q213_ONE, w)
    return np.float64(np.float32(w))


@outline
def step(cell: Any, g: Any, size: Any, label: Any, pace: Any, noise: Any, rules: Any) -> None:
    """Update ``cell`` (uint64[4], mutated) by the gradient ``g``; the other arguments as above."""
    w, z = float_of(cell[W]), float_of(cell[Z])
    old_d = float_of(cell[D])
    l1, l2 = penalty(old_d, rules.l1), penalty(old_d, rules.l2)
    held_back = False
    if rules.kind == OGD_COUNT and math.copysign(1.0, old_d) > 0.0:
        z += 1.0
        held_back = z <= rules.min_count
    if not held_back:
        cell[N] = n_after(cell[N], g, size, label, noise, rules.counts)
    d = d_after(old_d, n_value(cell[N], rules.counts), pace, rules)
    if rules.kind == FTRL or rules.kind == RDA:
        if rules.kind == FTRL:
            z -= (d - abs(old_d)) * w
        z = clipped(z + g)
        w = 0.0
    elif rules.kind == FOBOS:
        w = fobos(w, g, d, l1, l2)
    elif rules.kind == OGD:
        w, z = ogd(w, z, g, d, l1, l2, rules.momentum)
    elif not held_back:
        w, _ = ogd(w, 0.0, g, d, l1, l2, 0.0)
    keep(cell, w, z, math.copysign(d, old_d), noise, rules)


@inline
def keep(cell: Any, w: Any, z: Any, d: Any, noise: Any, rules: Any) -> None:
    """Write a cell in the precision of the state; FTRL's and RDA's w is that of the z kept."""
    if rules.precision == FLOAT32:
        # the count of OGD-Count would stay at 2^24 for ever
        z = z if rules.kind == OGD_COUNT else np.float64(np.float32(z))
        d = np.float64(np.float32(d))
        if not rules.counts:
            n = np.float32(float_of(cell[N]))
            cell[N] = word_of(n)
    of_z = rules.kind == FTRL or rules.kind == RDA
    if of_z:
        w = weight(z, d, rules.l1, rules.l2)
    w = rounded(clipped(w), d, rules.precision, noise)
    if of_z and rules.precision == Q213:
        z = z_of_weight(w, z, d, rules.l1, rules.l2)
    cell[W], cell[Z] = word_of(w), word_of(z)
    cell[D] = word_of(d)
