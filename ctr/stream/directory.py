"""Events from a log directory, tailed as its segments grow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ctr.errors import SourceError
from ctr.log import START, Lines, LogReader, segments
from ctr.stream.source import Skip, parse_start
from ctr.types import Position, Positions, Records

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_LAG_SECONDS = 1.0


class DirectorySource:
    """The non-blank lines of the log in ``directory`` (see ``ctr.log``), a record each.

    The URI is ``log:directory``, an offset is a line's first byte in its segment, and the
    timestamp is the segment's time of change. ``start`` and ``stop_at_end`` are as in the settings
    (``events``); a start by time is the first segment that changed then or later. While nothing
    new is there it looks again, at most ``_POLL_SECONDS`` apart.

    Raises OffsetsLostError from ``next_batch`` unless ``go_on``, and SourceError.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        resume: Positions | None = None,
        start: str = "earliest",
        stop_at_end: bool = False,
        go_on: bool = False,
        batch_bytes: int = 4 << 20,
        skip: Iterable[str] = (),
    ) -> None:
        self._directory = Path(directory)
        self.uri = f"log:{os.path.normpath(directory)}"
        self._skip = Skip(skip)
        resumed = (resume or {}).get(self.uri)
        self._start = resumed or _first(self._directory, parse_start(start))
        self._reader = LogReader(self._directory, self._start, batch_bytes, go_on=go_on)
        self._end = _end(self._directory) if stop_at_end else None
        self._lag, self._lag_at = 0, -_LAG_SECONDS
        if not self._directory.is_dir():
            if stop_at_end:
                raise SourceError(f"the log {directory} does not exist")
            _log.warning("the log %s does not exist yet; waiting for it", directory)

    healthy = True

    def next_batch(self, timeout: float) -> Records | None:
        """The next lines of one segment."""
        deadline = time.monotonic() + timeout
        pause = 0.001
        while not self.ended():
            lines = self._reader.read(self._end)
            self._measure(at_once=lines is None or self.ended())
            if lines is not None:
                return self._records(lines)
            left = deadline - time.monotonic()
            if self.ended() or left <= 0:
                return None
            time.sleep(min(pause, left))
            pause = min(2 * pause, _POLL_SECONDS)
        return None

    def ended(self) -> bool:
        """Whether it stops at the end and has read all that was there at the start."""
        return self._end is not None and self._reader.position >= self._end

    def start(self) -> Positions:
        """Where it began."""
        return {self.uri: self._start}

    def lag(self) -> dict[str, int]:
        """Bytes behind the end of the log, a second old at most."""
        return {self.uri: self._lag}

    def commit(self, positions: Positions) -> None:
        """Nobody to tell."""

    def counters(self) -> dict[str, int]:
        """``offsets_lost``: gaps in the log that were passed over."""
        return {"offsets_lost": self._reader.lost}

    def close(self) -> None:
        """Close the segment that is being read."""
        self._reader.close()

    def _records(self, lines: Lines) -> Records:
        records = Records(
            self.uri,
            lines.buffer,
            lines.starts,
            lines.ends,
            lines.starts + lines.offset,
            np.full(len(lines.starts), lines.modified_ms, np.int64),
            Position(lines.segment, lines.after),
        )
        return self._skip.leave_out(records, f"{self.uri}/{lines.segment}")

    def _measure(self, at_once: bool) -> None:
        now = time.monotonic()
        if at_once or now - self._lag_at >= _LAG_SECONDS:
            self._lag, self._lag_at = self._reader.behind(), now


def _first(directory: Path, start: str | int) -> Position:
    """Where a first start begins; a log that is still empty is read from its beginning."""
    if start == "earliest":
        return START
    end = _end(directory)
    if isinstance(start, int):
        for name in segments(directory):
            if (directory / name).stat().st_mtime_ns // 1_000_000 >= start:
                return Position(name, 0)
    return end


def _end(directory: Path) -> Position:
    """After the last whole line of the last segment."""
    names = segments(directory)
    if not names:
        return START
    with open(directory / names[-1], "rb") as file:
        at = file.seek(0, os.SEEK_END)
        while at > 0:
            step = min(1 << 16, at)
            at = file.seek(at - step)
            if (newline := file.read(step).rfind(b"\n")) >= 0:
                return Position(names[-1], at + newline + 1)
    return Position(names[-1], 0)
