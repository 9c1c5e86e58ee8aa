"""Runs of predicted features: the members that most events are made of, read without a detour.

Events of one producer have their names in one order, so that the name that followed a name last
time is known before it is read. As long as the guess is right and the value is plain (text of at
most 31 bytes, an array of such, a short number, true or false) a member costs one comparison and
one search for the value's end. All values of a run are hashed together at its end: one by one each
hash waits for its own multiplications, and keeps the processor from reading ahead. Anything else
ends the run, and is read by ``ctr.kernels.events`` as if there were none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import names as roles
from ctr.kernels.block32 import equal32
from ctr.kernels.characters import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COMMA,
    OPEN_ARRAY,
    QUOTE,
)
from ctr.kernels.hashing import BUCKET, TEXT, feature_key, finish, step
from ctr.kernels.memory import byte, load64, trailing_zeros
from ctr.kernels.names import AFTER_NAME, BEFORE_NAME, feature_place
from ctr.kernels.options import part
from ctr.kernels.plain import AS_TEXT, plain_text, read_plain
from ctr.kernels.rows import LONGEST_RUN, NNZ, TOP, link

_ZERO, _ONE, _8, _64 = (np.uint64(n) for n in (0, 1, 8, 64))
_7, _ALL = np.uint64(7), np.uint64(0xFFFFFFFFFFFFFFFF)
_NO_NAME = _FAILED = np.int64(-1)
_BUCKETED = np.uint64(1 << 32)  # in place of a size: what is pending is a bucket
# where the parts of a value that is not hashed yet are in Work.pending
_FIRST, _SECOND, _SIZE, _NAME = (np.uint64(k * LONGEST_RUN) for k in range(1, 5))


@part
def read_run(
    buffer: Any,
    i: int,
    end: int,
    spec: Any,
    names: Any,
    work: Any,
    rows: Any,
    place: int,
    parent: int,
    before: int,
) -> tuple[int, int]:
    """Read members from the quote at ``i`` on: where the last one's value ends, and its entry.

    ``place`` and ``parent`` are those of the object it stands in, ``before`` is the entry of the
    name before. If there is no such member ``i`` and ``before`` are returned.
    """
    first = rows.counts[NNZ]
    nnz = first
    row_start = work.current[0].row_start
    most = min(row_start + spec.max_features, first + LONGEST_RUN - 1)
    serial = names.counts[roles.SERIAL]
    wanted = feature_place(place, parent)
    before = max(before, 0)
    name = _NO_NAME
    start = i - 1  # of the first member this may be a brace, and is taken for a comma
    given = _ONE
    while nnz <= most:
        entry = np.int64(names.entries[np.uint64(before)].following)
        known = names.entries[np.uint64(entry)]
        length = BEFORE_NAME + np.int64(known.length) + AFTER_NAME
        if known.feature_place != wanted:
            break
        same = equal32(buffer, start, names.arena, np.int64(known.start) - BEFORE_NAME) | given
        agreed = trailing_zeros(~same)
        value = start + length
        k = np.uint64(nnz - first)
        count = np.int64(1)
        if agreed >= length:
            size = plain_text(buffer, value)
            after = value + size + 1
            if size < 0:
                break
            _put_off(buffer, value, size, spec.seed, work.pending, k, known.hash)
        elif agreed < length - 1:
            break
        elif byte(buffer, value - 1) == OPEN_ARRAY:
            count, after = _put_off_array(
                buffer, value, end, spec.seed, work.pending, k, most - nnz, known.hash
            )
            if count < 0 or known.column >= 0:
                break
            for n in range(nnz + 1, nnz + count):
                rows.name_ids[np.uint64(n)] = entry
        else:
            size, bucket = read_plain(buffer, value - 1, np.int64(known.kind))
            after = value - 1 + size
            follows = byte(buffer, after)
            if size == 0 or (follows != COMMA and follows != CLOSE_OBJECT):
                break
            if bucket == AS_TEXT:
                _put_off(buffer, value - 1, size, spec.seed, work.pending, k, known.hash)
            else:
                work.pending[k] = np.uint64(bucket)
                work.pending[_SIZE + k] = _BUCKETED
                work.pending[_NAME + k] = known.hash
        if after > end:
            break
        if place == TOP:
            if known.stamp == serial:
                break
            names.entries[np.uint64(entry)].stamp = serial
        rows.name_ids[np.uint64(nnz)] = entry
        if known.column >= 0:
            link(work, np.int64(known.column), nnz - row_start)
        nnz += count
        before = entry
        name = start + BEFORE_NAME
        start = after
        given = _ZERO
    if name == _NO_NAME:
        return i, before
    _hash_run(work.pending, rows.keys, rows.values, np.uint64(first), np.uint64(nnz - first))
    rows.counts[NNZ] = nnz
    work.current[0].key_start = name
    work.current[0].key_end = name + np.int64(names.entries[before].length)
    return start, before


@part
def _put_off_array(
    buffer: Any, i: int, end: int, seed: Any, pending: Any, k: Any, more: int, name: Any
) -> tuple[int, int]:
    """Put off the texts, at most ``more`` + 1, of the array whose bracket is before ``i``: their
    number, and where it ends. The number is below 0 if there is anything else in it.
    """
    count = np.int64(0)
    if byte(buffer, i) == CLOSE_ARRAY:
        return count, i + 1
    while i < end and byte(buffer, i) == QUOTE and count <= more:
        size = plain_text(buffer, i + 1)
        if size < 0:
            break
        _put_off(buffer, i + 1, size, seed, pending, k + np.uint64(count), name)
        count += 1
        i += size + 2
        if byte(buffer, i) == CLOSE_ARRAY:
            return count, i + 1
        if byte(buffer, i) != COMMA:
            break
        i += 1
    return _FAILED, i


@part
def _put_off(buffer: Any, i: int, size: int, seed: Any, pending: Any, k: Any, name: Any) -> None:
    """Keep the last 1 to 16 of ``size`` bytes, and the hash of those before them."""
    pending[_NAME + k] = name
    rest = size
    while rest > 16:
        seed = step(seed, load64(buffer, i))
        i += 8
        rest -= 8
    pending[k] = seed
    pending[_FIRST + k] = load64(buffer, i)
    pending[_SECOND + k] = load64(buffer, i + 8)
    pending[_SIZE + k] = np.uint64(size)


@part
def _hash_run(pending: Any, keys: Any, values: Any, first: Any, count: Any) -> None:
    """The keys of ``count`` features from ``first`` on: without a branch, so that it is made of
    vector instructions.
    """
    for n in range(count):
        k = np.uint64(n)
        size = pending[_SIZE + k]
        h = pending[k]
        one = step(h, pending[_FIRST + k] & (_ALL >> (_64 - _8 * min(size, _8))))
        last = ((size - _ONE) & _7) + _ONE
        two = step(one, pending[_SECOND + k] & (_ALL >> (_64 - _8 * last)))
        h = two if size > _8 else one if size > _ZERO else h
        bucketed = size == _BUCKETED
        value = pending[k] if bucketed else finish(h, size)
        kind = BUCKET if bucketed else TEXT
        keys[first + k] = feature_key(pending[_NAME + k], kind, value)
        values[first + k] = 1.0
