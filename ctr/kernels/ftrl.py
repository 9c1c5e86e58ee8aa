"""FTRL-Proximal with per-coordinate rates: McMahan et al. 2013, "Ad click prediction: a view from
the trenches", Algorithm 1, under a schedule of the learning rate.

A cell is 16 bytes, two words: z (float64), and n and d (float32, in the low and the high half).
d is 1/eta as of the coordinate's last update, so that an idle coordinate keeps its weight while
the rate decays; its sign bit is set when the coordinate is free of penalties. n is rounded
randomly, because plain float32 sums stall on hot coordinates.

Here is what is done to one cell and to a table of them; ``ftrl_rows`` runs it over events.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ctr.kernels.options import inline, jit
from ctr.kernels.table import N_NONZERO, N_TOUCHED, PAGE, mark, round_randomly

CELL = np.dtype([("z", "<f8"), ("n", "<f4"), ("d", "<f4")])

Z, ND = 0, 1
"""The words of a cell."""

MAX = np.finfo(np.float32).max
_MAX = float(MAX)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


class Rules(NamedTuple):
    """A learner's settings as kernels take them.

    ``alpha``, ``beta``, ``l1``, ``l2``, ``power``: float64; ``schedule`` and ``rates``: see
    ``ctr.kernels.schedules``; ``seed``: uint64.
    """

    alpha: Any
    beta: Any
    l1: Any
    l2: Any
    power: Any
    schedule: Any
    rates: Any
    seed: Any


@inline
def float_of(word: Any) -> Any:
    """The float64 of a word."""
    return np.uint64(word).view(np.float64)


@inline
def word_of(number: Any) -> Any:
    """The word of a float64."""
    return np.float64(number).view(np.uint64)


@inline
def n_of(nd: Any) -> Any:
    """n (as float64) of a cell's second word."""
    return np.float64(np.uint32(nd & _LOW).view(np.float32))


@inline
def d_of(nd: Any) -> Any:
    """d (as float64, with its sign) of a cell's second word."""
    return np.float64(np.uint32(nd >> _HALF).view(np.float32))


@inline
def pack(n: Any, d: Any) -> Any:
    """The second word of a cell, from n and d (float32)."""
    high = np.uint64(np.float32(d).view(np.uint32)) << _HALF
    return high | np.uint64(np.float32(n).view(np.uint32))


@inline
def penalty(d: Any, amount: Any) -> Any:
    """``amount`` (l1 or l2), or 0 when the sign of ``d`` frees the coordinate."""
    return amount if math.copysign(1.0, d) > 0.0 else 0.0


@inline
def is_nonzero(z: Any, d: Any, l1: Any) -> Any:
    """Whether the weight of (z, d) is not zero, as 0 or 1."""
    return int(abs(z) > penalty(d, l1))


@inline
def weight(z: Any, d: Any, l1: Any, l2: Any) -> Any:
    """w of Algorithm 1, from z and d."""
    over = abs(z) - penalty(d, l1)
    if over > 0.0:
        return -math.copysign(over, z) / (abs(d) + penalty(d, l2))
    return 0.0


@inline
def z_of_weight(w: Any, z: Any, d: Any, l1: Any, l2: Any) -> Any:
    """The z that gives the weight ``w`` at ``d``; of the many that give 0, the nearest to ``z``."""
    if w != 0.0:
        return -(w * (abs(d) + penalty(d, l2)) + math.copysign(penalty(d, l1), w))
    return math.copysign(min(abs(z), penalty(d, l1)), z)


@inline
def more_n(nd: Any, g: Any) -> Any:
    """n' (float64, not yet rounded) after the gradient ``g``."""
    return min(n_of(nd) + g * g, _MAX)


@inline
def root_of(n: Any, power: Any) -> Any:
    """n^power (float32): the square root at the paper's 0.5."""
    return np.float32(math.sqrt(np.float32(n)) if power == 0.5 else n**power)


@inline
def single(x: Any) -> Any:
    """``x`` (float64 >= 0) as a float32, not infinite."""
    return np.float32(min(x, _MAX))


