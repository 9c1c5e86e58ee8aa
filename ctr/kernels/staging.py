"""Changing sparse pages while others read them: plan, place the new values aside, commit.

The layout is that of ``ctr.kernels.pages``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.memory import trailing_zeros
from ctr.kernels.options import inline, jit
from ctr.kernels.pages import (
    WIDE,
    digest_term,
    is_narrow,
    lay_over,
    popcount,
    units_of,
    unpack_page,
)

_ZERO, _ONE = np.uint64(0), np.uint64(1)


@inline
def end_of(used: Any, mask: Any, broad: bool) -> Any:
    """The units used after a page is put behind ``used`` others; a wide page starts even."""
    if broad:
        return used + (used & 1) + 2 * popcount(mask)
    return used + popcount(mask)


@jit
def plan(
    directory: Any,
    narrow: Any,
    wide: Any,
    ids: Any,
    masks: Any,
    values: Any,
    replace: bool,
    new: Any,
) -> Any:
    """What pages will look like after a patch, or after their content is replaced.

    Writes each one's mask to ``new`` (ENTRY[k]) and whether it is WIDE to its offset. Returns the
    change of the model's non-zero count and of its digest, and the units needed from an even one
    on.
    """
    before, after = np.empty(64, np.float32), np.empty(64, np.float32)
    count, digest, needed, at = 0, _ZERO, 0, 0
    for i in range(len(ids)):
        old = unpack_page(directory, narrow, wide, ids[i], before)
        if replace:
            after[:] = np.float32(0.0)
        else:
            after[:] = before
        at = lay_over(masks[i], values, at, after)
        union, mask, broad = old | masks[i], _ZERO, False
        while union != _ZERO:
            j = trailing_zeros(union)
            union = union & (union - _ONE)
            if before[j] != after[j]:
                coordinate = (np.uint64(ids[i]) << np.uint64(6)) | np.uint64(j)
                digest += digest_term(coordinate, after[j]) - digest_term(coordinate, before[j])
            if after[j] != np.float32(0.0):
                mask |= _ONE << np.uint64(j)
                broad = broad or not is_narrow(after[j])
        new[i]["mask"] = mask
        new[i]["offset"] = WIDE if broad else np.uint32(0)
        count += popcount(mask) - popcount(old)
        needed = end_of(needed, mask, broad)
    return count, digest, needed


@jit
def place(
    directory: Any,
    narrow: Any,
    wide: Any,
    ids: Any,
    masks: Any,
    values: Any,
    replace: bool,
    new: Any,
    to_narrow: Any,
    to_wide: Any,
    used: int,
) -> int:
    """Write the planned pages to an arena from unit ``used`` on; returns the units then used.

    ``new`` gets the offsets. Nothing that the directory points to is touched, so others may read
    the model meanwhile.
    """
    page = np.empty(64, np.float32)
    at = 0
    for i in range(len(ids)):
        if replace:
            page[:] = np.float32(0.0)
        else:
            unpack_page(directory, narrow, wide, ids[i], page)
        at = lay_over(masks[i], values, at, page)
        left, broad = new[i]["mask"], new[i]["offset"] & WIDE
        if broad:
            used += used & 1
        new[i]["offset"] = np.uint32(used) | broad
        while left != _ZERO:
            value = page[trailing_zeros(left)]
            left = left & (left - _ONE)
            if broad:
                to_wide[used >> 1] = value
                used += 2
            else:
                to_narrow[used] = np.int16(value * np.float32(8192.0))
                used += 1
    return used


@jit
def commit(directory: Any, ids: Any, new: Any) -> None:
    """Point the directory's entries ``ids`` to their new places: the moment of change."""
    for i in range(len(ids)):
        directory[ids[i]]["mask"] = new[i]["mask"]
        directory[ids[i]]["offset"] = new[i]["offset"]


@jit
def compacted_units(directory: Any, to_directory: Any) -> int:
    """The units that ``compact`` will use."""
    used = 0
    for p in range(len(to_directory)):
        mask = to_directory[p]["mask"]
        if mask != _ZERO:
            used = end_of(used, mask, directory[p]["offset"] & WIDE != np.uint32(0))
    return used


@jit
def compact(directory: Any, narrow: Any, to_directory: Any, to_narrow: Any) -> int:
    """Copy all pages, without the gaps between them, to an empty arena; returns its used units.

    ``to_directory`` holds the masks to copy (0 leaves a page out) and gets the offsets.
    """
    used = 0
    for p in range(len(to_directory)):
        mask = to_directory[p]["mask"]
        if mask == _ZERO:
            continue
        broad = directory[p]["offset"] & WIDE
        source = units_of(directory[p]["offset"])
        end = end_of(used, mask, broad != np.uint32(0))
        at = used + (used & 1) if broad else used
        to_directory[p]["offset"] = np.uint32(at) | broad
        while at < end:
            to_narrow[at] = narrow[source]
            at, source = at + 1, source + 1
        used = end
    return used
