"""What every source of events promises, and the settings that all of them read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, Protocol

import numpy as np

from ctr.errors import SettingError
from ctr.types import Int64, Positions, Records


class Source(Protocol):
    """Records of one or more source URIs, each in order, resumable after any of them.

    A source is made with the positions to resume from. One thread calls ``next_batch`` and
    ``close``; the others may be called from any.
    """

    def next_batch(self, timeout: float) -> Records | None:
        """The next records of one URI; None when none came within ``timeout`` seconds.

        A source made with ``Records.after`` of this URI (and of the others the last ones given)
        goes on with exactly the rest. There may be no records in it: then only the position moved,
        past something that is not an event. What fails for a while (a broker that is away) is
        None too; what cannot get better is OffsetsLostError or SourceError.
        """
        ...

    def ended(self) -> bool:
        """Whether everything was given and nothing more will come."""
        ...

    def start(self) -> Positions:
        """Where each URI met so far was begun: its position until its first records are learned."""
        ...

    def lag(self) -> dict[str, int]:
        """How far each URI is behind its end: bytes of files and logs, records of all else."""
        ...

    def commit(self, positions: Positions) -> None:
        """These are durable now; told to Kafka for lag tools. Never blocks, never raises."""
        ...

    def counters(self) -> dict[str, int]:
        """What went wrong and was got over, by name; all are there from the start."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether the source could be reached when last tried."""
        ...

    def close(self) -> None: ...


def parse_start(text: str) -> Literal["earliest", "latest"] | int:
    """``events.start``: a word, or a time in milliseconds since the epoch (UTC without a zone).

    >>> parse_start("latest"), parse_start("1700000000000"), parse_start("1970-01-01T00:00:01")
    ('latest', 1700000000000, 1000)
    """
    if text == "earliest" or text == "latest":
        return text  # type: ignore[return-value]
    if re.fullmatch(r"[0-9]{1,16}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wanted = "'earliest', 'latest' or a time (2026-01-31T12:00:00Z, or ms)"
        raise SettingError("events.start", text, wanted) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


class Skip:
    """Ranges of offsets to leave out, ``events.skip``: ``source:first-last``, both included.

    The source is a URI; in a log directory also the segment: ``log:clicks/000000000001.jsonl``.

    >>> skip = Skip(["kafka:events/0:100-250"])
    >>> records = Records.of([b"a", b"b", b"c"], "kafka:events/0", first=249)
    >>> skip.leave_out(records, records.source).offsets
    array([251])
    """

    def __init__(self, ranges: Iterable[str] = ()) -> None:
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        for text in ranges:
            match = re.fullmatch(r"(.+):([0-9]+)-([0-9]+)", text)
            if not match or int(match[2]) > int(match[3]):
                wanted = "source:first-last, as kafka:events/0:100-250"
                raise SettingError("events.skip", text, wanted)
            self._ranges.setdefault(match[1], []).append((int(match[2]), int(match[3])))

    def covers(self, source: str, first: int, last: int) -> bool:
        """Whether every offset in ``[first, last]`` of ``source`` is left out by one range."""
        if source not in self._ranges:  # asked for every record batch there is
            return False
        return any(a <= first and last <= b for a, b in self._ranges[source])

    def leave_out(self, records: Records, source: str) -> Records:
        """``records`` without those that are left out; ``after`` stays."""
        if source not in self._ranges:
            return records
        kept = np.ones(len(records), bool)
        for first, last in self._ranges[source]:
            kept &= (records.offsets < first) | (records.offsets > last)

        def keep(values: Int64) -> Int64:
            return values[kept]

        return Records(
            records.source,
            records.buffer,
            keep(records.starts),
            keep(records.ends),
            keep(records.offsets),
            keep(records.timestamps),
            records.after,
        )
