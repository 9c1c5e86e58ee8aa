"""Reading ahead: batches are read and prepared on threads of their own, while one is learned."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

from ctr.stream.source import Source
from ctr.types import Records

T = TypeVar("T")
_POLL_SECONDS = 0.05
_SPARE = 2
_MOST_BYTES = 64 << 20
_MOST_WORKERS = 4


@dataclass(slots=True, eq=False)
class _Slot(Generic[T]):
    """The place of a batch in the order; the last one has none, but perhaps an error."""

    records: Records | None = None
    lag: dict[str, int] | None = None
    result: T | None = None
    error: BaseException | None = None
    is_done: bool = False

    @property
    def size(self) -> int:
        return 0 if self.records is None else len(self.records.buffer)


class Pipeline(Generic[T]):
    """What ``workers`` make of the batches of ``source``, in the order of the source.

    While it is entered (``with``), one thread asks ``source`` for batches and each of ``workers``
    has a thread, on which it alone is called: batch k goes to worker k modulo their number, so
    that nothing depends on which was faster. Whoever takes results does so on a thread of their
    own, and works on one while the next ones are made.

    At most ``len(workers) + 2`` batches, or about ``most_bytes`` of records, are read and not yet
    taken; then ``source`` is asked for no more until one was taken. What is left when the pipeline
    is left is dropped: positions travel with the batches, so it is read again by the next source.

    >>> from ctr.stream.memory import MemorySource
    >>> source = MemorySource([b"a", b"b", b"c"], batch_records=2)
    >>> with Pipeline(source, [len, len]) as pipeline:
    ...     list(pipeline)
    [2, 1]
    """

    def __init__(
        self,
        source: Source,
        workers: Sequence[Callable[[Records], T]],
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self.source = source
        self._most, self._most_bytes = len(workers) + _SPARE, most_bytes
        self._changed = threading.Condition()
        self._ahead: deque[_Slot[T]] = deque()  # read and not yet taken
        self._bytes = 0
        self._lag: dict[str, int] = {}
        self._is_closing = False
        self._queues: list[SimpleQueue[_Slot[T] | None]] = [SimpleQueue() for _ in workers]
        self._threads = [threading.Thread(target=self._read, name="ctr-reader")]
        for n, (work, queue) in enumerate(zip(workers, self._queues, strict=True)):
            arguments = (work, queue)
            thread = threading.Thread(target=self._work, args=arguments, name=f"ctr-parser-{n}")
            self._threads.append(thread)

    def __enter__(self) -> Pipeline[T]:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def next(self, timeout: float | None = None) -> T | None:
        """The next result; None when there was none within ``timeout`` seconds, or at the end.

        What source or worker raised is raised here, after all that came before it was taken.
        """
        with self._changed:
            self._changed.wait_for(self._is_ready, timeout)
            if not self._is_ready():
                return None
            slot = self._ahead[0]
            if slot.error is not None:
                raise slot.error
            if slot.records is None:
                return None
            self._ahead.popleft()
            self._bytes -= slot.size
            self._lag = slot.lag or {}
            self._changed.notify_all()
        return slot.result

    def ended(self) -> bool:
        """Whether all results were taken, and the source has ended and not failed."""
        with self._changed:
            slot = self._ahead[0] if self._is_ready() else None
            return slot is not None and slot.records is None and slot.error is None

    def lag(self) -> dict[str, int]:
        """As ``Source.lag``, when the batch that was taken last had been read and no other."""
        return self._lag

    def __iter__(self) -> Iterator[T]:
        """All that is left."""
        while not self.ended():
            if (result := self.next()) is not None:
                yield result

    def _is_ready(self) -> bool:
        return bool(self._ahead) and self._ahead[0].is_done

    def _has_room(self) -> bool:
        return not self._ahead or (len(self._ahead) < self._most and self._bytes < self._most_bytes)

    # ---- on the threads

    def _read(self) -> None:
        last = _Slot[T](is_done=True)
        try:
            self._read_all()
        except BaseException as error:
            last.error = error
        self._add(last)
        for queue in self._queues:
            queue.put(None)

    def _read_all(self) -> None:
        number = 0
        while self._wait_for_room():
            records, lag = self.source.next_batch(_POLL_SECONDS), self.source.lag()
            if records is not None:
                slot = _Slot[T](records, lag)
                self._add(slot)
                self._queues[number % len(self._queues)].put(slot)
                number += 1
            elif self.source.ended():
                break
            else:
                self._is_behind(lag)

    def _wait_for_room(self) -> bool:
        """Wait until more may be read; False when nothing more is to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._has_room())
            return not self._is_closing

    def _add(self, slot: _Slot[T]) -> None:
        with self._changed:
            self._ahead.append(slot)
            self._bytes += slot.size
            self._changed.notify_all()

    def _is_behind(self, lag: dict[str, int]) -> None:
        with self._changed:
            if not self._ahead:
                self._lag = lag

    def _work(self, work: Callable[[Records], T], queue: SimpleQueue[_Slot[T] | None]) -> None:
        while (slot := queue.get()) is not None:
            try:
                if slot.records is not None and not self._is_closing:
                    slot.result = work(slot.records)
            except BaseException as error:
                slot.error = error
            with self._changed:
                slot.is_done = True
                self._changed.notify_all()

    def _close(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(wanted: int) -> int:
    """``wanted`` threads, or for 0 one for each core but that of the learner (1 to 4)."""
    return wanted or max(1, min(cores() - 1, _MOST_WORKERS))
