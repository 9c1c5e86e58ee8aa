r"""The segment log: a directory of ``*.jsonl`` files, read in the order of their names.

A segment is lines; a line counts once its newline is there, and the last line of a segment counts
without one as soon as a later segment exists (its writer has moved on, or died in the middle).
Lines are only ever added at the end of the last segment. Any program may write such a directory;
``LogWriter`` is the one of ctr. A place in it is ``Position(segment, byte)``.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as name, LogWriter(Path(name)) as log:
...     log.append(b'{"label":1}\n{"label":0}\n')
...     LogReader(Path(name)).read().starts
array([ 0, 12])
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from ctr.errors import LockedError, OffsetsLostError, SettingError, SourceError
from ctr.files import sync_directory
from ctr.kernels.lines import split
from ctr.types import PADDING, Bytes, Int64, Position

SUFFIX = ".jsonl"
MAX_LINE_BYTES = 1 << 28
"""A longer line is taken as a sign that the file is not lines at all."""

START = Position("", 0)
"""The start of a log, whichever its first segment is."""

_log = logging.getLogger(__name__)
_NUMBERED = re.compile(r"^(.*?)([0-9]{12})\.jsonl$")

Sync = Literal["append", "segment", "never"]


def segments(directory: Path) -> list[str]:
    """Names of the segments of a log, in order; empty when there is no such directory yet."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.endswith(SUFFIX) and not name.startswith("."))


def next_name(last: str) -> str:
    """The name of the segment after ``last`` (empty: of the first one).

    >>> next_name(""), next_name("000000000009.jsonl"), next_name("clicks.jsonl")
    ('000000000001.jsonl', '000000000010.jsonl', 'clicks_000000000001.jsonl')
    """
    if match := _NUMBERED.match(last):
        return f"{match[1]}{int(match[2]) + 1:012d}{SUFFIX}"
    stem = last.removesuffix(SUFFIX)
    # "_" sorts after ".", so that the new name sorts after the old one
    return f"{stem}_{1:012d}{SUFFIX}" if stem else f"{1:012d}{SUFFIX}"


