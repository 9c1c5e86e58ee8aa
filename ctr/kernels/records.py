"""Records -> lines -> rows: the loop of the parser, and what becomes of good and bad lines.

Few functions and few arrays on purpose: LLVM optimises a function once more in each of its
callers, and this is the longest of all compilations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import names as roles
from ctr.kernels import reasons
from ctr.kernels.arguments import asking_at, names_at, rows_at, source_at, spec_at, work_at
from ctr.kernels.asking import (
    CANDIDATES,
    CONTEXT,
    EVENTS,
    FULL,
    NOTHING,
    ODD,
    begin_request,
    keep,
    next_object,
    result,
    resume_context,
)
from ctr.kernels.characters import NEWLINE, is_blank
from ctr.kernels.events import begin_event, finish_event, read_event
from ctr.kernels.memory import byte
from ctr.kernels.names import forget
from ctr.kernels.options import aside, jit
from ctr.kernels.rows import BAD_ROWS, INSIDE, NNZ, ROWS, SKIPPED_ROWS, TOP
from ctr.kernels.verdict import verdict

ALL_READ = 0
NO_REQUEST = -1
"""A length that says: records are to be read."""

_ZERO, _TOP, _INSIDE = np.int64(0), np.int64(TOP), np.int64(INSIDE)


@jit
def parse(address: int, length: int, now: int) -> int:
    """Make rows of the records in the table at ``address`` (``ctr.kernels.arguments``), or of the
    request of ``length`` bytes in its buffer, received at ``now``.

    One function for both, so that it is compiled once, and training and serving read the same.
    Records are read on from ``cursor`` until all are (ALL_READ), or until FULL: it is to be called
    again with larger rows. Reasons of bad events are those of the fast pass, to be judged. For a
    request what is returned is ``ctr.kernels.asking.result``.
    """
    buffer, starts, ends, timestamps, cursor = source_at(address)
    spec, names = spec_at(address), names_at(address)
    work, rows = work_at(address), rows_at(address)
    record, i, line, found = cursor[0], cursor[1], cursor[2], cursor[3]
    known = names.counts[roles.COUNT]
    end = np.int64(length)
    line_start = np.int64(0)
    is_request = length >= 0
    if is_request:
        begin_request(buffer, rows, asking_at(address).ask, end, now)
    while True:
        if is_full(rows, spec.max_features):
            cursor[0], cursor[1], cursor[2], cursor[3] = record, i, line, found
            return FULL
        if is_request:
            asking = asking_at(address)
            i = next_object(buffer, i, asking.ask)
            if i < 0:
                if i == ODD:
                    forget(names, known)
                return result(asking.ask, i)
            kind, last = asking.ask[0].kind, asking.ask[0].last
            if kind == CANDIDATES:
                before = resume_context(work, rows, asking)
            else:
                before = _ZERO
                begin_event(names, work, rows, asking.ask[0].now)
            base = _ZERO if kind == EVENTS else asking.ask[0].context_level
            place = _TOP if kind == EVENTS else _INSIDE
        else:
            if record >= len(starts):
                return ALL_READ
            end = ends[record]
            if i < 0:
                i, line, found = starts[record], 0, 0
            line_start = i
            while i < end and (is_blank(byte(buffer, i)) or byte(buffer, i) == NEWLINE):
                if byte(buffer, i) == NEWLINE:
                    line += 1
                    line_start = i + 1
                i += 1
            if i >= end:
                if found == 0:
                    _conclude_empty(spec, work, rows, starts[record], end, record)
                record += 1
                i = -1
                continue
            known = names.counts[roles.COUNT]
            # what is too long is not read to its end: some tables are made for what is not
            last = min(end, line_start + spec.max_event_bytes + 1)
            begin_event(names, work, rows, timestamps[record])
            kind, base, place, before = NOTHING, _ZERO, _TOP, _ZERO
        code, i, before = read_event(buffer, i, last, spec, names, work, rows, base, place, before)
        if is_request:
            if code == reasons.OK and kind != CONTEXT:
                code = finish_event(spec, work, rows)
            if code != reasons.OK or not keep(work, rows, asking_at(address), i, before):
                forget(names, known)
                return ODD
            continue
        if code == reasons.OK and i < last and byte(buffer, i) != NEWLINE:
            code = reasons.MALFORMED
        if code == reasons.OK:
            code = finish_event(spec, work, rows)
        else:
            i = line_end(buffer, line_start, end)
        if i - line_start > spec.max_event_bytes:
            code = reasons.TOO_LONG
            i = line_end(buffer, i, end)
        if code != reasons.OK and code != reasons.SKIPPED:
            forget(names, known)
        conclude(rows, work, code, line_start, i, record, line)
        found += 1


@jit
def judge(buffer: Any, bad: Any, scratch: Any) -> None:
    """Put the reason into each of ``bad`` (BAD_EVENT) that comes first in the order of verdicts."""
    for k in range(len(bad)):
        if bad[k].reason != reasons.TOO_LONG and bad[k].reason != reasons.EMPTY:
            structure = verdict(buffer, bad[k].start, bad[k].end, scratch)
            if structure != reasons.OK:
                bad[k].reason = structure


@aside
def is_full(rows: Any, max_features: int) -> bool:
    full = rows.counts[ROWS] + rows.counts[BAD_ROWS] + 1 >= len(rows.about)
    return full or rows.counts[NNZ] + max_features + 1 > len(rows.keys)


@aside
def line_end(buffer: Any, i: int, end: int) -> int:
    """The first newline from ``i``, or ``end``."""
    while i < end and byte(buffer, i) != NEWLINE:
        i += 1
    return i


@aside
def _conclude_empty(spec: Any, work: Any, rows: Any, start: int, end: int, record: int) -> None:
    """Note a record without an event: one bad event."""
    work.current[0].key_start = -1
    work.current[0].key_end = -1
    work.current[0].row_start = rows.counts[NNZ]
    code = reasons.TOO_LONG if end - start > spec.max_event_bytes else reasons.EMPTY
    conclude(rows, work, code, start, end, record, _ZERO)


@aside
def conclude(rows: Any, work: Any, code: int, start: int, end: int, record: int, line: int) -> None:
    """Keep the row of a good event; take back that of another, and note a bad one."""
    if code == reasons.OK:
        row = rows.counts[ROWS]
        rows.indptr[row + 1] = rows.counts[NNZ]
        rows.about[row].label = work.current[0].label
        rows.about[row].weight = work.current[0].weight
        rows.about[row].ts = work.current[0].ts
        rows.about[row].id_start = work.current[0].id_start
        rows.about[row].id_end = work.current[0].id_end
        rows.about[row].record = record
        rows.about[row].line = line
        rows.counts[ROWS] = row + 1
        return
    rows.counts[NNZ] = work.current[0].row_start
    if code == reasons.SKIPPED:
        rows.counts[SKIPPED_ROWS] += 1
        return
    k = rows.counts[BAD_ROWS]
    rows.bad[k].reason = code
    rows.bad[k].start = start
    rows.bad[k].end = end
    rows.bad[k].record = record
    rows.bad[k].line = line
    rows.bad[k].key_start = work.current[0].key_start
    rows.bad[k].key_end = work.current[0].key_end
    rows.counts[BAD_ROWS] = k + 1
