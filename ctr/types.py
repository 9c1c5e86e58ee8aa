"""The values that flow from a source to a learner.

``Records`` (bytes of one source) -> parser -> ``Events`` (a ``Batch`` and what lies beside it)
-> learner. All arrays are C-contiguous; nobody mutates a value after it was handed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError

Bytes = NDArray[np.uint8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

BIAS_KEY = 0
"""The key (and coordinate) of the constant feature; no other feature may have it."""

PADDING = 64
"""Zero bytes that follow the content of every buffer a kernel reads, so that it may load ahead."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where to go on in one source: *after* everything before it.

    ``offset`` is the next Kafka offset, or the next byte of a file; ``segment`` is the name of
    the segment file of a log directory, empty elsewhere.
    """

    segment: str
    offset: int

    def to_json(self) -> list[str | int]:
        return [self.segment, self.offset]

    @classmethod
    def from_json(cls, value: list[str | int]) -> Position:
        segment, offset = value
        return cls(str(segment), int(offset))


Positions = dict[str, Position]
"""Source URI (``kafka:topic/partition``, ``log:directory``, ``file:name``) -> position."""


@dataclass(slots=True)
class Records:
    """Consecutive records of one source, as bytes.

    ``buffer``: uint8, writable (a kernel is compiled for one kind of array), the content
    followed by at least ``PADDING`` zero bytes. Record i is
    ``buffer[starts[i]:ends[i]]`` (int64), had ``offsets[i]`` (int64) in the source and was
    stamped ``timestamps[i]`` (int64, milliseconds since the epoch). A record without a value
    (a tombstone) has ``starts == ends``. ``after`` is the position after the last of them.
    """

    source: str
    buffer: Bytes
    starts: Int64
    ends: Int64
    offsets: Int64
    timestamps: Int64
    after: Position

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of(
        cls, values: Sequence[bytes], source: str = "memory", first: int = 0, timestamp: int = 0
    ) -> Records:
        """Records of these values, with offsets from ``first`` on.

        >>> len(Records.of([b"{}", b""]))
        2
        """
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        ends = np.cumsum(lengths)
        buffer = np.frombuffer(bytearray(b"".join(values)) + bytes(PADDING), np.uint8)
        offsets = np.arange(first, first + len(values))
        timestamps = np.full(len(values), timestamp, np.int64)
        after = Position("", first + len(values))
        return cls(source, buffer, ends - lengths, ends, offsets, timestamps, after)


@dataclass(slots=True)
class Batch:
    """Rows of a sparse matrix with labels: what a learner sees.

    Row i has the keys ``keys[indptr[i]:indptr[i+1]]`` (uint64) with ``values`` (float32) beside
    them, ``labels[i]`` (float32, 0 or 1) and ``weights[i]`` (float32 > 0; None means 1).

    Raises SettingError for shapes that do not fit, labels other than 0 and 1, and numbers that
    are not finite.

    >>> rows = Batch([0, 2, 3], [11, 12, 11], [1.0, 1.0, 0.5], [1, 0])
    >>> len(rows), rows.keys.dtype.name
    (2, 'uint64')
    """

    indptr: Int64
    keys: UInt64
    values: Float32
    labels: Float32
    weights: Float32 | None = None

    def __post_init__(self) -> None:
        self.indptr = np.ascontiguousarray(self.indptr, np.int64)
        self.keys = np.ascontiguousarray(self.keys, np.uint64)
        self.values = np.ascontiguousarray(self.values, np.float32)
        self.labels = np.ascontiguousarray(self.labels, np.float32)
        rows, nnz = len(self.labels), len(self.keys)
        if len(self.indptr) != rows + 1 or self.indptr[0] != 0 or self.indptr[-1] != nnz:
            raise SettingError(
                "indptr", self.indptr, f"{rows + 1} numbers from 0 to len(keys) = {nnz}"
            )
        if (np.diff(self.indptr) < 0).any():
            raise SettingError("indptr", self.indptr, "non-decreasing")
        if len(self.values) != nnz or not np.isfinite(self.values).all():
            raise SettingError("values", self.values, f"{nnz} finite numbers")
        if not np.isin(self.labels, (0, 1)).all():
            raise SettingError("labels", self.labels, "0 or 1")
        if self.weights is not None:
            self.weights = np.ascontiguousarray(self.weights, np.float32)
            good = len(self.weights) == rows and np.isfinite(self.weights).all()
            if not (good and (self.weights > 0).all()):
                raise SettingError("weights", self.weights, f"{rows} finite numbers > 0")

    @classmethod
    def trusted(
        cls, indptr: Int64, keys: UInt64, values: Float32, labels: Float32, weights: Float32
    ) -> Batch:
        """A batch whose arrays are known to be right: what the parser makes; nothing is checked."""
        self = cls.__new__(cls)
        self.indptr, self.keys, self.values = indptr, keys, values
        self.labels, self.weights = labels, weights
        return self

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(slots=True)
class Rejected:
    """Bad events of one ``Records``: spans of the buffer, where they stood, and why.

    ``reasons`` (uint8) index ``ctr.features.parser.REASONS``; ``starts``/``ends`` (int64) span
    the line's bytes; ``records`` (int32) index the Records; ``lines`` (int32) count from 0
    within the record; ``key_starts``/``key_ends`` (int64) span the key that was read last, both
    -1 when there was none.
    """

    reasons: NDArray[np.uint8]
    starts: Int64
    ends: Int64
    records: Int32
    lines: Int32
    key_starts: Int64
    key_ends: Int64

    def __len__(self) -> int:
        return len(self.reasons)


@dataclass(slots=True)
class Events:
    """What the parser makes of one ``Records``.

    Beside the ``batch`` and per row: ``ts`` (int64, milliseconds), ``id_starts``/``id_ends``
    (int64 spans of the buffer with the id's raw bytes, both -1 when absent), ``records`` and
    ``lines`` (int32, the row's address); per coordinate: ``name_ids`` (int32, index into the
    parser's names; 0 is the bias and -1 a name past the parser's limit; a cross has the name of
    its columns joined by ``*``). ``skipped``: events without label that are passed over because
    the specification says so.
    """

    source: Records
    batch: Batch
    ts: Int64
    id_starts: Int64
    id_ends: Int64
    records: Int32
    lines: Int32
    name_ids: Int32
    skipped: int
    rejected: Rejected = field(repr=False)

    def __len__(self) -> int:
        return len(self.batch)
