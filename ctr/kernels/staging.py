"""Changing stored pages while others read them: new chunks aside, then the directory's entries.

The layout is that of ``ctr.kernels.pages``. Chunks are packed into cache lines: of a few lines
that have room left (``packing``) each goes into the one that it fills best. Nothing that the
directory points to is ever written to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.memory import prefetch, prefetch_read, trailing_zeros
from ctr.kernels.options import inline, jit
from ctr.kernels.pages import (
    BYTES,
    COUNT,
    MASKS,
    SHIFT,
    TRAVEL,
    digest_term,
    is_narrow,
    span_bits,
    unpack_span,
    values_from,
)

LINE = 32
"""Units of a cache line."""

OPEN = 8
"""Lines that have room left and are tried for the next chunk."""

AHEAD = 16
"""How many changed pages ahead directory entries are fetched; chunks half as many."""

_REACH = 9
"""Units from a chunk's beginning that a lookup loads at once, however short the chunk is."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)


@inline
def claim(packing: Any, size: Any) -> Any:
    """Where a chunk of ``size`` units goes: into one line if it fits into one.

    ``packing`` (int64[1 + OPEN]) has the first line never used, and the first free unit of each
    line that has room left: at the end of a line there is none.
    """
    if size > LINE:
        at = packing[0]
        packing[0] += (size + LINE - 1) // LINE * LINE
        return at
    reach = max(size, _REACH)
    best, tightest, fullest, least = 0, LINE + 1, 1, LINE + 1
    for k in range(1, len(packing)):
        room = -packing[k] & (LINE - 1)
        if reach <= room < tightest:
            best, tightest = k, room
        if room < least:
            fullest, least = k, room
    if best == 0:
        best = fullest
        packing[best] = packing[0]
        packing[0] += LINE
    at = packing[best]
    packing[best] += size
    return at


@inline
def as_unit(number: Any) -> Any:
    """A number of 16 bits as the int16 of the same bits."""
    return np.int16(number - ((number & 0x8000) << 1))


@inline
def write_chunk(to: Any, at: Any, where: Any, what: Any, first: Any, last: Any, broad: Any) -> None:
    """Write the weights ``first`` to ``last - 1`` of a list as the chunk at unit ``at``."""
    shift, count = np.int64(to.layout[SHIFT]), last - first
    low, values = (1 << shift) - 1, at + values_from(shift, count)
    to.units[at] = as_unit(count | (0x8000 if broad else 0))
    if shift <= MASKS:
        mask = 0
        for k in range(first, last):
            mask |= 1 << (where[k] & low)
        to.units[at + 1] = as_unit(mask)
    elif shift <= BYTES:
        to.octets[2 * values - 1] = 0
        for k in range(first, last):
            to.octets[2 * at + 2 + k - first] = np.uint8(where[k] & low)
    else:
        for k in range(first, last):
            to.units[at + 1 + k - first] = np.int16(where[k] & low)
    for k in range(first, last):
        if broad:
            bits = np.int64(np.float32(what[k]).view(np.uint32))
            to.units[values + 2 * (k - first)] = as_unit(bits & 0xFFFF)
            to.units[values + 2 * (k - first) + 1] = as_unit(bits >> 16)
        else:
            to.units[values + k - first] = np.int16(what[k] * np.float32(8192.0))


@inline
def copy_chunk(arrays: Any, at: Any, to: Any, packing: Any, writing: Any) -> Any:
    """Take a chunk over as it is; returns its unit there, 0 for none."""
    if at == 0:
        return at
    head, shift = np.int64(arrays.units[at]), np.int64(to.layout[SHIFT])
    count = head & COUNT
    size = values_from(shift, count) + count * (2 if head < 0 else 1)
    entry = claim(packing, size)
    if writing:
        for k in range(size):
            to.units[entry + k] = arrays.units[at + k]
    return entry