class LogWriter:
    """Appends lines to the log in ``directory``, of which it is the only writer.

    A segment that would grow past ``segment_bytes`` is followed by the next one; a new writer
    always starts a new one, so that a line which its predecessor left half written stays one bad
    line. ``sync`` says when bytes are forced to the disk: at every ``append``, when a ``segment``
    is full, or ``never``.

    Raises LockedError while another process writes there (its death frees it), and OSError.
    """

    def __init__(
        self, directory: Path, segment_bytes: int = 64 << 20, sync: Sync = "segment"
    ) -> None:
        self.directory, self.segment_bytes, self.sync = Path(directory), segment_bytes, sync
        self.directory.mkdir(parents=True, exist_ok=True)
        self._file: int | None = None
        self._name, self._size = "", 0
        self._lock = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise LockedError(f"another process writes the log {self.directory}") from None

    @property
    def position(self) -> Position:
        """Where the next line will be; the segment is empty before the first."""
        return Position(self._name, self._size)

    def append(self, lines: bytes) -> None:
        """Append whole lines, each with its newline, all in one segment.

        Raises SettingError when the last newline is missing. On OSError (a full disk) the whole
        lines written so far stay (``position`` says where they end) and a part of one is removed.
        """
        if not lines.endswith(b"\n"):
            raise SettingError("lines", lines[-20:], "whole lines, the last newline included")
        if self._file is None or (self._size and self._size + len(lines) > self.segment_bytes):
            self._rotate()
        assert self._file is not None
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._file, memoryview(lines)[written:])
        except OSError:
            self._size += lines.rfind(b"\n", 0, written) + 1
            os.ftruncate(self._file, self._size)
            raise
        self._size += written
        if self.sync == "append":
            self.flush()

    def flush(self) -> None:
        """Force what was appended to the disk."""
        if self._file is not None:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the segment and let another process write."""
        self._end_segment()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _rotate(self) -> None:
        self._end_segment()
        self._name = next_name(max(segments(self.directory), default=""))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._file = os.open(self.directory / self._name, flags, 0o644)
        self._size = 0
        if self.sync != "never":
            sync_directory(self.directory)

    def _end_segment(self) -> None:
        if self._file is not None:
            if self.sync != "never":
                self.flush()
            os.close(self._file)
            self._file = None


@dataclass(slots=True)
class Lines:
    """Non-blank lines of one segment.

    Line i is ``buffer[starts[i]:ends[i]]``; ``buffer[0]`` is byte ``offset`` of ``segment``, and
    ``after`` the byte after the last line. ``modified_ms`` is the segment's time of change.
    """

    segment: str
    offset: int
    buffer: Bytes
    starts: Int64
    ends: Int64
    after: int
    modified_ms: int


class LogReader:
    """Reads the lines of the log in ``directory`` from ``position`` on, as they come.

    ``block_bytes`` are read at a time, more where one line is longer. Where the log no longer has
    what comes next (a segment that vanished before it was read, or shrank), OffsetsLostError says
    both positions; with ``go_on`` reading goes on after the gap and ``lost`` counts it.
    """

    def __init__(
        self,
        directory: Path,
        position: Position = START,
        block_bytes: int = 4 << 20,
        *,
        go_on: bool = False,
    ) -> None:
        self.directory, self.position = Path(directory), position
        self.block_bytes, self.go_on = block_bytes, go_on
        self.lost = 0
        self._file: int | None = None
        self._seen: set[str] = set()
        self._missing = ""

    def read(self, end: Position | None = None) -> Lines | None:
        """The next lines, and on; None when there is none for now, or none before ``end``."""
        while self._file is not None or self._open():
            if (lines := self._read_lines(end, final=False)) is not None:
                return lines
            following = self._following()
            if following is None or (end is not None and following > end.segment):
                return None
            # what was added before the next segment came; nothing comes after it
            if (lines := self._read_lines(end, final=True)) is not None:
                return lines
            self.close()
            self.position = Position(following, 0)
        return None

    def behind(self) -> int:
        """Bytes of the log after ``position``."""
        names = [name for name in segments(self.directory) if name >= self.position.segment]
        total = 0
        for name in names:
            try:
                total += (self.directory / name).stat().st_size
            except FileNotFoundError:
                continue
        return max(0, total - (self.position.offset if self.position.segment in names else 0))

    def close(self) -> None:
        """Close the segment that is being read."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> bool:
        names = segments(self.directory)
        self._seen.update(names if not self._seen else ())
        if not self.position.segment:
            if not names:
                return False
            self.position = Position(names[0], 0)
        try:
            self._file = os.open(self.directory / self.position.segment, os.O_RDONLY)
        except FileNotFoundError:
            return self._open_later(names)
        except OSError as error:
            raise SourceError(f"{self.directory / self.position.segment}: {error}") from None
        return True

    def _open_later(self, names: list[str]) -> bool:
        """The segment to go on in has vanished: open the one after it, if that is allowed."""
        later = [name for name in names if name > self.position.segment]
        there = Position(later[0], 0) if later else None
        if self._missing != self.position.segment:
            self._lose(self.position, there)
            self._missing = self.position.segment
        if there is None:
            return False
        self.position = there
        return self._open()

    def _following(self) -> str | None:
        """The segment after this one; it notices those that vanished or came too late."""
        current, names = self.position.segment, segments(self.directory)
        later = [name for name in names if name > current]
        if gone := sorted(name for name in self._seen.difference(names) if name > current):
            self._seen.difference_update(gone)
            self._lose(Position(gone[0], 0), Position(later[0], 0) if later else None)
        for name in sorted(set(names) - self._seen):
            if name < current:
                _log.warning("%s sorts before %s and is not read", self.directory / name, current)
        self._seen.update(names)
        return later[0] if later else None

    def _lose(self, wanted: Position, there: Position | None) -> None:
        self.lost += 1
        if not self.go_on:
            goes_on = f"{there.segment}, byte {there.offset}" if there else "nothing yet"
            raise OffsetsLostError(
                f"log {self.directory}: {wanted.segment}, byte {wanted.offset}, which comes next, "
                f"is no longer there; the log goes on at {goes_on}. "
                'events.on_lost_offsets = "continue" goes on from there and counts it'
            )

    def _read_lines(self, end: Position | None, final: bool) -> Lines | None:
        assert self._file is not None
        block = self.block_bytes
        while True:
            status, at = os.fstat(self._file), self.position.offset
            size = status.st_size
            if size < at:  # what is there now is something else: read it from its start
                there = Position(self.position.segment, 0)
                self._lose(self.position, there)
                self.position = there
                continue
            if end is not None and end.segment == self.position.segment:
                size = min(size, end.offset)
            if size <= at:
                return None
            want = min(block, size - at)
            buffer = np.empty(want + PADDING, np.uint8)
            got = os.preadv(self._file, [buffer[:want].data], at)
            buffer = buffer[: got + PADDING]
            buffer[got:] = 0
            starts, ends, consumed = split(buffer, got, final=final and at + got >= size)
            if consumed == 0:
                if want < block or got < want:
                    return None
                if block >= MAX_LINE_BYTES:
                    where = f"{self.directory / self.position.segment}, byte {at}"
                    raise SourceError(f"{where}: a line of more than {MAX_LINE_BYTES} bytes")
                block *= 2
                continue
            self.position = Position(self.position.segment, at + consumed)
            if len(starts):
                modified = status.st_mtime_ns // 1_000_000
                name = self.position.segment
                return Lines(name, at, buffer, starts, ends, at + consumed, modified)
