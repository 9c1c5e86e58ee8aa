"""Events from files and standard input, plain or compressed, one file after the other."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ctr.errors import OffsetsLostError, SettingError, SourceError
from ctr.kernels.lines import split
from ctr.log import MAX_LINE_BYTES
from ctr.stream.compression import InputStream
from ctr.stream.source import Skip
from ctr.types import PADDING, Bytes, Position, Positions, Records

_NO_BYTES = np.empty(0, np.uint8)


class FileSource:
    """The non-blank lines of ``paths``, a record each; "-" is the descriptor ``stdin``.

    The URI is ``file:path`` and an offset is a line's first byte in the file's (uncompressed)
    content. Timestamps are the file's time of change, for a pipe the time of reading. A last line
    without newline counts. gzip and zstd are recognised by content.

    Raises SettingError for a path named twice, SourceError for one that cannot be read or
    decompressed (at once where that shows at once), and OffsetsLostError for one that ends before
    the position to resume from.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        resume: Positions | None = None,
        batch_bytes: int = 4 << 20,
        skip: Iterable[str] = (),
        stdin: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paths = [str(path) for path in paths]
        if not paths or len(set(self._paths)) < len(paths):
            raise SettingError("files", self._paths, "one or more, each named once")
        self._batch_bytes, self._skip = batch_bytes, Skip(skip)
        self._stdin, self._clock = stdin, clock
        self._resume = {_uri(path): _resumed(resume, path) for path in self._paths}
        self._sizes = [_size(stdin if path == "-" else path) for path in self._paths]
        self._index, self._read_before = 0, 0
        self._descriptor = -1
        self._stream: InputStream | None = None
        self._offset, self._discard, self._tail = 0, 0, _NO_BYTES

    healthy = True

    def next_batch(self, timeout: float) -> Records | None:
        """The next lines of one file; a file is never waited for, a pipe at most ``timeout``."""
        while not self.ended():
            stream = self._stream or self._open()
            buffer, size, at_end = self._fill(stream, timeout)
            if size == len(self._tail) and not at_end:
                return None
            records = self._take(stream, buffer, size, at_end)
            if at_end:
                self._finish(stream)
            if records is not None:
                return records
        return None

    def ended(self) -> bool:
        """Whether the last file was read to its end."""
        return self._index == len(self._paths)

    def start(self) -> Positions:
        """The position in each file that it was made with."""
        return dict(self._resume)

    def lag(self) -> dict[str, int]:
        """Bytes of each file not read yet, as they are on the disk; a pipe counts nothing."""
        read = self._bytes_read()
        left = {}
        for i, (path, size) in enumerate(zip(self._paths, self._sizes, strict=True)):
            if i < self._index or size is None:
                left[_uri(path)] = 0
            else:
                left[_uri(path)] = max(0, size - (read if i == self._index else 0))
        return left

    def progress(self) -> tuple[int, int | None]:
        """Bytes read, as they are on the disk, and of how many; None when a pipe is among them."""
        read = self._read_before + self._bytes_read()
        known = [size for size in self._sizes if size is not None]
        return read, sum(known) if len(known) == len(self._sizes) else None

    def commit(self, positions: Positions) -> None:
        """Nobody to tell."""

    def counters(self) -> dict[str, int]:
        """Nothing is got over."""
        return {}

    def close(self) -> None:
        """Close the file that is being read."""
        if self._descriptor >= 0 and self._descriptor != self._stdin:
            os.close(self._descriptor)
        self._descriptor, self._stream = -1, None

    def _bytes_read(self) -> int:
        stream = self._stream  # which another thread may be closing
        return stream.bytes_read if stream else 0

    def _open(self) -> InputStream:
        path = self._paths[self._index]
        if path == "-":
            self._descriptor = self._stdin
        else:
            try:
                self._descriptor = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise SourceError(f"{path}: {error.strerror}") from None
        self._stream = InputStream(path, self._descriptor)
        self._offset = self._resume[_uri(path)].offset
        self._discard = 0 if self._stream.seek(self._offset) else self._offset
        self._tail = _NO_BYTES
        return self._stream

    def _fill(self, stream: InputStream, timeout: float) -> tuple[Bytes, int, bool]:
        """``(buffer, size, at_end)``: the line begun before, and what could be read after it."""
        if not self._discarded(stream, timeout):
            return _NO_BYTES, 0, False
        size = len(self._tail)
        if size >= MAX_LINE_BYTES:
            where = f"{stream.name}, byte {self._offset}"
            raise SourceError(f"{where}: a line of more than {MAX_LINE_BYTES} bytes")
        capacity = size + max(self._batch_bytes, size)
        buffer = np.empty(capacity + PADDING, np.uint8)
        buffer[:size] = self._tail
        got: int | None = 1
        while size < capacity and got:
            if got := stream.readinto(buffer[size:capacity].data, timeout):
                size += got
                timeout = 0.0
        buffer = buffer[: size + PADDING]
        buffer[size:] = 0
        return buffer, size, got == 0

    def _discarded(self, stream: InputStream, timeout: float) -> bool:
        """Whether everything before the position to resume from has been read past."""
        scratch = memoryview(bytearray(min(self._discard, 1 << 20)))
        while self._discard:
            got = stream.readinto(scratch[: self._discard], timeout)
            if got is None:
                return False
            if got == 0:
                raise OffsetsLostError(
                    f"{stream.name}: byte {self._offset}, from which to go on, is not there; it "
                    f"ends at byte {self._offset - self._discard}"
                )
            self._discard -= got
        return True

    def _take(self, stream: InputStream, buffer: Bytes, size: int, at_end: bool) -> Records | None:
        starts, ends, consumed = split(buffer, size, final=at_end)
        offset = self._offset
        self._offset += consumed
        self._tail = buffer[consumed:size].copy()
        if not len(starts):
            return None
        stamp = self._clock()
        if stream.is_regular:
            stamp = os.fstat(self._descriptor).st_mtime
        stamps = np.full(len(starts), int(stamp * 1000), np.int64)
        uri = _uri(stream.name)
        after = Position("", self._offset)
        records = Records(uri, buffer, starts, ends, starts + offset, stamps, after)
        return self._skip.leave_out(records, uri)

    def _finish(self, stream: InputStream) -> None:
        self._read_before += stream.bytes_read
        self._index += 1
        self.close()


def _uri(path: str) -> str:
    return f"file:{path}"


def _resumed(resume: Positions | None, path: str) -> Position:
    return (resume or {}).get(_uri(path), Position("", 0))


def _size(path: str | int) -> int | None:
    """Bytes of a regular file, None of a pipe; SourceError for what cannot be read."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{path}: a directory, not a file of events")
    if isinstance(path, str) and not os.access(path, os.R_OK):
        raise SourceError(f"{path}: no permission to read it")
    return status.st_size if stat.S_ISREG(status.st_mode) else None