@inline
def merge(
    had: Any,
    had_what: Any,
    n: Any,
    start: Any,
    pages: Any,
    ids: Any,
    masks: Any,
    values: Any,
    replace: Any,
    i: Any,
    at: Any,
    where: Any,
    what: Any,
) -> Any:
    """The ``n`` weights of a span with what is listed for its pages, from page ``i`` on.

    The span begins at coordinate ``start`` and its pages end before ``pages``. Returns how many
    weights it has then, in ``where`` and ``what``; the page and the value listed next; the change
    of the digest and of the count of weights that are no q2.13 numbers.
    """
    a, m, digest, broad = 0, 0, _ZERO, 0
    while i < len(ids) and ids[i] < pages:
        base, left = (ids[i] << TRAVEL) - start, masks[i]
        while a < n and had[a] < base:
            where[m], what[m] = had[a], had_what[a]
            a, m = a + 1, m + 1
        listed = True
        while listed:
            listed = left != _ZERO
            position = base + (trailing_zeros(left) if listed else 64)
            while a < n and had[a] < position:
                if replace:
                    digest -= digest_term(start + had[a], had_what[a])
                    broad -= np.int64(not is_narrow(had_what[a]))
                else:
                    where[m], what[m] = had[a], had_what[a]
                    m += 1
                a += 1
            if listed:
                left = left & (left - _ONE)
                old, new = np.float32(0.0), values[at]
                at += 1
                if a < n and had[a] == position:
                    old = had_what[a]
                    a += 1
                if old != new:
                    digest += digest_term(start + position, new)
                    digest -= digest_term(start + position, old)
                    broad += np.int64(not is_narrow(new)) - np.int64(not is_narrow(old))
                if new != np.float32(0.0):
                    where[m], what[m] = position, new
                    m += 1
        i += 1
    while a < n:
        where[m], what[m] = had[a], had_what[a]
        a, m = a + 1, m + 1
    return m, i, at, digest, broad


@jit
def lay(
    arrays: Any,
    ids: Any,
    masks: Any,
    values: Any,
    replace: bool,
    to: Any,
    packing: Any,
    numbers: Any,
    entries: Any,
    whole: bool,
    writing: bool,
) -> Any:
    """Lay out the stored pages that a patch changes (``replace``: whose content it replaces).

    They go to the arena of ``to``, which may be that of ``arrays`` itself, where ``packing`` says,
    and which ones they are and their new entries of the directory to ``numbers`` (int64) and
    ``entries`` (uint32). With ``whole`` all pages are, in the shift of ``to``, and their entries
    go to its directory, which was all 0. When ``packing`` says more in the end than there is room,
    not all has been written; without ``writing`` nothing is, to learn how much is needed.

    Returns the change of the counts of weights and of weights that are no q2.13 numbers, the
    change of the digest, and how many stored pages there are to change.
    """
    source, target = np.int64(arrays.layout[SHIFT]), np.int64(to.layout[SHIFT])
    bits = span_bits(source, target)
    fold, each = bits - TRAVEL, 1 << (bits - target)
    had, had_what = np.empty(1 << bits, np.int64), np.empty(1 << bits, np.float32)
    where, what = np.empty(1 << bits, np.int64), np.empty(1 << bits, np.float32)
    room = len(to.units)
    spans = (len(arrays.directory) << source) >> bits
    same = source == target
    count, broad_count, digest, done, i, at, span = 0, 0, _ZERO, 0, 0, 0, np.int64(0)
    while (whole and span < spans) or i < len(ids):
        if not whole:
            span = ids[i] >> fold
            if i + AHEAD < len(ids):
                far, near = ids[i + AHEAD], ids[i + AHEAD // 2]
                prefetch_read(arrays.directory, (far << TRAVEL) >> source)
                prefetch_read(arrays.units, arrays.directory[(near << TRAVEL) >> source])
        elif same and (i == len(ids) or ids[i] >> fold != span):
            for page in range(span * each, (span + 1) * each):
                at_old = np.int64(arrays.directory[page])
                entry = copy_chunk(arrays, at_old, to, packing, writing)
                if writing:
                    to.directory[page] = np.uint32(entry)
            span += 1
            continue
        n = unpack_span(arrays, bits, span, had, had_what)
        m, i, at, change, broad_change = merge(
            had,
            had_what,
            n,
            span << bits,
            (span + 1) << fold,
            ids,
            masks,
            values,
            replace,
            i,
            at,
            where,
            what,
        )
        count, digest, broad_count = count + m - n, digest + change, broad_count + broad_change
        last = 0
        for page in range(span * each, (span + 1) * each):
            first, end, broad = last, (page + 1 - span * each) << target, False
            while last < m and where[last] < end:
                broad = broad or not is_narrow(what[last])
                last += 1
            entry = 0
            if last > first:
                size = values_from(target, last - first) + (last - first) * (2 if broad else 1)
                entry = claim(packing, size)
            if writing:
                if last > first and packing[0] <= room:
                    write_chunk(to, entry, where, what, first, last, broad)
                if whole:
                    to.directory[page] = np.uint32(entry)
                else:
                    numbers[done], entries[done] = page, np.uint32(entry)
            done += 1
        span += 1
    return count, broad_count, digest, done


@jit
def commit(directory: Any, numbers: Any, entries: Any) -> None:
    """Point the directory's entries ``numbers`` to their new chunks: the moment of change."""
    for i in range(len(numbers)):
        if i + AHEAD < len(numbers):
            prefetch(directory, numbers[i + AHEAD])
        directory[numbers[i]] = entries[i]
