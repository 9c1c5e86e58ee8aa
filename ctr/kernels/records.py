"""Records -> lines -> rows: the loop of the parser, and what becomes of good and bad lines.

Few functions and few arrays on purpose: LLVM optimises a function once more in each of its
callers, and this is the longest of all compilations.
"""

from __future__ import annotations

from typing import Any

from ctr.kernels import names as roles
from ctr.kernels import reasons
from ctr.kernels.characters import NEWLINE, is_blank
from ctr.kernels.events import begin_event, finish_event, read_event
from ctr.kernels.memory import byte
from ctr.kernels.names import forget
from ctr.kernels.options import aside, jit
from ctr.kernels.rows import BAD_ROWS, NNZ, ROWS, SKIPPED_ROWS
from ctr.kernels.verdict import verdict


@jit
def parse_records(
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
    """Parse on from ``cursor`` until all is read or ``rows`` is full; returns whether all is read.

    ``cursor`` (int64[4]: record, byte or -1, line, events of the record so far) is where to go on
    after the arrays were enlarged. Reasons of bad events are those of the fast pass, to be judged.
    """
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
            while i < end and (is_blank(byte(buffer, i)) or byte(buffer, i) == NEWLINE):
                if byte(buffer, i) == NEWLINE:
                    line += 1
                    line_start = i + 1
                i += 1
            if i >= end:
                break
            known = names.counts[roles.COUNT]
            begin_event(names, work, rows, timestamps[record])
            code, i = read_event(buffer, i, end, spec, names, work, rows)
            if code == reasons.OK:
                code = finish_event(spec, work, rows)
            else:
                i = line_end(buffer, line_start, end)
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
