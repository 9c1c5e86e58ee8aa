"""Vowpal Wabbit's text, one line an event -> the rows that ``ctr.kernels.records`` makes of JSON.

The format and its verdicts are in ``docs/events.md``; the slow twin is ``tests/vw_oracle.py``.
There is no second look at bad lines: what is wrong first, from left to right, is the reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import names as roles
from ctr.kernels import reasons
from ctr.kernels.characters import COLON, NEWLINE, is_blank, skip_blank
from ctr.kernels.events import begin_event, finish_event
from ctr.kernels.hashing import TEXT, feature_key, finish, nested_name, step
from ctr.kernels.names import enter, find, forget, inside_features
from ctr.kernels.options import inline, jit, outline
from ctr.kernels.records import conclude, is_full, line_end
from ctr.kernels.rows import INSIDE, NNZ
from ctr.kernels.values import emit
from ctr.kernels.vw_text import (
    BAR,
    TICK,
    hash_of_digits,
    may_be_number,
    read_category,
    read_decimal,
    read_text,
)

# numpy integers: a plain constant as an argument would have the callee compiled once more
_NOBODY, _NONE, _INSIDE = np.int64(-1), np.int64(0), np.int64(INSIDE)
_MIN_WEIGHT, _MAX_WEIGHT = 1e-6, 1e6
_SPACE = np.uint64(32)


@jit
def parse_lines(
    buffer: Any,
    starts: Any,
    ends: Any,
    timestamps: Any,
    spec: Any,
    names: Any,
    work: Any,
    rows: Any,
    cursor: Any,
) -> bool:
    """``ctr.kernels.records.parse`` of records for Vowpal Wabbit's text; reasons are final."""
    record, i, line, found = cursor[0], cursor[1], cursor[2], cursor[3]
    while record < len(starts):
        end = ends[record]
        if i < 0:
            i, line, found = starts[record], 0, 0
        while True:
            if is_full(rows, spec.max_features):
                cursor[0], cursor[1], cursor[2], cursor[3] = record, i, line, found
                return False
            line_start = i
            while i < end and (is_blank(buffer[i]) or buffer[i] == NEWLINE):
                if buffer[i] == NEWLINE:
                    line += 1
                    line_start = i + 1
                i += 1
            if i >= end:
                break
            known = names.counts[roles.COUNT]
            begin_event(names, work, rows, timestamps[record])
            code, i = _read_line(buffer, i, end, spec, names, work, rows)
            if code == reasons.OK:
                code = finish_event(spec, work, rows)
            else:
                i = line_end(buffer, i, end)
            if i - line_start > spec.max_event_bytes:
                code = reasons.TOO_LONG
            if code != reasons.OK and code != reasons.SKIPPED:
                forget(names, known)
            conclude(rows, work, code, line_start, i, record, line)
            found += 1
        if found == 0:
            work.current[0].key_start = -1
            work.current[0].key_end = -1
            work.current[0].row_start = rows.counts[NNZ]
            too_long = end - starts[record] > spec.max_event_bytes
            code = reasons.TOO_LONG if too_long else reasons.EMPTY
            conclude(rows, work, code, starts[record], end, record, found)
        record += 1
        i = -1
    return True


@inline
def _read_line(
    buffer: Any, i: int, end: int, spec: Any, names: Any, work: Any, rows: Any
) -> tuple[int, int]:
    """Read the line at ``i`` into the row that was begun: a reason, and where it stopped.

    On OK that is where the line ends, else some place in it.
    """
    bar = _next_bar(buffer, i, end)
    if bar >= end or buffer[bar] != BAR:
        return reasons.SYNTAX, bar
    if not spec.predicting:
        code = _read_head(buffer, i, bar, work.current)
        if code != reasons.OK:
            return code, bar
    i = bar
    while i < end and buffer[i] == BAR:
        code, i = _read_namespace(buffer, i + 1, end, spec, names, work, rows)
        if code != reasons.OK:
            return code, i
    return reasons.OK, i


