"""Weights in pages: a directory, and an arena of chunks of one cache line that it points into.

A *stored page* is 2^shift coordinates; ``shift`` is one of a model's choices, made for its density
(``ctr.model.arena``). The page's entry of the ``directory`` is the unit (2 bytes) of the arena
where its chunk begins; 0, a line of zeros, when it has no weights. A chunk is

    head     1 unit: how many weights; negative (bit 15) when their values are float32
    index    where they are in the page, ascending: a mask of 1 unit (shift up to 4), a byte each
             and one more if that is odd (up to 8), or a unit each (up to 14)
    values   in the same order: q2.13 numbers of 1 unit, or float32 of 2 units, low half first

Values are float32 when one of the page's is not a q2.13 number. A chunk of up to 64 bytes lies in
one cache line, so that a weight is looked up in two: the directory's and the chunk's.

Pages that *travel* are 64 coordinates: ``ids`` (int64, ascending), ``masks`` (uint64, the listed
coordinates) and ``values`` (float32, all listed ones, end to end). A *patch* changes what it
lists, 0 clearing it; the *content* of a page lists all that is not zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ctr.kernels.memory import trailing_zeros
from ctr.kernels.options import inline, jit

STEP = np.float32(2.0**-13)
"""The distance of two q2.13 numbers."""

MASKS, BYTES, SHORTS = 4, 8, 14
"""The largest shifts whose chunks have a mask, a byte and a unit for each weight as index."""

SHIFT = 0
"""Where ``layout`` has the shift."""

COUNT = 0x7FFF
TRAVEL = 6
"""Bits of a page that travels."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_M1, _M2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_M4, _H1 = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


class Arrays(NamedTuple):
    """A model's memory as kernels take it, of the same types for every model.

    ``layout``: uint64[8], the shift first; ``directory``: uint32 a stored page; ``octets`` and
    ``units``: the arena, as uint8 and as int16, at a multiple of 64 bytes.
    """

    layout: Any
    directory: Any
    octets: Any
    units: Any


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
def values_from(shift: Any, count: Any) -> Any:
    """The units of a chunk that its values come after."""
    if shift <= MASKS:
        return 2
    if shift <= BYTES:
        return 1 + ((count + 1) >> 1)
    return 1 + count


@inline
def value_at(units: Any, at: Any, rank: Any, broad: Any) -> Any:
    """Number ``rank`` of the values that begin at unit ``at``."""
    if broad:
        low, high = np.int64(units[at + 2 * rank]), np.int64(units[at + 2 * rank + 1])
        return np.uint32((low & 0xFFFF) | (high & 0xFFFF) << 16).view(np.float32)
    return np.float32(units[at + rank]) * STEP


@inline
def span_bits(shift: Any, other: Any) -> Any:
    """Bits of the least number of coordinates that are whole pages of two sizes."""
    return max(np.int64(shift), np.int64(other), np.int64(TRAVEL))


@inline
def unpack(arrays: Any, page: Any, base: Any, where: Any, what: Any, n: Any) -> Any:
    """Put a stored page's weights behind the ``n`` there are; returns how many there are then.

    ``where`` (int64) gets positions in the page, ``base`` added, ``what`` (float32) the values.
    """
    at = np.int64(arrays.directory[page])
    if at == 0:
        return n
    shift, head = np.int64(arrays.layout[SHIFT]), np.int64(arrays.units[at])
    count = head & COUNT
    values = at + values_from(shift, count)
    if shift <= MASKS:
        left = np.uint64(np.int64(arrays.units[at + 1]) & 0xFFFF)
        for k in range(count):
            where[n + k] = base + trailing_zeros(left)
            left = left & (left - _ONE)
    elif shift <= BYTES:
        for k in range(count):
            where[n + k] = base + np.int64(arrays.octets[2 * at + 2 + k])
    else:
        for k in range(count):
            where[n + k] = base + np.int64(arrays.units[at + 1 + k])
    for k in range(count):
        what[n + k] = value_at(arrays.units, values, k, head < 0)
    return n + count


@inline
def unpack_span(arrays: Any, bits: Any, span: Any, where: Any, what: Any) -> Any:
    """The weights of the coordinates from ``span << bits`` on, 2^bits of them; how many those are.

    ``bits`` is at least the shift; positions are counted from the span's beginning.
    """
    shift, n = np.int64(arrays.layout[SHIFT]), 0
    first = span << (bits - shift)
    for page in range(first, first + (1 << (bits - shift))):
        n = unpack(arrays, page, (page - first) << shift, where, what, n)
    return n


@jit
def content(arrays: Any, first: int, last: int) -> Any:
    """What the pages ``first`` to ``last - 1`` hold, empty ones left out: (ids, masks, values)."""
    bits = span_bits(arrays.layout[SHIFT], 0)
    fold = bits - TRAVEL
    where, what = np.empty(1 << bits, np.int64), np.empty(1 << bits, np.float32)
    ids, masks = np.empty(0, np.int64), np.empty(0, np.uint64)
    values = np.empty(0, np.float32)
    for filling in range(2):
        pages, at, before = 0, 0, np.int64(-1)
        for span in range(first >> fold, (last + (1 << fold) - 1) >> fold):
            for k in range(unpack_span(arrays, bits, span, where, what)):
                page = (span << fold) + (where[k] >> TRAVEL)
                if page < first or page >= last:
                    continue
                if page != before:
                    before, pages = page, pages + 1
                if filling:
                    ids[pages - 1] = page
                    masks[pages - 1] |= _ONE << np.uint64(where[k] & 63)
                    values[at] = what[k]
                at += 1
        if not filling:
            ids, masks = np.empty(pages, np.int64), np.zeros(pages, np.uint64)
            values = np.empty(at, np.float32)
    return ids, masks, values


@inline
def spread(arrays: Any, page: Any, where: Any, what: Any, out: Any) -> Any:
    """Write the 64 weights of a page that travels to ``out`` (float32[64]); returns its mask."""
    bits = span_bits(arrays.layout[SHIFT], 0)
    fold = bits - TRAVEL
    mine, mask = page & ((1 << fold) - 1), _ZERO
    out[:] = np.float32(0.0)
    for k in range(unpack_span(arrays, bits, page >> fold, where, what)):
        if where[k] >> TRAVEL == mine:
            out[where[k] & 63] = what[k]
            mask |= _ONE << np.uint64(where[k] & 63)
    return mask


@jit
def differing(arrays: Any, ids: Any, masks: Any, values: Any) -> Any:
    """Per page a mask (uint64[k]) of where new *content* differs from the model's."""
    room = 1 << span_bits(arrays.layout[SHIFT], 0)
    where, what = np.empty(room, np.int64), np.empty(room, np.float32)
    old, new = np.empty(64, np.float32), np.empty(64, np.float32)
    changed = np.zeros(len(ids), np.uint64)
    at = 0
    for i in range(len(ids)):
        union = spread(arrays, ids[i], where, what, old) | masks[i]
        new[:] = np.float32(0.0)
        listed = masks[i]
        while listed != _ZERO:
            new[trailing_zeros(listed)] = values[at]
            listed, at = listed & (listed - _ONE), at + 1
        while union != _ZERO:
            j = trailing_zeros(union)
            if old[j] != new[j]:
                changed[i] |= _ONE << np.uint64(j)
            union = union & (union - _ONE)
    return changed
