"""What the kernels of the parser and of requests are given: one ``Table`` of all their arrays."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from ctr.kernels.addresses import Table, readers
from ctr.kernels.names import ENTRY, Names
from ctr.kernels.rows import (
    ABOUT,
    BAD_EVENT,
    COLUMN,
    CURRENT,
    LEVEL,
    STRANGER,
    Rows,
    Spec,
    Work,
)
from ctr.kernels.scoring import ARRAYS as MODEL_ARRAYS

Source = namedtuple(
    "Source",
    [
        "buffer",  # uint8: records, or the body of a request
        "starts",  # int64, as in ctr.types.Records
        "ends",
        "timestamps",
        "cursor",  # int64[4]: record, byte or -1, line, events of the record so far
    ],
)

ASK = np.dtype(
    [
        ("now", np.int64),  # milliseconds: the time of an event without one
        ("ts", np.int64),  # the time of the candidates
        ("timed", np.int64),  # whether time makes features
        ("end", np.int64),  # of the body
        ("max_rows", np.int64),
        ("max_event_bytes", np.int64),
        ("context_level", np.int64),  # nesting of a context's members in an event; 0: not read here
        (
            "joining_bytes",
            np.int64,
        ),  # of an event around what context and candidate hold
        ("most_kept", np.int64),  # coordinates for which there is room before the last row
        ("seen", np.int64),  # bits of the request's members
        ("kind", np.int64),  # EVENTS, CONTEXT or CANDIDATES: what is being read
        ("start", np.int64),  # of the object that is being read
        ("last", np.int64),  # it is read to here at most
        ("shared_bytes", np.int64),  # what it is longer once it is an event
        ("rows", np.int64),
        ("prefix", np.int64),  # coordinates of the row that context and bias begin
        ("before", np.int64),  # the entry of the context's last name
        ("kept", np.int64),  # where the next candidate's coordinates go
        ("top_k", np.int64),  # 0: all
        ("explain", np.int64),
    ]
)

Asking = namedtuple(
    "Asking",
    [
        "ask",  # ASK[1]: the request being read
        "columns",  # COLUMN: those of Work as the context left them
        "out",  # float32: logits, then probabilities
    ],
)

_NONE, _KEYS, _FLOATS = np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.float32)
_BYTES, _IDS = np.zeros(0, np.uint8), np.zeros(0, np.int32)

_EXAMPLES = (
    Source(_BYTES, _NONE, _NONE, _NONE, _NONE),
    Spec(
        seed=np.uint64(0),
        predicting=False,
        skip_unlabelled=False,
        top_role=0,
        features_role=0,
        max_features=0,
        max_event_bytes=0,
        max_abs_value=0.0,
        hour_entry=0,
        dow_entry=0,
        hour_column=0,
        dow_column=0,
        hour_keys=_KEYS,
        dow_keys=_KEYS,
        zone_starts=_NONE,
        zone_offsets=_NONE,
        cross_starts=_NONE,
        cross_columns=_NONE,
        cross_entries=_IDS,
    ),
    Names(slots=_IDS, entries=np.zeros(0, ENTRY), arena=_BYTES, counts=_NONE),
    Work(
        scratch=_BYTES,
        current=np.zeros(0, CURRENT),
        levels=np.zeros(0, LEVEL),
        columns=np.zeros(0, COLUMN),
        nexts=_NONE,
        picks=_NONE,
        pending=_KEYS,
        strangers=np.zeros(0, STRANGER),
    ),
    Rows(
        indptr=_NONE,
        keys=_KEYS,
        values=_FLOATS,
        name_ids=_IDS,
        about=np.zeros(0, ABOUT),
        bad=np.zeros(0, BAD_EVENT),
        counts=_NONE,
    ),
    Asking(np.zeros(1, ASK), np.zeros(0, COLUMN), _FLOATS),
    MODEL_ARRAYS,
)
SOURCE, SPEC, NAMES, WORK, ROWS, ASKING, ARRAYS = range(len(_EXAMPLES))
"""Numbers of the tuples in the table."""

source_at, spec_at, names_at, work_at, rows_at, asking_at, arrays_at = readers(*_EXAMPLES)


def make_table() -> Table:
    """A table of all that ``parse`` and ``predict`` read, empty as yet."""
    return Table(*_EXAMPLES)
