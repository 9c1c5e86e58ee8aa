"""A served model in memory that several processes map: one writes it, the others read.

Nobody takes a lock. The memory has no name: it is passed on by descriptors and ends with the last
process that has it, however that ends. Which version it holds is told by a ``Board`` under a
sequence number that is odd while a change is under way (a seqlock): who reads does its work
between two looks at that number, and does it again when they differ.
"""

from __future__ import annotations

import mmap
import os
import platform
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ctr.errors import CtrError, SettingError

Arrays = tuple[NDArray[Any], ...]

SPARE_BYTES = 1 << 18
"""Behind every array: what is read while it changes may say that a chunk is as long as its length
can say (32767 weights). What comes of it is thrown away, but the reading must not be a fault.
"""

STALLED_SECONDS = 1.0
PATIENCE_SECONDS = 0.2

_ORDERED = platform.machine() in ("x86_64", "AMD64")
"""Processors on which reads stay in order, and writes do: others need to be told."""

_MOST_BYTES = 16 << 20
_WORDS, _CONTENT = 24, 64
_SEQUENCE, _LENGTH, _NOT_BEFORE = 0, 1, 2


class StalledError(CtrError):
    """A change was begun and does not end: its writer is stopped, or has died."""


class Posted(Struct, frozen=True):
    """What a board tells: the version by number of ``update`` (0: none yet), in the arrays of
    ``generation``; and how following it goes.
    """

    generation: int = 0
    update: int = 0
    held: bool = False
    nonzero: int = 0
    manifest: bytes = b""
    failures: int = 0
    last_failure: str = ""


