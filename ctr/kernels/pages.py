"""Sparse pages: 64 coordinates, a bit for each non-zero one, and the values in an arena.

Page p holds the coordinates 64 p to 64 p + 63. Its entry of the ``directory`` is a mask of the
non-zero ones and the offset of the first value; the others follow in the order of their
coordinates, so the value of bit j is as many places on as there are bits below j. An arena is one
block of memory seen twice: as int16 units (``narrow``: q2.13, one unit a value) and as float32
(``wide``: two units a value, on an even unit). A page is wide when one of its values is not a
q2.13 number; bit 31 of the offset says so.

Pages that travel are ``ids`` (int64, ascending), ``masks`` (uint64, the listed coordinates) and
``values`` (float32, all listed ones, end to end). A *patch* changes what it lists, 0 clearing it;
the *content* of a page lists all that is not zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.memory import trailing_zeros
from ctr.kernels.options import inline, jit

ENTRY = np.dtype([("mask", "<u8"), ("offset", "<u4")])
"""An entry of the directory: 12 bytes a page."""

WIDE = np.uint32(1 << 31)
UNITS = np.uint32((1 << 31) - 1)
STEP = np.float32(2.0**-13)
"""The distance of two q2.13 numbers."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_M1, _M2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_M4, _H1 = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@inline
def popcount(word: Any) -> Any:
    """How many bits of a uint64 are 1 (LLVM knows the idiom: one instruction)."""
    word = word - ((word >> _S1) & _M1)
    word = (word & _M2) + ((word >> _S2) & _M2)
    word = (word + (word >> _S4)) & _M4
    return np.int64((word * _H1) >> _S56)


@inline
def mix64(x: Any) -> Any:
    """SplitMix64's step and finalizer: a bijection of uint64 whose bits all depend on all."""
    x = x + _GOLDEN
    x = (x ^ (x >> _30)) * _A
    x = (x ^ (x >> _27)) * _B
    return x ^ (x >> _31)


@inline
def digest_term(coordinate: Any, value: Any) -> Any:
    """What a weight adds to a model's digest; a zero adds nothing."""
    if value == np.float32(0.0):
        return _ZERO
    bits = np.uint64(np.float32(value).view(np.uint32))
    return mix64((np.uint64(coordinate) << _32) | bits)


@inline
def is_narrow(value: Any) -> Any:
    """Whether a float32 is a q2.13 number that int16 holds (-32768 is left out: the escape)."""
    scaled = value * np.float32(8192.0)
    return abs(scaled) <= np.float32(32767.0) and scaled == np.floor(scaled)


@inline
def page_of(coordinate: Any) -> Any:
    """The page of a coordinate (uint64)."""
    return np.int64(coordinate >> np.uint64(6))


@inline
def units_of(offset: Any) -> Any:
    """The unit of the arena where a page's values start."""
    return np.int64(offset & UNITS)


@inline
def value_at(narrow: Any, wide: Any, offset: Any, rank: int) -> Any:
    """The value number ``rank`` of the page whose values start at ``offset``."""
    if offset & WIDE:
        return wide[(units_of(offset) >> 1) + rank]
    return np.float32(narrow[np.int64(offset) + rank]) * STEP


@inline
def weight_at(directory: Any, narrow: Any, wide: Any, coordinate: Any) -> Any:
    """The weight (float32) of a coordinate (uint64 within the directory)."""
    page, bit = page_of(coordinate), coordinate & np.uint64(63)
    mask = directory[page]["mask"]
    if (mask >> bit) & _ONE == _ZERO:
        return np.float32(0.0)
    rank = popcount(mask & ((_ONE << bit) - _ONE))
    return value_at(narrow, wide, directory[page]["offset"], rank)


@inline
def unpack_page(directory: Any, narrow: Any, wide: Any, page: int, out: Any) -> Any:
    """Write a page's 64 weights to ``out`` (float32[64]); returns its mask."""
    out[:] = np.float32(0.0)
    mask, offset = directory[page]["mask"], directory[page]["offset"]
    left, rank = mask, 0
    while left != _ZERO:
        out[trailing_zeros(left)] = value_at(narrow, wide, offset, rank)
        left, rank = left & (left - _ONE), rank + 1
    return mask


@inline
def lay_over(mask: Any, values: Any, at: int, out: Any) -> int:
    """Write the listed values ``values[at:]`` over ``out`` (float32[64]); returns their end."""
    while mask != _ZERO:
        out[trailing_zeros(mask)] = values[at]
        mask, at = mask & (mask - _ONE), at + 1
    return at


@jit
def gather(directory: Any, narrow: Any, wide: Any, ids: Any, listed: Any) -> Any:
    """The values at the listed coordinates, zeros too: float32, of the pages one after another.

    ``listed`` is uint64[k]; an empty one asks for each page's own mask. Returns (masks, values).
    """
    masks = np.empty(len(ids), np.uint64)
    total = 0
    for i in range(len(ids)):
        masks[i] = listed[i] if len(listed) else directory[ids[i]]["mask"]
        total += popcount(masks[i])
    values = np.empty(total, np.float32)
    page = np.empty(64, np.float32)
    at = 0
    for i in range(len(ids)):
        unpack_page(directory, narrow, wide, ids[i], page)
        left = masks[i]
        while left != _ZERO:
            values[at] = page[trailing_zeros(left)]
            left, at = left & (left - _ONE), at + 1
    return masks, values


@jit
def differing(directory: Any, narrow: Any, wide: Any, ids: Any, masks: Any, values: Any) -> Any:
    """Per page a mask (uint64[k]) of where new *content* differs from the model's."""
    old, new = np.empty(64, np.float32), np.empty(64, np.float32)
    changed = np.zeros(len(ids), np.uint64)
    at = 0
    for i in range(len(ids)):
        union = unpack_page(directory, narrow, wide, ids[i], old) | masks[i]
        new[:] = np.float32(0.0)
        at = lay_over(masks[i], values, at, new)
        while union != _ZERO:
            j = trailing_zeros(union)
            if old[j] != new[j]:
                changed[i] |= _ONE << np.uint64(j)
            union = union & (union - _ONE)
    return changed
