"""The parser: records in, hashed events out; one for training, evaluation and serving."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from ctr.features.spec import MOST_COLUMNS, compile_spec
from ctr.kernels import arguments
from ctr.kernels import names as roles
from ctr.kernels.arguments import Source, make_table
from ctr.kernels.asking import FULL
from ctr.kernels.names import Names
from ctr.kernels.reasons import REASONS
from ctr.kernels.records import NO_REQUEST, judge, parse
from ctr.kernels.rows import (
    ABOUT,
    BAD_EVENT,
    BAD_ROWS,
    COLUMN,
    CURRENT,
    LEVEL,
    LONGEST_RUN,
    NNZ,
    NO_MARK,
    ROWS,
    SKIPPED_ROWS,
    STRANGER,
    Rows,
    Spec,
    Work,
)
from ctr.kernels.verdict import DEPTH_LIMIT
from ctr.settings import Features
from ctr.types import PADDING, Batch, Bytes, Events, Int64, Records, Rejected

__all__ = ["REASONS", "Parser"]

_FIRST_ROWS, _FIRST_FEATURES, _FIRST_SCRATCH = 4096, 1 << 16, 4096
_FEW_ROWS, _FEW_FEATURES = 64, 1024  # of a request; larger arrays are new memory at every call


class Parser:
    """Reads event bytes as a feature specification says (``docs/events.md``, ``docs/hashing.md``).

    ``spec`` is the specification; ``predicting=True`` leaves label, weight and id unread, as in
    prediction requests. Not for two threads at once. Raises SettingError for a specification
    that contradicts itself; never for an event: bad events are in ``Events.rejected``.

    >>> parser = Parser(Features())
    >>> events = parser.parse(Records.of([b'{"label":1,"features":{"ad":"a9"}}', b'{"label":2}']))
    >>> len(events), events.batch.labels.tolist(), len(events.batch.keys)
    (1, [1.0], 2)
    >>> [REASONS[code] for code in events.rejected.reasons]
    ['label']
    """

    def __init__(self, spec: Features, *, predicting: bool = False) -> None:
        self.spec = spec
        self._compiled, self._names = compile_spec(spec, predicting)
        self._work = _make_work(spec, self._compiled.cross_columns)
        self._table = make_table()
        for which, values in zip(
            (arguments.SPEC, arguments.NAMES, arguments.WORK), self.tables, strict=True
        ):
            self._table.put(which, values)
        self._rows = _FEW_ROWS if predicting else _FIRST_ROWS
        features = _FEW_FEATURES if predicting else _FIRST_FEATURES
        self._features = max(features, 2 * spec.max_features + 2)
        self._spelled: list[str] = []

    def parse(self, records: Records) -> Events:
        """Every good event of ``records`` as a row, every bad one as a rejection.

        The arrays are new ones; ``records.buffer`` is only read.
        """
        self.reserve(int((records.ends - records.starts).max(initial=0)))
        rows = self._read(records, self._parse)
        bad = rows.bad[: rows.counts[BAD_ROWS]]
        if len(bad):
            judge(records.buffer, bad, self._work.scratch)
        return events_of(records, rows)

    def reserve(self, longest: int) -> None:
        """Make room for records of ``longest`` bytes."""
        if len(self._work.scratch) < longest + PADDING:
            self._work = self._work._replace(scratch=np.zeros(2 * longest + PADDING, np.uint8))
            self._table.put(arguments.WORK, self._work)

    @property
    def tables(self) -> tuple[Spec, Names, Work]:
        """What the kernels read and write beside records and rows."""
        return self._compiled, self._names, self._work

    @property
    def is_crowded(self) -> bool:
        """Whether there is no more room, or hardly any, for names not met before: they are read
        more slowly then.
        """
        count, used = self._names.counts[[roles.COUNT, roles.USED]].tolist()
        return bool(count >= len(self._names.entries) or used > 7 * len(self._names.arena) // 8)

    @property
    def names(self) -> list[str]:
        """The names met so far, by name id: dotted paths, ``a*b`` for crosses, "" for the bias."""
        names = self._names
        count = int(names.counts[roles.COUNT])
        # a bad event's names are taken back, so that the last ones may have changed
        for entry in range(len(self._spelled), count):
            self._spelled.append(self._spelling(entry))
        del self._spelled[count:]
        return self._spelled

    def _read(self, records: Records, read: Callable[..., bool]) -> Rows:
        """All rows that the kernel ``read`` makes of ``records``, however many there are."""
        rows = make_rows(self._rows, self._features)
        cursor = np.array([0, -1, 0, 0], np.int64)
        while not read(
            records.buffer,
            records.starts,
            records.ends,
            records.timestamps,
            self._compiled,
            self._names,
            self._work,
            rows,
            cursor,
        ):
            rows = self._enlarged(rows)
        return rows

    def _parse(
        self,
        buffer: Bytes,
        starts: Int64,
        ends: Int64,
        timestamps: Int64,
        spec: Spec,
        names: Names,
        work: Work,
        rows: Rows,
        cursor: Int64,
    ) -> bool:
        """Parse on from ``cursor`` (int64[4]: record, byte or -1, line, events of the record so
        far) until all is read or ``rows`` is full; returns whether all is read.
        """
        self._table.put(arguments.SOURCE, Source(buffer, starts, ends, timestamps, cursor))
        self._table.put(arguments.ROWS, rows)
        return bool(parse(self._table.address, NO_REQUEST, 0) != FULL)

    def _spelling(self, entry: int) -> str:
        names = self._names
        start, length = names.entries["start"][entry], names.entries["length"][entry]
        raw = names.arena[start : start + length].tobytes()
        try:
            name = str(json.loads(b'"' + raw + b'"'))
        except ValueError:
            name = raw.decode("utf-8", "replace")
        parent = int(names.entries["parent"][entry])
        return f"{self._spelling(parent)}.{name}" if parent >= 0 else name

    def _enlarged(self, rows: Rows) -> Rows:
        """The same rows in arrays of twice the length, where they were nearly full."""
        counts = rows.counts
        if counts[ROWS] + counts[BAD_ROWS] + 2 >= self._rows:
            self._rows *= 2
        else:
            self._features *= 2
        larger = make_rows(self._rows, self._features)
        for ours, theirs in zip(larger, rows, strict=True):
            ours[: len(theirs)] = theirs
        return larger


def make_rows(rows: int, features: int) -> Rows:
    """Arrays for as many rows and coordinates."""
    return Rows(
        indptr=np.zeros(rows + 1, np.int64),
        keys=np.empty(features, np.uint64),
        values=np.empty(features, np.float32),
        name_ids=np.empty(features, np.int32),
        about=np.empty(rows, ABOUT),
        bad=np.empty(rows, BAD_EVENT),
        counts=np.zeros(4, np.int64),
    )


def _make_work(spec: Features, cross_columns: Int64) -> Work:
    return Work(
        scratch=np.zeros(_FIRST_SCRATCH, np.uint8),
        current=np.zeros(1, CURRENT),
        levels=np.zeros(DEPTH_LIMIT + 1, LEVEL),
        columns=np.zeros(int(cross_columns.max(initial=-1)) + 1, COLUMN),
        nexts=np.full(spec.max_features + 2, NO_MARK, np.int64),
        picks=np.zeros(MOST_COLUMNS, np.int64),
        pending=np.zeros(5 * LONGEST_RUN, np.uint64),
        # a top-level member is at least four bytes; untouched pages of this cost nothing
        strangers=np.zeros(1 << (spec.max_event_bytes // 2).bit_length(), STRANGER),
    )


def events_of(records: Records, rows: Rows) -> Events:
    good, nnz, bad, skipped = (int(n) for n in rows.counts[[ROWS, NNZ, BAD_ROWS, SKIPPED_ROWS]])
    about, rejected = rows.about[:good], rows.bad[:bad]
    columns = {name: np.ascontiguousarray(about[name]) for name in ABOUT.names or ()}
    return Events(
        source=records,
        batch=Batch.trusted(
            rows.indptr[: good + 1],
            rows.keys[:nnz],
            rows.values[:nnz],
            columns["label"],
            columns["weight"],
        ),
        ts=columns["ts"],
        id_starts=columns["id_start"],
        id_ends=columns["id_end"],
        records=columns["record"],
        lines=columns["line"],
        name_ids=rows.name_ids[:nnz],
        skipped=skipped,
        rejected=Rejected(
            rejected["reason"],
            rejected["start"],
            rejected["end"],
            rejected["record"],
            rejected["line"],
            rejected["key_start"],
            rejected["key_end"],
        ),
    )
