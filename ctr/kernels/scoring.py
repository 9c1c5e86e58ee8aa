"""Looking up weights in a model's memory (``ctr.kernels.pages``), and logits of rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ctr.kernels.memory import matches, prefetch_read, trailing_zeros
from ctr.kernels.options import inline, jit
from ctr.kernels.pages import (
    BYTES,
    COUNT,
    MASKS,
    SHIFT,
    TRAVEL,
    Arrays,
    popcount,
    value_at,
    values_from,
)
from ctr.kernels.table import coordinate

_EMPTY = np.zeros(64, np.uint8)
ARRAYS = Arrays(
    np.full(8, TRAVEL, np.uint64), np.zeros(1, np.uint32), _EMPTY, _EMPTY.view(np.int16)
)
"""Arrays as every model has them (``SparseModel.arrays``), of one that has no weights."""

AHEAD = 16
"""How many keys ahead directory entries are fetched; chunks half as many."""

_LONG = 64
"""From so many positions of a unit each on, the part to look through is found by halving."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_NO_BYTE, _NO_UNIT = np.uint64(1 << 16), np.uint64(1 << 8)


@inline
def rank_of_byte(octets: Any, at: Any, count: Any, position: Any) -> Any:
    """Which of ``count`` bytes from ``octets[at]`` on is ``position``; ``count`` or more if none.

    Hardly any page has more than 16, and up to there nothing is branched on that is hard to guess.
    """
    byte, done = np.uint8(position), np.int64(0)
    rank = trailing_zeros(matches(octets, at, byte) | _NO_BYTE)
    while done + 16 < count and rank == 16:
        done += 16
        rank = trailing_zeros(matches(octets, at + done, byte) | _NO_BYTE)
    return done + rank


@inline
def rank_of_unit(units: Any, at: Any, count: Any, position: Any) -> Any:
    """The same of units."""
    unit, done, end = np.int16(position), np.int64(0), count
    while end - done > _LONG:
        middle = (done + end) >> 1
        if units[at + middle] > unit:
            end = middle
        else:
            done = middle
    rank = trailing_zeros(matches(units, at + done, unit) | _NO_UNIT)
    while done + 8 < end and rank == 8:
        done += 8
        rank = trailing_zeros(matches(units, at + done, unit) | _NO_UNIT)
    return done + rank if done + rank < end else count


@inline
def weight_at(arrays: Any, c: Any) -> Any:
    """The weight (float32) of a coordinate (uint64 within the directory).

    A page without weights has the chunk at unit 0, which has none.
    """
    width = arrays.layout[SHIFT]
    at = np.int64(arrays.directory[c >> width])
    shift, head = np.int64(width), np.int64(arrays.units[at])
    count, position = head & COUNT, c & ((_ONE << width) - _ONE)
    if shift <= MASKS:
        mask = np.uint64(np.int64(arrays.units[at + 1]) & 0xFFFF)
        below = popcount(mask & ((_ONE << position) - _ONE))
        rank = below if (mask >> position) & _ONE != _ZERO else count
    elif shift <= BYTES:
        rank = rank_of_byte(arrays.octets, 2 * at + 2, count, position)
    else:
        rank = rank_of_unit(arrays.units, at + 1, count, position)
    there = rank < count
    values = at + values_from(shift, count)
    weight = value_at(arrays.units, values, rank if there else np.int64(0), head < 0)
    return weight if there else np.float32(0.0)


@inline
def ask_directory(arrays: Any, c: Any) -> None:
    """Prefetch the entry of a coordinate's page."""
    prefetch_read(arrays.directory, c >> arrays.layout[SHIFT])


@inline
def ask_chunk(arrays: Any, c: Any) -> None:
    """Prefetch the chunk of a coordinate's page, whose entry should be there by now."""
    prefetch_read(arrays.units, np.int64(arrays.directory[c >> arrays.layout[SHIFT]]))


@inline
def score_rows(
    indptr: Any, keys: Any, values: Any, base: Any, mask: Any, arrays: Any, out: Any
) -> None:
    """Set ``out[i]`` (float32) to ``base`` (float64) plus the weights times values of row i.

    They are added in float64, in order. ``mask`` is 2^bits - 1 (uint64).
    """
    first, end = np.int64(indptr[0]), np.int64(indptr[len(indptr) - 1])
    for k in range(first, min(first + AHEAD, end)):
        ask_directory(arrays, coordinate(keys[k], mask))
    for k in range(first, min(first + AHEAD // 2, end)):
        ask_chunk(arrays, coordinate(keys[k], mask))
    for i in range(len(indptr) - 1):
        total = np.float64(base)
        for k in range(indptr[i], indptr[i + 1]):
            if k + AHEAD < end:
                ask_directory(arrays, coordinate(keys[k + AHEAD], mask))
            if k + AHEAD // 2 < end:
                ask_chunk(arrays, coordinate(keys[k + AHEAD // 2], mask))
            weight = weight_at(arrays, coordinate(keys[k], mask))
            total += np.float64(weight) * np.float64(values[k])
        out[i] = np.float32(total)


@jit
def score(indptr: Any, keys: Any, values: Any, mask: Any, arrays: Any, out: Any) -> None:
    """Set ``out[i]`` (float32) to the sum of weight times value over row i, added in float64."""
    score_rows(indptr, keys, values, 0.0, mask, arrays, out)


@jit
def weights_at(keys: Any, mask: Any, arrays: Any, out: Any) -> None:
    """Set ``out[k]`` (float32) to the weight of ``keys[k]`` (uint64)."""
    for k in range(len(keys)):
        out[k] = weight_at(arrays, coordinate(keys[k], mask))


@jit
def gather(arrays: Any, ids: Any, masks: Any) -> Any:
    """The values at the listed coordinates, zeros too: float32, of the pages one after another."""
    total = 0
    for i in range(len(masks)):
        total += popcount(masks[i])
    values = np.empty(total, np.float32)
    at = 0
    for i in range(len(ids)):
        left = masks[i]
        while left != _ZERO:
            c = (np.uint64(ids[i]) << np.uint64(TRAVEL)) | np.uint64(trailing_zeros(left))
            values[at] = weight_at(arrays, c)
            left, at = left & (left - _ONE), at + 1
    return values


@inline
def logistic(logit: Any) -> Any:
    """The probability (float32) that a logit (float32) stands for."""
    return np.float32(1.0 / (1.0 + math.exp(min(-np.float64(logit), 709.0))))


@jit
def probabilities(logits: Any) -> Any:
    """The logistic function of each logit, float32."""
    out = np.empty(len(logits), np.float32)
    for i in range(len(logits)):
        out[i] = logistic(logits[i])
    return out
