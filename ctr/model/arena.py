"""The memory of a served model: one block of bytes, laid out for the density of its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError
from ctr.kernels.pages import BYTES, MASKS, SHIFT, SHORTS, TRAVEL, Arrays
from ctr.kernels.staging import LINE, OPEN
from ctr.types import Int64

Block = NDArray[np.uint8]
Allocate = Callable[[int], Block]

_ALIGN = 64
_SMALLEST = 2
_PAGES, _UNITS = 1, 2
_MOST_UNITS = 1 << 32
_MOST = {2: (4.0, 4.0), 3: (8.0, 7.2), 4: (14.5, 12.0)}
_MOST_OF_BYTES, _MOST_OF_SHORTS = (8.0, 6.0), (6.0, 5.0)
"""Weights of a page on average, of q2.13 and of float32, up to which hardly any has more than a
line holds, and pages do not all leave half a line empty."""

_BYTES_A_WEIGHT = 7.5
"""What room for changes may bring the memory to; the least room is a sixteenth of the arena."""


def aligned(size: int) -> Block:
    """``size`` bytes of ordinary memory from a multiple of 64 on."""
    memory = np.empty(size + _ALIGN - 1, np.uint8)
    start = -memory.ctypes.data % _ALIGN
    return memory[start : start + size]


@dataclass(frozen=True, slots=True)
class Memory:
    """A directory and an arena in one ``block``, and how chunks go on being packed into it.

    ``expected`` is the count of weights that the shift was chosen for. ``packing`` is that of
    ``ctr.kernels.staging``.
    """

    block: Block
    arrays: Arrays
    packing: Int64
    expected: int = 0

    @classmethod
    def make(cls, bits: int, shift: int, units: int, expected: int, allocate: Allocate) -> Memory:
        """Empty memory with room for so many units of chunks.

        Raises SettingError for more than 8 GiB of them, and for memory that is not aligned.
        """
        units = LINE + -(-units // LINE) * LINE
        if units > _MOST_UNITS:
            raise SettingError("weights of a model", f"{2 * units} bytes", "at most 8 GiB")
        pages = 1 << (bits - shift)
        size = _arena_from(pages) + 2 * units
        block = allocate(size)
        if block.dtype != np.uint8 or len(block) < size or block.ctypes.data % _ALIGN:
            raise SettingError("allocate", block.dtype, f"{size} bytes at a multiple of {_ALIGN}")
        block[:_ALIGN].view(np.uint64)[:] = 0
        block[:_ALIGN].view(np.uint64)[[SHIFT, _PAGES, _UNITS]] = shift, pages, units
        arrays = arrays_in(block)
        arrays.directory[:] = 0
        arrays.units[:LINE] = 0
        return cls(block, arrays, fresh_packing(), expected)

    def has_room(self) -> bool:
        """Whether all that ``packing`` has given a place has one."""
        return bool(self.packing[0] <= len(self.arrays.units))

    def suits(self, nonzero: int, before: int) -> bool:
        """Whether pages are neither too full nor, after weights were removed, too empty."""
        too_many = nonzero > 2 * max(self.expected, LINE)
        too_few = nonzero < min(before, self.expected // 2)
        return not too_many and not too_few


def fresh_packing() -> Int64:
    """No line used, but the first: a chunk without weights, which empty pages have."""
    packing = np.zeros(1 + OPEN, np.int64)
    packing[0] = LINE
    return packing


def arrays_in(block: Block) -> Arrays:
    """What a block, maybe another process's, holds: views of it, for kernels."""
    layout = block[:_ALIGN].view(np.uint64)
    pages, units = int(layout[_PAGES]), int(layout[_UNITS])
    start = _arena_from(pages)
    octets = block[start : start + 2 * units]
    directory = block[_ALIGN : _ALIGN + 4 * pages].view(np.uint32)
    return Arrays(layout, directory, octets, octets.view(np.int16))


def stored_in_one(arrays: Arrays) -> int:
    """At most so many stored pages hold the coordinates of one page that travels."""
    return 1 << max(0, TRAVEL - int(arrays.layout[SHIFT]))


def to_measure(shift: int) -> Arrays:
    """Arrays of a shift that have no room: ``lay`` without writing says how much is needed."""
    layout = np.zeros(8, np.uint64)
    layout[SHIFT] = shift
    octets = np.empty(0, np.uint8)
    return Arrays(layout, np.empty(0, np.uint32), octets, octets.view(np.int16))


def choose_shift(bits: int, nonzero: int, wide: bool) -> int:
    """log2 of the coordinates of a stored page, so that the memory is least.

    ``wide``: most weights are float32, not q2.13.

    >>> [choose_shift(24, n, False) for n in (0, 250_000, 1_000_000, 16_000_000)]
    [14, 8, 7, 3]
    """
    shifts = range(_SMALLEST, min(SHORTS, bits) + 1)

    def fits(shift: int) -> bool:
        most = _MOST.get(shift, _MOST_OF_BYTES if shift <= BYTES else _MOST_OF_SHORTS)
        return shift == _SMALLEST or nonzero <= most[wide] * 2.0 ** (bits - shift)

    return min(
        filter(fits, shifts),
        key=lambda shift: (sum(expected_bytes(bits, shift, nonzero, wide)), -shift),
    )


def expected_bytes(bits: int, shift: int, nonzero: int, wide: bool) -> tuple[float, float]:
    """Of the directory, and of the lines of so many weights at random coordinates."""
    pages = 2.0 ** (bits - shift)
    head, index = (4.0, 0) if shift <= MASKS else (2.5, 1) if shift <= BYTES else (2.0, 2)
    filled = -pages * math.expm1(-nonzero / pages)
    chunks = head * filled + (index + (4 if wide else 2)) * nonzero
    # what was found: chunks of more than half a line have to be lucky to share one
    packed = 1.06 + 0.03 * max(0.0, chunks / max(filled, 1) - 30)
    return 4 * pages, packed * chunks


def with_room(units: int, pages: int, nonzero: int) -> int:
    """Units for chunks and for changes: a quarter more, less if that is much a weight."""
    spare = int(_BYTES_A_WEIGHT * nonzero - 4 * pages - 2 * units) // 2
    return units + max(units // 16, min(units // 4, spare))


def _arena_from(pages: int) -> int:
    return _ALIGN + -(-4 * pages // _ALIGN) * _ALIGN
