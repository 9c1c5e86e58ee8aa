"""One event's bytes -> one hashed row, in one pass; ``ctr.kernels.records`` is the loop around it.

The specification is ``docs/events.md``; the slow twin is ``tests/oracle.py``. An event that this
pass cannot read is looked at again by ``ctr.kernels.verdict``, which says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import names as roles
from ctr.kernels import reasons
from ctr.kernels.characters import (
    CLOSE_OBJECT,
    COLON,
    COMMA,
    NEWLINE,
    OPEN_OBJECT,
    QUOTE,
    skip_blank,
)
from ctr.kernels.fields import read_field
from ctr.kernels.hashing import nested_name
from ctr.kernels.names import enter, find, inside_features
from ctr.kernels.options import inline, outline
from ctr.kernels.rows import INSIDE, NESTED_IN, NNZ, TOP
from ctr.kernels.strings import read_string
from ctr.kernels.values import emit_crosses, emit_time_features, read_feature, start_row
from ctr.kernels.verdict import DEPTH_LIMIT

# numpy integers: a plain constant as an argument would have the callee compiled once more
_TOP, _INSIDE, _NESTED_IN = (np.int64(place) for place in (TOP, INSIDE, NESTED_IN))
_NOBODY = np.int64(-1)
_HALF = np.uint64(32)


@outline
def begin_event(names: Any, work: Any, rows: Any, timestamp: int) -> None:
    """Forget the event before and put the bias into a new row; its time is that of its record."""
    work.current[0].ts = timestamp
    names.counts[roles.SERIAL] += 1
    work.current[0].label = -1.0
    work.current[0].weight = 1.0
    work.current[0].id_start = -1
    work.current[0].id_end = -1
    work.current[0].key_start = -1
    work.current[0].key_end = -1
    work.current[0].row_start = rows.counts[NNZ]
    start_row(work, rows)


@outline
def finish_event(spec: Any, work: Any, rows: Any) -> int:
    """What can be said and made only when all members were read."""
    if not spec.predicting and work.current[0].label < 0.0:
        return reasons.SKIPPED if spec.skip_unlabelled else reasons.NO_LABEL
    code = emit_time_features(spec, work, rows, work.current[0].ts)
    if code == reasons.OK:
        code = emit_crosses(spec, work, rows)
    return code


@outline
def read_event(
    buffer: Any, i: int, end: int, spec: Any, names: Any, work: Any, rows: Any
) -> tuple[int, int]:
    """Read the event at ``i`` and the objects in it that matter into the row that was begun.

    Returns a reason, OK or MALFORMED, and where it stopped: on OK, where the line ends.
    """
    if i >= end or buffer[i] != OPEN_OBJECT:
        return reasons.MALFORMED, i
    level = np.int64(0)
    _open_level(work, level, _TOP, np.uint64(0), _NOBODY, spec)
    i = skip_blank(buffer, i + 1, end)
    empty_allowed = True
    while True:
        if i >= end:
            return reasons.MALFORMED, i
        if buffer[i] == QUOTE:
            work.current[0].key_start = i + 1
            i, name = read_string(buffer, i + 1, end, spec.seed, work.scratch)
            if i < 0:
                return reasons.MALFORMED, i
            work.current[0].key_end = i - 1
            i = skip_blank(buffer, i, end)
            if i >= end or buffer[i] != COLON:
                return reasons.MALFORMED, i
            i = skip_blank(buffer, i + 1, end)
            if i >= end:
                return reasons.MALFORMED, i
            entry, role, hashed = _look_up(buffer, spec, names, work, level, name)
            if role < 0:
                return reasons.REPEATED_KEY, i
            if buffer[i] == OPEN_OBJECT and _descends(work, level, role):
                level += 1
                if level >= DEPTH_LIMIT:
                    return reasons.MALFORMED, i
                inner = _INSIDE if role == roles.FEATURES else _NESTED_IN
                _open_level(work, level, inner, hashed, entry, spec)
                if inner == _NESTED_IN:
                    children = role if entry < 0 else np.int64(names.entries[entry].children)
                    work.levels[level].role = children
                i = skip_blank(buffer, i + 1, end)
                empty_allowed = True
                continue
            if role == roles.FEATURE:
                code, i = read_feature(buffer, i, end, spec, names, work, rows, entry, hashed)
            else:
                levels = DEPTH_LIMIT - 1 - level
                code, i = read_field(buffer, i, end, spec.predicting, work.current, role, levels)
            if code != reasons.OK:
                return code, i
        elif buffer[i] != CLOSE_OBJECT or not empty_allowed:
            return reasons.MALFORMED, i
        while True:
            i = skip_blank(buffer, i, end)
            if i >= end:
                return reasons.MALFORMED, i
            if buffer[i] == COMMA:
                i = skip_blank(buffer, i + 1, end)
                empty_allowed = False
                break
            if buffer[i] != CLOSE_OBJECT:
                return reasons.MALFORMED, i
            i += 1
            level -= 1
            if level < 0:
                i = skip_blank(buffer, i, end)
                ended = i >= end or buffer[i] == NEWLINE
                return (reasons.OK if ended else reasons.MALFORMED), i


@inline
def _open_level(work: Any, level: int, place: int, hashed: Any, entry: int, spec: Any) -> None:
    work.levels[level].place = place
    work.levels[level].hash = hashed
    # names in the features object are spelled without its own
    work.levels[level].entry = _NOBODY if place == _INSIDE else entry
    work.levels[level].role = spec.features_role if place == _INSIDE else spec.top_role


@inline
def _descends(work: Any, level: int, role: int) -> bool:
    """Whether an object that has this role is read as members and not as a value."""
    if work.levels[level].place == _INSIDE:
        return False
    return role == roles.FEATURES or role == roles.CONTAINER or role == roles.FEATURE


@inline
def _look_up(
    buffer: Any, spec: Any, names: Any, work: Any, level: int, name: Any
) -> tuple[int, int, Any]:
    """Entry (or UNKNOWN), role (or -1 for a repeated top-level key) and name hash of a member."""
    place = work.levels[level].place
    hashed = name
    key = name
    if place == _INSIDE:
        key = inside_features(name)
    elif place == _NESTED_IN:
        hashed = nested_name(work.levels[level].hash, name)
        key = hashed
    entry = find(names, key)
    if entry < 0:
        role = work.levels[level].role
        entry = enter(
            names,
            key,
            hashed,
            role,
            work.levels[level].entry,
            buffer,
            work.current[0].key_start,
            work.current[0].key_end,
        )
        if entry < 0:
            if place == _TOP and _is_repeated_stranger(work, key, names.counts[roles.SERIAL]):
                return entry, -1, hashed
            return entry, role, hashed
    if place == _TOP and level == 0:
        serial = names.counts[roles.SERIAL]
        if names.entries[entry].stamp == serial:
            return entry, -1, hashed
        names.entries[entry].stamp = serial
    return entry, np.int64(names.entries[entry].role), hashed


@outline
def _is_repeated_stranger(work: Any, key: Any, serial: int) -> bool:
    """Whether this event had a top-level name before for which the table had no place."""
    mask = len(work.strangers) - 1
    slot = np.int64(key >> _HALF) & mask
    while work.strangers[slot].serial == serial:
        if work.strangers[slot].hash == key:
            return True
        slot = (slot + 1) & mask
    work.strangers[slot].serial = serial
    work.strangers[slot].hash = key
    return False
