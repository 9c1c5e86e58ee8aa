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
    BAD,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    DIGIT_0,
    OPEN_OBJECT,
    QUOTE,
    skip_blank,
)
from ctr.kernels.fields import is_plain_label, read_field
from ctr.kernels.hashing import nested_name
from ctr.kernels.memory import byte
from ctr.kernels.names import enter, find, follow, follower, inside_features
from ctr.kernels.options import aside, part
from ctr.kernels.rows import INSIDE, NESTED_IN, NNZ, TOP
from ctr.kernels.runs import read_run
from ctr.kernels.strings import is_text, read_string
from ctr.kernels.values import emit_crosses, emit_time_features, read_feature, start_row
from ctr.kernels.verdict import DEPTH_LIMIT

# numpy integers: a plain constant as an argument would have the callee compiled once more
_INSIDE, _NESTED_IN = (np.int64(place) for place in (INSIDE, NESTED_IN))
_NOBODY = np.int64(-1)
_HALF = np.uint64(32)
REPEATED = -2


@part
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


@part
def finish_event(spec: Any, work: Any, rows: Any) -> int:
    """What can be said and made only when all members were read."""
    if not spec.predicting and work.current[0].label < 0.0:
        return reasons.SKIPPED if spec.skip_unlabelled else reasons.NO_LABEL
    code = reasons.OK
    if spec.hour_entry >= 0 or spec.dow_entry >= 0:
        code = emit_time_features(spec, work, rows, work.current[0].ts)
    if code == reasons.OK and len(spec.cross_entries) > 0:
        code = emit_crosses(spec, work, rows)
    return code


@part
def read_event(
    buffer: Any,
    i: int,
    end: int,
    spec: Any,
    names: Any,
    work: Any,
    rows: Any,
    base: int,
    place: int,
    before: int,
) -> tuple[int, int, int]:
    """Read the event at ``i`` and the objects in it that matter into the row that was begun.

    An object that is only the features of an event says so by ``place``, and by ``base`` how deep
    it would stand in one. ``before`` is the entry of the name that was read before, 0 for none.
    Returns a reason, OK or MALFORMED, where it stopped (on OK past the blanks behind the object),
    and the entry of the last name.
    """
    if i >= end or byte(buffer, i) != OPEN_OBJECT:
        return reasons.MALFORMED, i, before
    level = base
    _open_level(work, level, place, np.uint64(0), _NOBODY, spec)
    i = skip_blank(buffer, i + 1, end)
    empty_allowed = True
    while True:
        if i >= end:
            return reasons.MALFORMED, i, before
        place, parent = work.levels[level].place, work.levels[level].entry
        run_end, before = read_run(buffer, i, end, spec, names, work, rows, place, parent, before)
        if run_end > i:
            i = run_end
        elif byte(buffer, i) == QUOTE:
            i, entry, role, hashed = _read_key(buffer, i + 1, end, spec, names, work, level, before)
            if i < 0 or i >= end:
                return (reasons.REPEATED_KEY if i == REPEATED else reasons.MALFORMED), i, entry
            before = entry
            if byte(buffer, i) == OPEN_OBJECT and _descends(work, level, role):
                level += 1
                if level >= DEPTH_LIMIT:
                    return reasons.MALFORMED, i, before
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
            elif role == roles.LABEL and is_plain_label(buffer, i, end, spec.predicting):
                work.current[0].label = np.float64(byte(buffer, i) - DIGIT_0)
                code, i = reasons.OK, i + 1
            else:
                levels = DEPTH_LIMIT - 1 - level
                code, i = read_field(buffer, i, end, spec.predicting, work.current, role, levels)
            if code != reasons.OK:
                return code, i, before
        elif byte(buffer, i) != CLOSE_OBJECT or not empty_allowed:
            return reasons.MALFORMED, i, before
        while True:
            i = skip_blank(buffer, i, end)
            if i >= end:
                return reasons.MALFORMED, i, before
            if byte(buffer, i) == COMMA:
                i = skip_blank(buffer, i + 1, end)
                empty_allowed = False
                break
            if byte(buffer, i) != CLOSE_OBJECT:
                return reasons.MALFORMED, i, before
            i += 1
            level -= 1
            if level < base:
                return reasons.OK, skip_blank(buffer, i, end), before


@part
def _open_level(work: Any, level: int, place: int, hashed: Any, entry: int, spec: Any) -> None:
    work.levels[level].place = place
    work.levels[level].hash = hashed
    # names in the features object are spelled without its own
    work.levels[level].entry = _NOBODY if place == _INSIDE else entry
    work.levels[level].role = spec.features_role if place == _INSIDE else spec.top_role


@part
def _descends(work: Any, level: int, role: int) -> bool:
    """Whether an object that has this role is read as members and not as a value."""
    if work.levels[level].place == _INSIDE:
        return False
    return role == roles.FEATURES or role == roles.CONTAINER or role == roles.FEATURE


@part
def _read_key(
    buffer: Any, i: int, end: int, spec: Any, names: Any, work: Any, level: int, before: int
) -> tuple[int, int, int, Any]:
    """A member's name: where its value begins (BAD, REPEATED), its entry, role and name hash.

    ``before`` is the entry of the name before it: events of one producer have their names in one
    order, so that the name that followed it last time is compared before anything is hashed.
    """
    work.current[0].key_start = i
    entry = follower(names, before)
    place = work.levels[level].place
    if entry > 0 and _is_spelled(buffer, i, names, work, entry, level):
        i += np.int64(names.entries[entry].length) + 1
        hashed = names.entries[entry].hash
    else:
        i, name = read_string(buffer, i, end, spec.seed, work.scratch)
        if i < 0:
            return BAD, entry, 0, name
        work.current[0].key_end = i - 1
        entry, hashed = _look_up(buffer, names, work, level, name)
        follow(names, before, entry)
    work.current[0].key_end = i - 1
    role = work.levels[level].role if entry < 0 else np.int64(names.entries[entry].role)
    if place == TOP and _is_repeated(names, work, entry, hashed):
        return REPEATED, entry, role, hashed
    i = skip_blank(buffer, i, end)
    if i >= end or byte(buffer, i) != COLON:
        return BAD, entry, role, hashed
    return skip_blank(buffer, i + 1, end), entry, role, hashed


@part
def _is_spelled(buffer: Any, i: int, names: Any, work: Any, entry: int, level: int) -> bool:
    """Whether the text at ``i`` is the name of ``entry`` and its quote, in the same object."""
    known = names.entries[entry]
    if known.place != work.levels[level].place:
        return False
    if known.place == _NESTED_IN and (known.parent < 0 or known.parent != work.levels[level].entry):
        return False  # of an object without an entry only the hash is known
    return is_text(buffer, i, names.arena, np.int64(known.start), np.int64(known.length) + 1)


@aside
def _look_up(buffer: Any, names: Any, work: Any, level: int, name: Any) -> tuple[int, Any]:
    """The entry (new, or UNKNOWN when there is no room) and the hash of a name."""
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
        role, parent = work.levels[level].role, work.levels[level].entry
        start, end = work.current[0].key_start, work.current[0].key_end
        entry = enter(names, key, hashed, role, place, parent, buffer, start, end)
    return entry, hashed


@part
def _is_repeated(names: Any, work: Any, entry: int, key: Any) -> bool:
    """Whether this event had this top-level name before."""
    serial = names.counts[roles.SERIAL]
    if entry < 0:
        return _is_repeated_stranger(work, key, serial)
    repeated = names.entries[entry].stamp == serial
    names.entries[entry].stamp = serial
    return repeated


@aside
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
