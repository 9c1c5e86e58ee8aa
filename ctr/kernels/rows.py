"""What the parser's kernels read and write: the specification, the rows, the work space."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from ctr.kernels.options import aside

Spec = namedtuple(
    "Spec",
    [
        "seed",  # uint64 of the hash
        "predicting",  # bool: label, weight and id are not read
        "skip_unlabelled",  # bool
        "top_role",  # role of an unnamed top-level key
        "features_role",  # role of an unnamed key of the features object
        "max_features",
        "max_event_bytes",
        "max_abs_value",  # float
        "hour_entry",  # name entry of hour(ts), or -1
        "dow_entry",
        "hour_column",  # their column in crosses, or -1
        "dow_column",
        "hour_keys",  # uint64[24], uint64[7]: feature keys of the time features
        "dow_keys",
        "zone_starts",  # int64 seconds since the epoch from which zone_offsets (seconds) hold
        "zone_offsets",
        "cross_starts",  # int64: columns of cross k are cross_columns[starts[k]:starts[k+1]]
        "cross_columns",
        "cross_entries",  # int32: name entry of each cross
    ],
)

ABOUT = np.dtype(
    [
        ("ts", np.int64),
        ("id_start", np.int64),
        ("id_end", np.int64),
        ("label", np.float32),
        ("weight", np.float32),
        ("record", np.int32),
        ("line", np.int32),
    ]
)
BAD_EVENT = np.dtype(
    [
        ("start", np.int64),
        ("end", np.int64),
        ("key_start", np.int64),
        ("key_end", np.int64),
        ("record", np.int32),
        ("line", np.int32),
        ("reason", np.uint8),
    ]
)

Rows = namedtuple(
    "Rows",
    [
        "indptr",  # int64
        "keys",  # uint64
        "values",  # float32
        "name_ids",  # int32
        "about",  # ABOUT, by row
        "bad",  # BAD_EVENT
        "counts",  # int64: ROWS, NNZ, BAD_ROWS, SKIPPED_ROWS
    ],
)
ROWS, NNZ, BAD_ROWS, SKIPPED_ROWS = range(4)

CURRENT = np.dtype(
    [
        ("ts", np.int64),
        ("id_start", np.int64),
        ("id_end", np.int64),
        ("key_start", np.int64),  # the key that was read last
        ("key_end", np.int64),
        ("row_start", np.int64),  # its first coordinate in Rows
        ("label", np.float64),  # -1 until there is one
        ("weight", np.float64),
    ]
)
LEVEL = np.dtype(
    [
        ("hash", np.uint64),  # name hash of the object at this level
        ("entry", np.int64),  # its name entry
        ("role", np.int64),  # role of its unnamed members
        ("place", np.int64),  # TOP, INSIDE or NESTED_IN
    ]
)
COLUMN = np.dtype(
    [
        ("head", np.int64),  # first coordinate of this cross column in the row, or NO_MARK
        ("tail", np.int64),
    ]
)

STRANGER = np.dtype(
    [
        ("hash", np.uint64),
        ("serial", np.int64),  # the event that had it
    ]
)

Work = namedtuple(
    "Work",
    [
        "scratch",  # uint8: decoded strings
        "current",  # CURRENT[1]: the event being read
        "levels",  # LEVEL, by nesting
        "columns",  # COLUMN, by column of crosses
        "nexts",  # int64 by coordinate of the row: the next one of the same column
        "picks",  # int64 by column of one cross: the coordinate taken
        "pending",  # uint64[5 * LONGEST_RUN]: values of a run that are not hashed yet
        "strangers",  # STRANGER, a hash set: top-level names for which Names is full
    ],
)
TOP, INSIDE, NESTED_IN = range(3)
"""Places of an object: the event itself, the features object, an object in a flat event."""

LONGEST_RUN = 64
"""Features that ``ctr.kernels.runs`` reads in one go."""

NO_MARK = -1
MAX_TOKEN = 64
"""Bytes of a number that is read; longer ones are bad."""


@aside
def link(work: Any, column: int, at: int) -> None:
    """Remember coordinate ``at`` of the row for the crosses of a column."""
    if work.columns[column].head == NO_MARK:
        work.columns[column].head = at
    else:
        work.nexts[work.columns[column].tail] = at
    work.columns[column].tail = at
    work.nexts[at] = NO_MARK
