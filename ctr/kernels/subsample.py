"""Which events are kept when some without a click are left out, and the rows of those alone.

Whether an event is kept depends on its id (or its address) and the seed, and on nothing else: no
state, no order, no neighbour.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.hashing import finish, hash_bytes, step
from ctr.kernels.options import inline, jit

PADDING = 8
"""Zero bytes behind the name of a source."""

_SALT = np.uint64(0xD6E8FEB86659FD93)
"""Keeps these hashes apart from those of features, which start from their own seed."""


@inline
def event_bits(
    buffer: Any, start: int, end: int, address: Any, offset: int, line: int, state: Any
) -> Any:
    """64 well-mixed bits of an event: of its id ``buffer[start:end]``; without one, of its address.

    ``address`` and ``state`` (uint64) are the hash of its source and what the seed has become.
    """
    if start < end:
        return hash_bytes(buffer, start, end, state)
    return finish(step(step(address, np.uint64(offset)), np.uint64(line)), 2)


@inline
def is_kept(label: Any, bits: Any, bound: Any) -> bool:
    """A click always, another event with probability ``bound`` / 2^64 (both uint64)."""
    return label > 0.0 or bits < bound


@jit
def keep_rows(
    buffer: Any,
    offsets: Any,
    labels: Any,
    id_starts: Any,
    id_ends: Any,
    records: Any,
    lines: Any,
    place: Any,
    seed: Any,
    bound: Any,
) -> Any:
    """The rows (int64, ascending) of the events that are kept.

    ``buffer`` (uint8) and ``offsets`` (int64) are those of ``Records``, the columns from
    ``labels`` to ``lines`` those of ``Events``. ``place`` (uint8) is the name of the source and
    ``PADDING`` zeros; ``seed`` and ``bound`` are uint64. Mutates nothing.
    """
    state = finish(step(_SALT, seed), 1)
    address = hash_bytes(place, 0, len(place) - PADDING, state)
    kept = np.empty(len(labels), np.int64)
    count = 0
    for i in range(len(labels)):
        bits = event_bits(
            buffer, id_starts[i], id_ends[i], address, offsets[records[i]], lines[i], state
        )
        if is_kept(labels[i], bits, bound):
            kept[count] = i
            count += 1
    return kept[:count]


@jit
def take_rows(rows: Any, indptr: Any, keys: Any, values: Any, name_ids: Any) -> Any:
    """``(indptr, keys, values, name_ids)`` of these rows (int64, ascending) alone, in new arrays.

    ``indptr``: int64[N + 1]; ``keys`` (uint64), ``values`` (float32) and ``name_ids`` (int32) have
    an item for each coordinate. Mutates nothing.
    """
    starts = np.zeros(len(rows) + 1, np.int64)
    for k in range(len(rows)):
        starts[k + 1] = starts[k] + indptr[rows[k] + 1] - indptr[rows[k]]
    nnz = starts[len(rows)]
    taken_keys = np.empty(nnz, np.uint64)
    taken_values = np.empty(nnz, np.float32)
    taken_ids = np.empty(nnz, np.int32)
    for k in range(len(rows)):
        first, at = indptr[rows[k]], starts[k]
        for j in range(starts[k + 1] - at):
            taken_keys[at + j] = keys[first + j]
            taken_values[at + j] = values[first + j]
            taken_ids[at + j] = name_ids[first + j]
    return starts, taken_keys, taken_values, taken_ids
