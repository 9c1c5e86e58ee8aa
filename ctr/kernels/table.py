"""A table of coordinates: from keys to coordinates, pages that changed, randomized rounding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ctr.kernels.memory import prefetch
from ctr.kernels.options import inline, jit

PAGE_BITS = 6
PAGE = 1 << PAGE_BITS
"""Coordinates of one page, the unit in which changes are told and models travel."""

WORD_BITS = 6
"""2^6 pages to a word of the bits that tell which have changed."""

N_TOUCHED, N_NONZERO = 0, 1
"""Columns of a table's counts: touched coordinates, non-zero weights."""

_ZERO, _ONE, _PAGE_SHIFT = np.uint64(0), np.uint64(1), np.uint64(PAGE_BITS)
_WORD_SHIFT, _WORD_MASK = np.uint64(WORD_BITS), np.uint64((1 << WORD_BITS) - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)
_DROPPED = np.uint64((1 << 29) - 1)
_KEEP, _TO_DROPPED = np.uint64((1 << 64) - (1 << 29)), np.uint64(35)


class Pages(NamedTuple):
    """The arrays of a table as kernels take them; a kernel that learns mutates all but ``mask``.

    ``words``: uint64 of shape (coordinates, words of a cell); ``mask``: uint64, 2^bits - 1;
    ``changed``: uint64, a bit per page, set since it was updated; ``counts``: int64[2].
    Bits, because every visit reads one: bytes are 4 MiB at 2^28 and most of them a cache miss.
    """

    words: Any
    mask: Any
    changed: Any
    counts: Any


@inline
def coordinate(key: Any, mask: Any) -> Any:
    """The coordinate (uint64) of a 64-bit key: its low bits, 0 being the bias's own.

    Any other key that falls on 0 moves to 1.
    """
    low = key & mask
    return _ONE if low == _ZERO and key != _ZERO else low


@inline
def mark(pages: Any, c: Any) -> None:
    """Note that coordinate ``c`` (uint64) was updated."""
    page = c >> _PAGE_SHIFT
    pages.changed[page >> _WORD_SHIFT] |= _ONE << (page & _WORD_MASK)


@inline
def is_changed(changed: Any, c: Any) -> Any:
    """1 (uint64) if the page of coordinate ``c`` (uint64) is noted as changed, or 0."""
    page = c >> _PAGE_SHIFT
    return (changed[page >> _WORD_SHIFT] >> (page & _WORD_MASK)) & _ONE


@inline
def ask_for(words: Any, c: Any) -> None:
    """Prefetch the cell of coordinate ``c`` (uint64)."""
    prefetch(words, c * np.uint64(words.shape[1]))


@inline
def event_noise(seed: Any, t: Any) -> Any:
    """64 well-mixed bits (uint64) of the event learned as number ``t``."""
    h = seed + np.uint64(t) * _GOLDEN
    h = (h ^ (h >> _S30)) * _MIX[0]
    h = (h ^ (h >> _S27)) * _MIX[1]
    return h ^ (h >> _S31)


@inline
def feature_noise(noise: Any, j: Any) -> Any:
    """The bits of an event's feature ``j`` (uint64): uniform over events.

    The golden section of 2^64 apart, so that those of the features of one event on one coordinate
    are spread evenly and their roundings even out. ``noise`` may be lanes.
    """
    return noise + j * _GOLDEN


@inline
def round_randomly(x: Any, noise: Any) -> Any:
    """``x`` (float64 >= 0) as one of the float32 beside it, so that the expectation is ``x``.

    The 29 bits of the mantissa that a float32 lacks are the probability of the upper one.
    """
    bits = add_noise(np.float64(x).view(np.uint64), noise)
    return np.float32(np.uint64(bits).view(np.float64))


@inline
def add_noise(bits: Any, noise: Any) -> Any:
    """The bits of a float64 >= 0 (uint64 or lanes) as those of a float32 beside it, at random."""
    return (bits + (noise >> _TO_DROPPED)) & _KEEP


@jit
def mark_pages(pages: Any, numbers: Any) -> None:
    """``mark`` for whole pages (int64)."""
    for page in numbers:
        mark(pages, np.uint64(page) << _PAGE_SHIFT)
