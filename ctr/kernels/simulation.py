"""Putting lines together from pieces of bytes: what makes the simulator fast."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.options import inline, jit


@inline
def copy_piece(pool: Any, start: int, length: int, out: Any, at: int) -> int:
    """Copy ``pool[start:start+length]`` to ``out[at:]``; returns the end of the copy."""
    for j in range(length):
        out[at + j] = pool[start + j]
    return at + length


@jit
def join_pieces(pool: Any, starts: Any, lengths: Any) -> Any:
    """Row by row, the pieces ``pool[starts[i, j]:starts[i, j] + lengths[i, j]]`` one after another.

    ``pool``: uint8; ``starts`` and ``lengths``: int64 of shape (rows, pieces), all within the
    pool. Returns (content, offsets): uint8 of the rows end to end, and int64 of rows + 1 with
    row i at ``content[offsets[i]:offsets[i + 1]]``. Mutates nothing.
    """
    rows, pieces = starts.shape
    offsets = np.empty(rows + 1, np.int64)
    offsets[0] = 0
    for i in range(rows):
        total = offsets[i]
        for j in range(pieces):
            total += lengths[i, j]
        offsets[i + 1] = total
    content = np.empty(offsets[rows], np.uint8)
    for i in range(rows):
        at = offsets[i]
        for j in range(pieces):
            at = copy_piece(pool, starts[i, j], lengths[i, j], content, at)
    return content, offsets
