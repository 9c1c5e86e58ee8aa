"""The bytes of pages, and the rounding of weights to q2.13. Specified in ``docs/model-format.md``.

q2.13 is McMahan et al. 2013, section 3: a sign, two bits before the point and thirteen after
it, rounded up or down at random so that the expectation is the weight itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.memory import trailing_zeros
from ctr.kernels.options import inline, jit
from ctr.kernels.pages import mix64, popcount

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_7, _11, _32, _127, _128 = (np.uint64(n) for n in (7, 11, 32, 127, 128))

BITMAP_FROM = 8
"""From this many coordinates on, a page lists them as a bitmap of 8 bytes."""

TRUNCATED, TOO_LARGE, NOT_ASCENDING, BAD_COUNT, TRAILING = 1, 2, 3, 4, 5
"""What ``decode_structure`` finds wrong; 0 is nothing."""


@inline
def round_weight(w: Any, coordinate: Any, seed: Any) -> Any:
    """A weight as a q2.13 number next to it, up with the probability of its distance from below.

    The draw is a hash of seed, coordinate and the weight's bits: the same weight always rounds
    the same way. |w| >= 4 stays as it is.
    """
    if not abs(w) < np.float32(4.0):
        return w
    scaled = np.float64(w) * 8192.0
    low = np.floor(scaled)
    bits = np.uint64(np.float32(w).view(np.uint32))
    draw = mix64(mix64(seed) ^ ((coordinate << _32) | bits)) >> _11
    if np.float64(draw) * 2.0**-53 < scaled - low:
        low += 1.0
    return np.float32(low / 8192.0)


@jit
def round_pages(ids: Any, weights: Any, exact: Any, quantize: bool, seed: Any) -> Any:
    """The content of pages from dense weights (float32[k, 64]), zeros left out.

    ``exact`` (uint64[k]) masks coordinates to keep unrounded; without ``quantize`` all are.
    Returns (masks, values, finite): finite is False when a weight is not a finite number.
    """
    masks = np.zeros(len(ids), np.uint64)
    values = np.empty(np.count_nonzero(weights), np.float32)
    at, finite = 0, True
    for i in range(len(ids)):
        for j in range(64):
            w = weights[i, j]
            if w == np.float32(0.0):
                continue
            finite = finite and bool(np.isfinite(w))
            bit = _ONE << np.uint64(j)
            if quantize and exact[i] & bit == _ZERO:
                w = round_weight(w, (np.uint64(ids[i]) << np.uint64(6)) | np.uint64(j), seed)
                if w == np.float32(0.0):
                    continue
            masks[i] |= bit
            values[at] = w
            at += 1
    return masks, values[:at].copy(), finite


@jit
def structure_bound(masks: Any, bound: Any) -> None:
    """Set ``bound[i]`` (int64) to the most bytes that page i's structure can take."""
    for i in range(len(masks)):
        count = popcount(masks[i])
        bound[i] = 6 + (count if count < BITMAP_FROM else 8)


@jit
def encode_structure(ids: Any, masks: Any, out: Any) -> int:
    """Write which coordinates the pages list to ``out`` (uint8, long enough); returns the bytes."""
    at, previous = 0, np.int64(-1)
    for i in range(len(ids)):
        gap = np.uint64(ids[i] - previous - 1)
        previous = ids[i]
        while gap >= _128:
            out[at] = np.uint8((gap & _127) | _128)
            gap >>= _7
            at += 1
        out[at] = np.uint8(gap)
        left, count = masks[i], popcount(masks[i])
        out[at + 1] = np.uint8(count)
        at += 2
        if count < BITMAP_FROM:
            while left != _ZERO:
                out[at] = np.uint8(trailing_zeros(left))
                left, at = left & (left - _ONE), at + 1
        else:
            for b in range(8):
                out[at] = np.uint8((left >> np.uint64(8 * b)) & np.uint64(255))
                at += 1
    return at


@inline
def read_varint(data: Any, at: Any, size: int) -> Any:
    """The unsigned LEB128 number at ``data[at]`` and the index after it, or -1 when there is none.

    Of at most five bytes (35 bits), so that it never overflows.
    """
    number, shift = np.int64(0), np.int64(0)
    while at < size and shift < 35:
        byte = np.int64(data[at])
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
        shift += 7
    return np.int64(0), -1


@inline
def read_positions(data: Any, at: Any, count: Any) -> Any:
    """The mask of ``count`` coordinates listed at ``data[at]``; 0 when they are not as specified.

    The caller has checked that the bytes are there and that count is 1 to 64.
    """
    mask = _ZERO
    if count < BITMAP_FROM:
        below = np.int64(-1)
        for k in range(count):
            position = np.int64(data[at + k])
            if position <= below or position > 63:
                return _ZERO
            mask |= _ONE << np.uint64(position)
            below = position
        return mask
    for b in range(8):
        mask |= np.uint64(data[at + b]) << np.uint64(8 * b)
    return mask if popcount(mask) == count else _ZERO


@jit
def decode_structure(
    data: Any, at: int, page: int, limit: int, ids: Any, masks: Any, last: bool
) -> Any:
    """Read ``len(ids)`` pages from ``data[at:]`` (uint8), after ``page``; safe for any bytes.

    The first pages of all begin at 0 after page -1; with ``last`` nothing must follow. Page numbers
    must be below ``limit``. Returns (what is wrong or 0, listed coordinates, the place and the page
    to go on from).
    """
    at, page, entries, size = np.int64(at), np.int64(page), np.int64(0), len(data)
    for i in range(len(ids)):
        gap, at = read_varint(data, at, size)
        if at < 0 or at >= size:
            return TRUNCATED, 0, at, page
        page += gap + 1
        if page >= limit:
            return TOO_LARGE, 0, at, page
        count = np.int64(data[at])
        at += 1
        if count > 64:
            return BAD_COUNT, 0, at, page
        length = count if count < BITMAP_FROM else 8
        if at + length > size:
            return TRUNCATED, 0, at, page
        ids[i] = page
        masks[i] = read_positions(data, at, count) if count else _ZERO
        if count and masks[i] == _ZERO:
            return NOT_ASCENDING, 0, at, page
        at += length
        entries += count
    if last and at != size:
        return TRAILING, 0, at, page
    return 0, entries, at, page
