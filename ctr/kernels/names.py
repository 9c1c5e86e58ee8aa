"""The table from a column's name to what is known of it: role, kind, coverage id.

A name is looked up by a 64-bit key (the hash of its spelling where it stands: top level, features
object, or nested). Configured names are entered before the first event; others as they are met,
until the table is full, and then they are handled by their default role without an entry.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from ctr.kernels.block32 import LANES
from ctr.kernels.characters import COLON, COMMA, QUOTE
from ctr.kernels.hashing import K0
from ctr.kernels.options import aside, part
from ctr.kernels.rows import NESTED_IN

CAPACITY = 4096
_SLOTS = 4 * CAPACITY
_ARENA = 64 * CAPACITY

IGNORE, FEATURE, CONTAINER, FEATURES, LABEL, ID, TS, WEIGHT = range(8)
"""Roles: CONTAINER is an object of which some member matters, FEATURES the features object."""

AUTO, CATEGORICAL, LOG_BUCKET, LINEAR = range(4)
"""Kinds: how the numbers of a column are read."""

BEFORE_NAME = 2
"""Bytes of the arena before a spelling: a comma and a quote, as in the middle of an object."""

AFTER_NAME = 3
"""Bytes behind it: a quote, a colon, and the quote that a string begins with."""

MOST_PREDICTED = 32 - BEFORE_NAME - AFTER_NAME
"""Bytes of the names that ``ctr.kernels.runs`` compares."""

FORGOTTEN = 255
COUNT, USED, SERIAL = range(3)
UNKNOWN = -1

ENTRY = np.dtype(
    [
        ("key", np.uint64),  # what it is looked up by
        ("hash", np.uint64),  # the name's part in feature keys
        ("stamp", np.int64),  # the last event that had it at top level
        ("column", np.int32),  # its number among the columns of crosses, or -1
        ("parent", np.int32),  # entry of the object it stands in, or -1
        ("start", np.int32),  # its spelling in the arena
        ("length", np.int32),
        ("following", np.int32),  # the entry whose name followed this one last, or 0
        ("feature_place", np.int32),  # feature_place() of features with names that are not too long
        ("role", np.uint8),
        ("kind", np.uint8),
        ("place", np.uint8),  # kind of the object it stands in, FORGOTTEN if it is no entry
        ("children", np.uint8),  # role of a member nobody named, if the value is an object
    ],
    align=True,
)

Names = namedtuple(
    "Names",
    [
        "slots",  # int32: entry + 1, 0 where empty
        "entries",  # ENTRY
        "arena",  # uint8
        "counts",  # int64: COUNT, USED bytes of the arena, SERIAL of the event being read
    ],
)


def make_names() -> Names:
    """An empty table but for entry 0, the bias, which no lookup finds."""
    entries = np.zeros(CAPACITY, ENTRY)
    entries["column"] = entries["parent"] = entries["stamp"] = -1
    return Names(
        slots=np.zeros(_SLOTS, np.int32),
        entries=entries,
        arena=np.zeros(_ARENA, np.uint8),
        counts=np.array([1, 0, 0], np.int64),
    )


@part
def inside_features(name: Any) -> Any:
    """The lookup key of a name in the features object; at top level the hash itself is."""
    return name ^ K0


@part
def feature_place(place: int, parent: int) -> int:
    """One number, above 0, for an object whose members are features."""
    return 4 * (parent + 1) + place + 1


@part
def follower(names: Any, before: int) -> int:
    """The entry whose name followed that of ``before`` last time, or 0 if there is none."""
    return np.int64(names.entries[max(before, 0)].following)


@part
def follow(names: Any, before: int, entry: int) -> None:
    """Remember that ``entry`` followed ``before``."""
    names.entries[max(before, 0)].following = max(entry, 0)


@part
def find(names: Any, key: Any) -> int:
    """The entry of ``key``, or UNKNOWN."""
    mask = len(names.slots) - 1
    slot = np.int64(key) & mask
    while True:
        entry = names.slots[slot] - 1
        if entry < 0:
            return UNKNOWN
        if names.entries[entry].key == key:
            return entry
        slot = (slot + 1) & mask


@aside
def enter(
    names: Any,
    key: Any,
    name: Any,
    role: int,
    place: int,
    parent: int,
    text: Any,
    start: int,
    end: int,
) -> int:
    """A new entry spelled ``text[start:end]``, or UNKNOWN when the table is full."""
    entry, used = names.counts[COUNT], names.counts[USED]
    length = end - start
    needed = BEFORE_NAME + length + AFTER_NAME
    if entry >= len(names.entries) or used + needed > len(names.arena) - LANES:
        return UNKNOWN
    mask = len(names.slots) - 1
    slot = np.int64(key) & mask
    while names.slots[slot] != 0:
        slot = (slot + 1) & mask
    names.slots[slot] = entry + 1
    names.entries[entry].key = key
    names.entries[entry].hash = name
    names.entries[entry].role = role
    names.entries[entry].kind = AUTO
    names.entries[entry].children = role
    names.entries[entry].column = -1
    names.entries[entry].parent = parent
    names.entries[entry].stamp = -1
    names.entries[entry].start = used + BEFORE_NAME
    names.entries[entry].length = length
    names.arena[used] = COMMA
    names.arena[used + 1] = QUOTE
    used += BEFORE_NAME
    for k in range(length):
        names.arena[used + k] = text[start + k]
    used += length
    names.arena[used] = QUOTE
    names.arena[used + 1] = COLON
    names.arena[used + 2] = QUOTE
    names.entries[entry].following = 0
    names.entries[entry].place = place
    placed = place != NESTED_IN or parent >= 0
    predicted = role == FEATURE and length <= MOST_PREDICTED and placed
    names.entries[entry].feature_place = feature_place(place, parent) if predicted else 0
    names.counts[COUNT] = entry + 1
    names.counts[USED] = used + AFTER_NAME
    return entry


@aside
def forget(names: Any, count: int) -> None:
    """Take back the entries after the first ``count``: names that only a bad event had."""
    mask = len(names.slots) - 1
    while names.counts[COUNT] > count:
        entry = names.counts[COUNT] - 1
        slot = np.int64(names.entries[entry].key) & mask
        while names.slots[slot] != entry + 1:
            slot = (slot + 1) & mask
        # the latest entry ends its chain, so that nothing is searched for past it
        names.slots[slot] = 0
        names.entries[entry].place = FORGOTTEN
        names.entries[entry].feature_place = 0
        names.counts[COUNT] = entry
        names.counts[USED] = names.entries[entry].start - BEFORE_NAME
