"""A table of the rivals' cells: its weights, planting them, and taking over saved cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ctr.kernels.ftrl import float_of, pack, penalty, word_of, z_of_weight
from ctr.kernels.options import inline, jit
from ctr.kernels.rivals import FTRL, OGD_COUNT, RDA, D, N, Rules, W, Z, clipped, d_after
from ctr.kernels.table import N_NONZERO, N_TOUCHED, PAGE, mark

__all__ = ["Rules", "adopt", "nonzero_weights", "page_weights", "plant"]


@jit
def page_weights(pages: Any, rules: Any, numbers: Any) -> Any:
    """The weights of the pages ``numbers`` (int64): float32 of shape (len(numbers), PAGE)."""
    out = np.empty((len(numbers), PAGE), np.float32)
    for k in range(len(numbers)):
        first = np.uint64(numbers[k]) * np.uint64(PAGE)
        for j in range(PAGE):
            out[k, j] = float_of(pages.words[first + np.uint64(j), W])
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
            w = float_of(pages.words[c, W])
            if w != 0.0:
                coordinates[found] = c
                values[found] = w
                found += 1
    return coordinates, values


@inline
def put(pages: Any, c: Any, w: Any, z: Any, n: Any, d: Any) -> None:
    """Make (w, z, the word n, |d|) the cell of coordinate ``c``; counts it and notes its page."""
    cell = pages.words[c]
    old_d, old_w = float_of(cell[D]), float_of(cell[W])
    cell[W], cell[Z] = word_of(w), word_of(z)
    cell[N], cell[D] = n, word_of(math.copysign(d, old_d))
    pages.counts[N_TOUCHED] += int(d != 0.0) - int(old_d != 0.0)
    pages.counts[N_NONZERO] += int(w != 0.0) - int(old_w != 0.0)
    mark(pages, c)


@jit
def plant(pages: Any, rules: Any, coordinates: Any, values: Any, n: Any) -> None:
    """Give ``coordinates`` (uint64) the weights ``values`` (float32), as if after ``n``.

    n clicks' and non-clicks' worth of counts make PN/(P+N) = n when both are 2n.
    """
    word = word_of(n)
    if rules.counts:
        word = pack(np.float32(clipped(2.0 * n)), np.float32(clipped(2.0 * n)))
    for k in range(len(coordinates)):
        c = coordinates[k]
        old_d = float_of(pages.words[c, D])
        d = math.copysign(d_after(0.0, n, 1.0 / rules.alpha, rules), old_d)
        w, z = np.float64(values[k]), 0.0
        if rules.kind == FTRL or rules.kind == RDA:
            z = z_of_weight(w, 0.0, d, rules.l1, rules.l2)
        elif rules.kind == OGD_COUNT:
            z = rules.min_count
        put(pages, c, w, z, word, abs(d))


@jit
def adopt(pages: Any, rules: Any, numbers: Any, cells: Any, l1: Any, l2: Any) -> None:
    """Make ``cells`` (uint64 of shape (k, PAGE, 4)) the cells of the pages ``numbers`` (int64).

    They were learned with ``l1`` and ``l2``, and with the freedom from them that the sign of
    their d tells. Where this table's penalties differ z is changed so that the weight is not.
    """
    for k in range(len(numbers)):
        for j in range(PAGE):
            c = np.uint64(numbers[k]) * np.uint64(PAGE) + np.uint64(j)
            w, z = float_of(cells[k, j, W]), float_of(cells[k, j, Z])
            d = float_of(cells[k, j, D])
            signed = math.copysign(d, float_of(pages.words[c, D]))
            before = penalty(d, l1), penalty(d, l2)
            if (rules.kind == FTRL or rules.kind == RDA) and before != (
                penalty(signed, rules.l1),
                penalty(signed, rules.l2),
            ):
                z = z_of_weight(w, z, signed, rules.l1, rules.l2)
            put(pages, c, w, z, cells[k, j, N], abs(d))
