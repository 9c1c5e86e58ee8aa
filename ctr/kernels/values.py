"""A feature's value -> coordinates of the row; time features and crosses after all members."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import names as roles
from ctr.kernels import reasons
from ctr.kernels.buckets import log_bucket
from ctr.kernels.characters import (
    CLOSE_ARRAY,
    COMMA,
    LETTER_F,
    LETTER_N,
    LETTER_T,
    MINUS,
    OPEN_ARRAY,
    OPEN_OBJECT,
    QUOTE,
    skip_blank,
)
from ctr.kernels.hashing import (
    BUCKET,
    DOUBLE,
    LINEAR,
    TEXT,
    feature_key,
    finish,
    hash_bytes,
    hash_double,
    step,
)
from ctr.kernels.memory import byte
from ctr.kernels.number import read_number
from ctr.kernels.options import aside, part
from ctr.kernels.rows import MAX_TOKEN, NNZ, NO_MARK, link
from ctr.kernels.scan import skip_literal, skip_number
from ctr.kernels.strings import read_string

_NO_COLUMN = np.int64(-1)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@part
def start_row(work: Any, rows: Any) -> None:
    """A row of the bias alone: key 0, value 1."""
    nnz = rows.counts[NNZ]
    rows.keys[nnz] = 0
    rows.values[nnz] = 1.0
    rows.name_ids[nnz] = 0
    rows.counts[NNZ] = nnz + 1
    for column in range(len(work.columns)):
        work.columns[column].head = NO_MARK


@part
def emit(spec: Any, work: Any, rows: Any, entry: int, column: int, key: Any, x: float) -> int:
    """Append a coordinate; ``column`` >= 0 remembers it for crosses."""
    nnz = rows.counts[NNZ]
    if nnz - work.current[0].row_start > spec.max_features:
        return reasons.TOO_MANY
    rows.keys[nnz] = key
    rows.values[nnz] = x
    rows.name_ids[nnz] = entry
    rows.counts[NNZ] = nnz + 1
    if column >= 0:
        link(work, column, nnz - work.current[0].row_start)
    return reasons.OK


@part
def read_feature(
    buffer: Any,
    i: int,
    end: int,
    spec: Any,
    names: Any,
    work: Any,
    rows: Any,
    entry: int,
    hashed: Any,
) -> tuple[int, int]:
    """One feature's value: a code, and where it ends."""
    c = byte(buffer, i)
    column = np.int64(names.entries[entry].column) if entry >= 0 else _NO_COLUMN
    if c == QUOTE:
        i, value = read_string(buffer, i + 1, end, spec.seed, work.scratch)
        if i < 0:
            return reasons.MALFORMED, i
        key = feature_key(hashed, TEXT, value)
        return emit(spec, work, rows, entry, column, key, 1.0), i
    if c == MINUS or 48 <= c <= 57:
        kind = np.int64(names.entries[entry].kind) if entry >= 0 else roles.AUTO
        return _read_numeric(buffer, i, end, spec, work, rows, entry, column, hashed, kind)
    if c == OPEN_ARRAY:
        return _read_array(buffer, i, end, spec, work, rows, entry, column, hashed)
    if c == OPEN_OBJECT:
        return reasons.NESTED, i
    if c != LETTER_T and c != LETTER_F and c != LETTER_N:
        return reasons.MALFORMED, i
    after = skip_literal(buffer, i, end)
    if after < 0:
        return reasons.MALFORMED, after
    if c == LETTER_N:
        return reasons.OK, after
    key = feature_key(hashed, TEXT, hash_bytes(buffer, i, after, spec.seed))
    return emit(spec, work, rows, entry, column, key, 1.0), after


@aside
def _read_array(
    buffer: Any,
    i: int,
    end: int,
    spec: Any,
    work: Any,
    rows: Any,
    entry: int,
    column: int,
    hashed: Any,
) -> tuple[int, int]:
    """Strings of one name: one category each."""
    i = skip_blank(buffer, i + 1, end)
    if i < end and byte(buffer, i) == CLOSE_ARRAY:
        return reasons.OK, i + 1
    while i < end:
        if byte(buffer, i) != QUOTE:
            return reasons.NESTED, i
        i, value = read_string(buffer, i + 1, end, spec.seed, work.scratch)
        if i < 0:
            return reasons.MALFORMED, i
        code = emit(spec, work, rows, entry, column, feature_key(hashed, TEXT, value), 1.0)
        if code != reasons.OK:
            return code, i
        i = skip_blank(buffer, i, end)
        if i < end and byte(buffer, i) == CLOSE_ARRAY:
            return reasons.OK, i + 1
        if i >= end or byte(buffer, i) != COMMA:
            return reasons.MALFORMED, i
        i = skip_blank(buffer, i + 1, end)
    return reasons.MALFORMED, i