@outline
def _next_bar(buffer: Any, i: int, end: int) -> int:
    """The first bar or newline from ``i``, or ``end``."""
    while i < end and buffer[i] != BAR and buffer[i] != NEWLINE:
        i += 1
    return i


@outline
def _read_head(buffer: Any, i: int, bar: int, current: Any) -> int:
    """What stands before the first bar: label, importance, base, tag; a reason or OK."""
    count = _NONE
    i = skip_blank(buffer, i, bar)
    while i < bar:
        start = i
        while i < bar and not is_blank(buffer[i]):
            i += 1
        after = skip_blank(buffer, i, bar)
        if after == bar and (i == bar or buffer[start] == TICK):
            start += buffer[start] == TICK
            if start < i:
                current[0].id_start, current[0].id_end = start, i
            return reasons.OK
        code = _read_head_number(buffer, start, i, current, count)
        if code != reasons.OK:
            return code
        count += 1
        i = after
    return reasons.OK


@outline
def _read_head_number(buffer: Any, start: int, end: int, current: Any, place: int) -> int:
    code, after, x = read_decimal(buffer, start, end)
    good = code == reasons.OK and after == end
    if place == 0:
        if not good or (x != 0.0 and abs(x) != 1.0):
            return reasons.LABEL
        current[0].label = 1.0 if x > 0.0 else 0.0
    elif place == 1:
        if not good or not _MIN_WEIGHT <= x <= _MAX_WEIGHT:
            return reasons.WEIGHT
        current[0].weight = x
    elif place == 2:
        if not good:
            return reasons.NUMBER
        if x != 0.0:
            return reasons.VALUE  # no learner here starts from a base
    else:
        return reasons.SYNTAX
    return reasons.OK


@inline
def _read_namespace(
    buffer: Any, i: int, end: int, spec: Any, names: Any, work: Any, rows: Any
) -> tuple[int, int]:
    """A namespace and its features, from after its bar: a reason, and the next bar or line end."""
    start = i
    i, name = read_text(buffer, i, end, spec.seed)
    colon = i < end and buffer[i] == COLON
    if i == start:
        if colon:
            return reasons.SYNTAX, i
        name = finish(step(spec.seed, _SPACE), 1)
    entry = find(names, inside_features(name))
    if entry < 0:
        role = spec.features_role
        key = inside_features(name)
        entry = enter(names, key, name, role, _INSIDE, _NOBODY, buffer, start, i)
    else:
        role = np.int64(names.entries[entry].role)
    if role != roles.FEATURE:
        return reasons.OK, _next_bar(buffer, i, end)
    column = np.int64(names.entries[entry].column) if entry >= 0 else _NOBODY
    work.current[0].key_start, work.current[0].key_end = start, i
    scale = 1.0
    if colon:
        code, i, scale = read_decimal(buffer, i + 1, end)
        if code != reasons.OK:
            return code, i
    unnamed = _NONE
    while True:
        i = skip_blank(buffer, i, end)
        if i >= end or buffer[i] == BAR or buffer[i] == NEWLINE:
            return reasons.OK, i
        start = i
        i, value = read_text(buffer, i, end, spec.seed)
        work.current[0].key_start, work.current[0].key_end = start, i
        if i == start:
            value = hash_of_digits(unnamed, spec.seed)
            unnamed += 1
        key = feature_key(name, TEXT, value)
        x = scale
        if i < end and buffer[i] == COLON:
            i += 1
            if i < end and may_be_number(buffer[i]):
                code, i, x = read_decimal(buffer, i, end)
                x *= scale
            else:
                code, i, key = read_category(buffer, i, end, spec.seed, nested_name(name, value))
            if code != reasons.OK:
                return code, i
        x = np.float64(np.float32(x))
        if abs(x) > spec.max_abs_value:
            return reasons.VALUE, i
        if x != 0.0:
            code = emit(spec, work, rows, entry, column, key, x)
            if code != reasons.OK:
                return code, i