@inline
def step(z: Any, nd: Any, g: Any, pace: Any, noise: Any, rules: Any) -> Any:
    """(z', the second word of n' and d') after the gradient ``g``; ``pace`` is 1/alpha(t).

    d, which is kept in 32 bits, is also computed in 32 bits.
    """
    d, n = d_of(nd), more_n(nd, g)
    w = weight(z, d, rules.l1, rules.l2)
    risen = (root_of(n, rules.power) + np.float32(rules.beta)) * single(pace)
    new_d = max(np.float32(abs(d)), min(risen, MAX))
    new_z = z + g - (np.float64(new_d) - abs(d)) * w
    return new_z, pack(round_randomly(n, noise), math.copysign(new_d, d))


@jit
def page_weights(pages: Any, rules: Any, numbers: Any) -> Any:
    """The weights of the pages ``numbers`` (int64): float32 of shape (len(numbers), PAGE)."""
    out = np.empty((len(numbers), PAGE), np.float32)
    for k in range(len(numbers)):
        first = np.uint64(numbers[k]) * np.uint64(PAGE)
        for j in range(PAGE):
            z, nd = pages.words[first + np.uint64(j)]
            out[k, j] = weight(float_of(z), d_of(nd), rules.l1, rules.l2)
    return out


@jit
def nonzero_weights(pages: Any, rules: Any, numbers: Any) -> Any:
    """(coordinates uint64, weights float32) of the non-zero ones in the pages ``numbers``.

    These have to hold all ``counts[N_NONZERO]`` of them.
    """
    coordinates = np.empty(pages.counts[N_NONZERO], np.uint64)
    values = np.empty(pages.counts[N_NONZERO], np.float32)
    found = 0
    for k in range(len(numbers)):
        first = np.uint64(numbers[k]) * np.uint64(PAGE)
        for c in range(first, first + np.uint64(PAGE)):
            z, d = float_of(pages.words[c, Z]), d_of(pages.words[c, ND])
            if is_nonzero(z, d, rules.l1):
                coordinates[found] = c
                values[found] = weight(z, d, rules.l1, rules.l2)
                found += 1
    return coordinates, values


@inline
def put(pages: Any, rules: Any, c: Any, z: Any, n: Any, d: Any) -> None:
    """Make (z, n, |d|) the cell of coordinate ``c``, with its counts; note it as changed."""
    old_z, old_d = float_of(pages.words[c, Z]), d_of(pages.words[c, ND])
    pages.words[c, Z] = word_of(z)
    pages.words[c, ND] = pack(np.float32(n), np.float32(math.copysign(d, old_d)))
    pages.counts[N_TOUCHED] += int(d != 0.0) - int(old_d != 0.0)
    pages.counts[N_NONZERO] += is_nonzero(z, old_d, rules.l1) - is_nonzero(old_z, old_d, rules.l1)
    mark(pages, c)


@jit
def plant(pages: Any, rules: Any, coordinates: Any, values: Any, n: Any) -> None:
    """Give ``coordinates`` (uint64) the weights ``values`` (float32), as if after ``n``.

    Design of the warm start: d = (beta + n^power)/alpha, z = -w(d + l2) - sgn(w) l1.
    """
    n = np.float64(np.float32(n))
    root = np.float64(root_of(n, rules.power))
    d = np.float64(single((rules.beta + root) / rules.alpha))
    for k in range(len(coordinates)):
        c = coordinates[k]
        signed = math.copysign(d, d_of(pages.words[c, ND]))
        z = z_of_weight(np.float64(values[k]), 0.0, signed, rules.l1, rules.l2)
        put(pages, rules, c, z, n, d)


@jit
def adopt(pages: Any, rules: Any, numbers: Any, cells: Any, l1: Any, l2: Any) -> None:
    """Make ``cells`` (uint64 of shape (k, PAGE, 2)) the cells of the pages ``numbers`` (int64).

    They were learned with ``l1`` and ``l2``, and with the freedom from them that the sign of
    their d tells. Where this table's penalties differ z is changed so that the weight is not.
    """
    for k in range(len(numbers)):
        for j in range(PAGE):
            c = np.uint64(numbers[k]) * np.uint64(PAGE) + np.uint64(j)
            z, nd = float_of(cells[k, j, Z]), cells[k, j, ND]
            d = d_of(nd)
            signed = math.copysign(d, d_of(pages.words[c, ND]))
            before = penalty(d, l1), penalty(d, l2)
            if before != (penalty(signed, rules.l1), penalty(signed, rules.l2)):
                w = weight(z, d, l1, l2)
                z = z_of_weight(w, z, signed, rules.l1, rules.l2)
            put(pages, rules, c, z, n_of(nd), abs(d))