@part
def _read_numeric(
    buffer: Any,
    i: int,
    end: int,
    spec: Any,
    work: Any,
    rows: Any,
    entry: int,
    column: int,
    hashed: Any,
    kind: int,
) -> tuple[int, int]:
    start = i
    i, integer = skip_number(buffer, i, end)
    if i < 0:
        return reasons.MALFORMED, i
    if i - start > MAX_TOKEN:
        return reasons.NUMBER, i
    if integer and (kind == roles.AUTO or kind == roles.CATEGORICAL):
        key = feature_key(hashed, TEXT, hash_bytes(buffer, start, i, spec.seed))
        return emit(spec, work, rows, entry, column, key, 1.0), i
    exact = read_number(buffer, start, i)
    x = np.float64(np.float32(exact))
    if np.isinf(x):
        return reasons.NUMBER, i
    if kind == roles.CATEGORICAL:
        key = feature_key(hashed, DOUBLE, hash_double(exact, spec.seed))
        return emit(spec, work, rows, entry, column, key, 1.0), i
    if kind == roles.LINEAR:
        if abs(x) > spec.max_abs_value:
            return reasons.VALUE, i
        if x == 0.0:
            return reasons.OK, i
        key = feature_key(hashed, LINEAR, _ZERO)
        return emit(spec, work, rows, entry, column, key, x), i
    key = feature_key(hashed, BUCKET, np.uint64(log_bucket(x)))
    return emit(spec, work, rows, entry, column, key, 1.0), i


@aside
def emit_time_features(spec: Any, work: Any, rows: Any, ts: int) -> int:
    """Hour of day and day of week of ``ts`` (milliseconds) in the specification's zone."""
    seconds = ts // 1000
    row = np.searchsorted(spec.zone_starts, seconds, side="right") - 1
    seconds += spec.zone_offsets[max(row, 0)]
    code = reasons.OK
    if spec.hour_entry >= 0:
        key = spec.hour_keys[(seconds // 3600) % 24]
        code = emit(spec, work, rows, spec.hour_entry, spec.hour_column, key, 1.0)
    if spec.dow_entry >= 0 and code == reasons.OK:
        key = spec.dow_keys[(seconds // 86400 + 3) % 7]  # the epoch was a Thursday
        code = emit(spec, work, rows, spec.dow_entry, spec.dow_column, key, 1.0)
    return code


@aside
def emit_crosses(spec: Any, work: Any, rows: Any) -> int:
    """Every product of values of a cross's columns, the last column turning fastest."""
    for cross in range(len(spec.cross_entries)):
        first, last = spec.cross_starts[cross], spec.cross_starts[cross + 1]
        complete = True
        for k in range(first, last):
            work.picks[k - first] = work.columns[spec.cross_columns[k]].head
            complete = complete and work.picks[k - first] != NO_MARK
        while complete:
            code = _emit_product(spec, work, rows, cross, last - first)
            if code != reasons.OK:
                return code
            complete = _advance(spec, work, first, last)
    return reasons.OK


@aside
def _emit_product(spec: Any, work: Any, rows: Any, cross: int, columns: int) -> int:
    h = spec.seed
    x = 1.0
    for k in range(columns):
        at = work.current[0].row_start + work.picks[k]
        h = step(h, rows.keys[at])
        x *= np.float64(rows.values[at])
    x = np.float64(np.float32(x))
    if abs(x) > spec.max_abs_value:
        return reasons.VALUE
    if x == 0.0:
        return reasons.OK
    key = finish(h, columns)
    entry = np.int64(spec.cross_entries[cross])
    return emit(spec, work, rows, entry, _NO_COLUMN, key if key != _ZERO else _ONE, x)


@aside
def _advance(spec: Any, work: Any, first: int, last: int) -> bool:
    """The next combination of a cross's columns, or False after the last one."""
    for k in range(last - 1, first - 1, -1):
        following = work.nexts[work.picks[k - first]]
        if following != NO_MARK:
            work.picks[k - first] = following
            return True
        work.picks[k - first] = work.columns[spec.cross_columns[k]].head
    return False