class Board:
    """A message for many readers by one writer; ``fd`` is the memory it is in, new without one.

    >>> board = Board()
    >>> reader = Board(os.dup(board.fd))
    >>> with board.changing():
    ...     board.post(Posted(update=1))
    >>> sequence = reader.steady()
    >>> reader.read().update, reader.unchanged(sequence)
    (1, True)
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = anonymous("ctr-board", _CONTENT + _MOST_BYTES) if fd is None else fd
        self._bytes = memoryview(mmap.mmap(self.fd, _CONTENT + _MOST_BYTES))
        self._words = self._bytes[:_WORDS].cast("Q")
        self._turn = threading.Lock()

    # ---- the writer

    @contextmanager
    def changing(self) -> Iterator[None]:
        """What is changed within is changed at once, for who reads by the sequence number."""
        until = time.monotonic_ns() + int(1e9 * PATIENCE_SECONDS)
        while time.monotonic_ns() < min(until, self._words[_NOT_BEFORE]):
            time.sleep(1e-3)
        self._words[_SEQUENCE] += 1
        self._fence()
        try:
            yield
        finally:
            self._fence()
            self._words[_SEQUENCE] += 1

    def post(self, posted: Posted) -> None:
        """Tell something else, within ``changing``. Raises SettingError for too long a manifest."""
        content = msgspec.msgpack.encode(posted)
        if len(content) > _MOST_BYTES:
            wanted = f"described in {_MOST_BYTES} bytes to be shared by workers"
            raise SettingError("the model", f"{len(content)} bytes", wanted)
        self._words[_LENGTH] = len(content)
        self._bytes[_CONTENT : _CONTENT + len(content)] = content

    # ---- the readers

    def steady(self) -> int:
        """The sequence number, once no change is under way; StalledError when one does not end."""
        sequence: int = self._words[_SEQUENCE]
        if sequence % 2:
            until = time.monotonic() + STALLED_SECONDS
            while (sequence := self._words[_SEQUENCE]) % 2:
                if time.monotonic() > until:
                    raise StalledError("a change of the model does not end")
                time.sleep(20e-6)
        self._fence()
        return sequence

    def still(self, sequence: int) -> bool:
        """Whether ``steady`` would say ``sequence`` again, as it does mostly, but quicker."""
        same: bool = self._words[_SEQUENCE] == sequence
        if not _ORDERED:
            self._fence()
        return same

    def unchanged(self, sequence: int) -> bool:
        """Whether all that was read since ``steady`` said ``sequence`` belongs together."""
        if not _ORDERED:
            self._fence()
        same: bool = self._words[_SEQUENCE] == sequence
        return same

    def ask_for_peace(self, seconds: float) -> None:
        """Have the next change wait a little, for work that changes have undone several times."""
        self._words[_NOT_BEFORE] = time.monotonic_ns() + int(1e9 * seconds)

    def read(self) -> Posted | None:
        """What is told; None when it changed meanwhile, or nothing has been told yet."""
        sequence = self.steady()
        content = bytes(self._bytes[_CONTENT : _CONTENT + self._words[_LENGTH]])
        if not self.unchanged(sequence) or not content:
            return None
        return msgspec.msgpack.decode(content, type=Posted)

    def _fence(self) -> None:
        """No read or write of this thread moves past this call, on any processor."""
        # it is the release of the first and the acquisition of the second
        for _ in range(2):
            with self._turn:
                pass


class _Segment(NamedTuple):
    """A piece of memory of this process, and where it is mapped."""

    fd: int
    address: int
    size: int


class _Placed(Struct, frozen=True):
    """Where an array is: ``segment`` counts the descriptors that come with the message."""

    segment: int
    offset: int
    shape: list[int]
    kind: str | list[tuple[str, str]]


class _Layout(Struct, frozen=True):
    generation: int
    bits: int
    arrays: list[_Placed]


class Generation(NamedTuple):
    """Arrays that a reader has mapped."""

    number: int
    bits: int
    arrays: Arrays


class Memory:
    """The writer's side: gives out memory for arrays, and passes it on to readers.

    >>> memory = Memory()
    >>> weights = memory.allocate(64).view(np.float32)
    >>> weights[:] = 0.5
    >>> ours, theirs = socket.socketpair()
    >>> message = memory.describe(bits=10, arrays=(weights[4:8],))
    >>> message.send(ours)
    >>> weights[4] = 0.25
    >>> received = receive(theirs)
    >>> received.number, received.bits, received.arrays[0].tolist()
    (1, 10, [0.25, 0.5, 0.5, 0.5])
    >>> ours.close(), theirs.close()
    (None, None)
    """

    def __init__(self) -> None:
        self._segments: dict[int, _Segment] = {}
        self._generation = 0

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """uint8[nbytes] of zeros, given back when neither this process nor a reader has it."""
        size = nbytes + SPARE_BYTES
        fd = anonymous("ctr-model", size)
        mapped = mmap.mmap(fd, size)
        made = np.frombuffer(mapped, np.uint8, nbytes)
        address = made.ctypes.data
        self._segments[address] = _Segment(fd, address, size)
        weakref.finalize(mapped, self._forget, address).atexit = False
        return made

    def describe(self, bits: int, arrays: Sequence[NDArray[Any]]) -> Message:
        """A new generation: ``arrays``, which are copied unless ``allocate`` gave their memory."""
        self._generation += 1
        segments: list[_Segment] = []
        copies: list[NDArray[Any]] = []
        placed = []
        for one in arrays:
            there = one if self._segment(one) else self._copy(one, copies)
            segment = self._segment(there)
            assert segment is not None
            if segment not in segments:
                segments.append(segment)
            offset = there.ctypes.data - segment.address
            kind: Any = one.dtype.descr if one.dtype.names else one.dtype.str
            placed.append(_Placed(segments.index(segment), offset, list(one.shape), kind))
        layout = _Layout(self._generation, bits, placed)
        fds = [segment.fd for segment in segments]
        return Message(self._generation, msgspec.json.encode(layout), fds, (*arrays, *copies))

    def shares(self, arrays: Sequence[NDArray[Any]]) -> bool:
        """Whether all are in memory that ``allocate`` gave, so that readers see every change."""
        return all(self._segment(one) is not None for one in arrays)

    def _copy(self, one: NDArray[Any], copies: list[NDArray[Any]]) -> NDArray[Any]:
        copied = self.allocate(one.nbytes).view(one.dtype).reshape(one.shape)
        copied[...] = one
        copies.append(copied)
        return copied

    def _segment(self, one: NDArray[Any]) -> _Segment | None:
        address = one.ctypes.data
        for segment in self._segments.values():
            if (
                segment.address <= address
                and address + one.nbytes <= segment.address + segment.size
            ):
                return segment
        return None

    def _forget(self, address: int) -> None:
        os.close(self._segments.pop(address).fd)


class Message(NamedTuple):
    """A generation for readers; ``kept`` is what must not be given back while it may be sent."""

    generation: int
    layout: bytes
    fds: list[int]
    kept: Arrays

    def send(self, to: socket.socket) -> None:
        """Raises OSError: BlockingIOError for a reader that takes nothing, BrokenPipeError…"""
        socket.send_fds(to, [self.layout], self.fds)


def receive(source: socket.socket) -> Generation:
    """The generation in the next message, mapped.

    Raises BlockingIOError when there is no message, and EOFError when the writer is gone.
    """
    # what came with other descriptors is never joined to it, so this is one message
    data, fds, _, _ = socket.recv_fds(source, 1 << 16, 64)
    if not data:
        raise EOFError("the writer is gone")
    try:
        layout = msgspec.json.decode(data, type=_Layout)
        mapped = [mmap.mmap(fd, 0) for fd in fds]
        arrays = tuple(_array(mapped[one.segment], one) for one in layout.arrays)
        return Generation(layout.generation, layout.bits, arrays)
    finally:
        for fd in fds:
            os.close(fd)


def anonymous(name: str, size: int) -> int:
    """A descriptor of memory without a name in any directory; ``name`` is for ``/proc`` only."""
    if not hasattr(os, "memfd_create"):
        raise SettingError("serve.workers", "more than one", "1 where there is no memfd_create")
    fd = os.memfd_create(name)
    os.ftruncate(fd, size)
    return fd


def _array(mapped: mmap.mmap, placed: _Placed) -> NDArray[Any]:
    kind: np.dtype[Any] = np.dtype(placed.kind)
    count = int(np.prod(placed.shape, dtype=np.int64))
    return np.frombuffer(mapped, kind, count, placed.offset).reshape(placed.shape)
