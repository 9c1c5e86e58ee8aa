"""A learner's table: 2^bits cells in pages, and what is known about them without looking.

A key falls on a cell by its low bits (``ctr.kernels.table.coordinate``).
"""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import IncompatibleError, SettingError
from ctr.kernels import table as kernels
from ctr.kernels.table import PAGE, Pages
from ctr.memory import memory_limit
from ctr.types import Int64

__all__ = ["PAGE", "Table", "zeros"]

_WORD = 1 << kernels.WORD_BITS

# not in the mmap module of every Python that runs ctr
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def zeros(length: int, dtype: Any) -> NDArray[Any]:
    """An array of zeros that takes no memory until it is written, at a multiple of 64 bytes.

    Up to a quarter of the memory of machine or container, and always up to 1 GiB, it is asked for
    in huge pages, which random access likes: such a table is in memory as a whole after some
    thousand features. Beyond, in small ones: 4 KiB for every new feature at first.
    """
    size = max(length * np.dtype(dtype).itemsize, mmap.PAGESIZE)
    if hasattr(mmap, "MAP_PRIVATE"):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        memory = mmap.mmap(-1, size, flags=flags)
    else:
        memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE if size <= _huge_up_to() else mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype, length)


def _huge_up_to() -> int:
    return max(1 << 30, memory_limit() // 4)


def _numbers(bits: NDArray[np.uint64]) -> Int64:
    """The numbers (int64, sorted) of the bits that are set."""
    some = np.flatnonzero(bits)
    eight = bits[some].astype("<u8", copy=False).view(np.uint8).reshape(-1, 8)
    word, bit = np.nonzero(np.unpackbits(eight, axis=1, bitorder="little"))
    return (some[word] * _WORD + bit).astype(np.int64, copy=False)


class Table:
    """``cells``: 2^bits of them (at least a page), zero at first; ``arrays``: for the kernels.

    ``cell`` is the structured dtype of a cell, of whole 8-byte words. The kernels that learn keep
    ``touched``, ``nonzero`` and which pages changed; nothing here scans the cells.

    >>> from ctr.kernels.ftrl import CELL
    >>> table = Table(10, CELL)
    >>> len(table.cells), table.touched, table.take_changed_pages()
    (1024, 0, array([], dtype=int64))
    """

    def __init__(self, bits: int, cell: np.dtype[Any]) -> None:
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 32:
            raise SettingError("features.bits", bits, "a whole number from 1 to 32")
        self.bits = bits
        self.pages = max(1, (1 << bits) // PAGE)
        self.cells = zeros(self.pages * PAGE, cell)
        self.arrays = Pages(
            words=self.cells.view(np.uint64).reshape(len(self.cells), -1),
            mask=np.uint64((1 << bits) - 1),
            changed=zeros(-(-self.pages // _WORD), np.uint64),
            counts=np.zeros(2, np.int64),
        )
        self._taken = zeros(len(self.arrays.changed), np.uint64)

    @property
    def touched(self) -> int:
        """Coordinates ever updated."""
        return int(self.arrays.counts[kernels.N_TOUCHED])

    @property
    def nonzero(self) -> int:
        """Coordinates whose weight is not zero."""
        return int(self.arrays.counts[kernels.N_NONZERO])

    def touched_pages(self) -> Int64:
        """The numbers (int64, sorted) of the pages ever updated."""
        return _numbers(self._taken | self.arrays.changed)

    def take_changed_pages(self) -> Int64:
        """The numbers (int64, sorted) of the pages updated since this was last called."""
        changed = self.arrays.changed
        pages = _numbers(changed)
        self._taken |= changed
        changed[:] = 0
        return pages

    def copy_pages(self, pages: Int64) -> NDArray[Any]:
        """A copy of the cells of ``pages``, of shape (len(pages), PAGE)."""
        cells: NDArray[Any] = self.cells.reshape(-1, PAGE)[self.check_pages(pages)]
        return cells

    def check_pages(self, pages: Int64) -> Int64:
        """``pages`` as int64; IncompatibleError when this table does not have them all."""
        pages = np.ascontiguousarray(pages, np.int64)
        if len(pages) and not (pages.min() >= 0 and pages.max() < self.pages):
            raise IncompatibleError(
                f"page {pages.max()} is not in a table of 2^{self.bits} coordinates, "
                f"which has the pages 0 to {self.pages - 1}"
            )
        return pages
