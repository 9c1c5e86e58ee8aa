"""Events of other formats: each line is rewritten as one that a compiled parser reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ctr.features.parser import Parser
from ctr.types import Events, Int64, Records, Rejected

__all__ = ["RewritingParser"]

_BLANK = b" \t\r"


class RewritingParser:
    r"""Reads lines of another format with ``parser``: ``rewrite`` makes its lines of them.

    ``rewrite`` takes a line without its newline and carriage return, and returns a line for
    ``parser``, or None when the line is no event at all (a header, a comment). Of what it cannot
    read it makes a line that ``parser`` rejects, for the reason that is to be reported: hash and
    verdicts are the parser's alone. A line longer than ``features.max_event_bytes``, before or
    after it was rewritten, is ``too_long``.

    >>> from ctr.settings import Features
    >>> form = RewritingParser(Parser(Features()), lambda line: b'{"label":' + line + b"}")
    >>> events = form.parse(Records.of([b"1\n0", b"oops"]))
    >>> events.batch.labels.tolist(), events.records.tolist(), events.lines.tolist()
    ([1.0, 0.0], [0, 0], [0, 1])
    >>> bad = events.rejected
    >>> events.source.buffer[bad.starts[0] : bad.ends[0]].tobytes()
    b'oops'
    """

    def __init__(self, parser: Parser, rewrite: Callable[[bytes], bytes | None]) -> None:
        self._parser, self._rewrite = parser, rewrite
        self._limit = parser.spec.max_event_bytes

    @property
    def names(self) -> list[str]:
        """The names met so far, by name id, as of ``Parser``."""
        return self._parser.names

    def parse(self, records: Records) -> Events:
        """Every good line of ``records`` as a row, every bad one as a rejection.

        All addresses and spans are those of ``records``; the key that was read last is not told.
        """
        content, base = _content(records)
        lines, texts = [], []
        for line in _lines(records, content, base):
            text = self._rewritten(content[line.start - base : line.end - base])
            if text is not None:
                lines.append(line)
                texts.append(text)
        inner = Records.of(texts, records.source)
        of, number, starts, ends = np.array(lines, np.int64).reshape(-1, 4).T
        inner.timestamps = records.timestamps[of]
        events = self._parser.parse(inner)
        id_starts, id_ends = _id_spans(events, content, base, starts, ends)
        rows, bad = events.records, events.rejected.records
        nowhere = np.full(len(bad), -1, np.int64)
        return Events(
            source=records,
            batch=events.batch,
            ts=events.ts,
            id_starts=id_starts,
            id_ends=id_ends,
            records=of[rows].astype(np.int32),
            lines=number[rows].astype(np.int32),
            name_ids=events.name_ids,
            skipped=events.skipped,
            rejected=Rejected(
                events.rejected.reasons,
                starts[bad],
                ends[bad],
                of[bad].astype(np.int32),
                number[bad].astype(np.int32),
                nowhere,
                nowhere,
            ),
        )

    def _rewritten(self, line: bytes) -> bytes | None:
        if len(line) > self._limit or not line.strip(_BLANK):
            return line
        return self._rewrite(line.removesuffix(b"\r"))


class _Line(NamedTuple):
    """A line's record, its number in it, and its span of the buffer."""

    record: int
    number: int
    start: int
    end: int


def _content(records: Records) -> tuple[bytes, int]:
    """The bytes from the first record to the last, and where in the buffer they start."""
    base = int(records.starts.min(initial=len(records.buffer)))
    return records.buffer[base : int(records.ends.max(initial=base))].tobytes(), base


def _lines(records: Records, content: bytes, base: int) -> list[_Line]:
    """The lines that are not blank, and records that are nothing but blank."""
    lines = []
    for record, (start, end) in enumerate(
        zip(records.starts.tolist(), records.ends.tolist(), strict=True)
    ):
        if content.find(b"\n", start - base, end - base) < 0:
            lines.append(_Line(record, 0, start, end))
            continue
        found, at = [], start
        for number, line in enumerate(content[start - base : end - base].split(b"\n")):
            if line.strip(_BLANK):
                found.append(_Line(record, number, at, at + len(line)))
            at += len(line) + 1
        lines += found or [_Line(record, 0, start, end)]
    return lines


def _id_spans(
    events: Events, content: bytes, base: int, starts: Int64, ends: Int64
) -> tuple[Int64, Int64]:
    """Where the events' lines spell their ids; -1 where there is none, or none spelled so."""
    id_starts, id_ends = np.full((2, len(events)), -1, np.int64)
    buffer = events.source.buffer
    rows = np.flatnonzero(events.id_starts >= 0)
    if not len(rows):
        return id_starts, id_ends
    rewritten = buffer.tobytes()
    of = events.records[rows]
    spans = (a[rows].tolist() for a in (events.id_starts, events.id_ends))
    for row, first, last, start, end in zip(
        rows.tolist(), *spans, starts[of].tolist(), ends[of].tolist(), strict=True
    ):
        at = content.find(rewritten[first:last], start - base, end - base)
        if at >= 0:
            id_starts[row], id_ends[row] = base + at, base + at + last - first
    return id_starts, id_ends
