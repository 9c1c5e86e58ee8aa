"""Bad events, kept until it is acknowledged that they were written: none is ever dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ctr.errors import CtrError
from ctr.types import Records, Rejected

_log = logging.getLogger(__name__)
_BATCH_LETTERS, _BATCH_BYTES = 1000, 16 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_REMIND_SECONDS = 30.0


class Letter(NamedTuple):
    """A bad event: where it stood (topic/partition/offset/line), why it is bad, its bytes."""

    source: str
    reason: str
    value: bytes


class Delivery(Protocol):
    """Where letters go. Used by one thread."""

    def prepare(self) -> None:
        """Make and check what is written to; a CtrError cannot get better by trying again."""
        ...

    def deliver(self, letters: Sequence[Letter], closing: threading.Event) -> int:
        """Write letters, in order, and return how many are durable; raise when none is.

        May block, but not for long after ``closing`` was set.
        """
        ...

    def close(self) -> None: ...


class DeadLetters:
    """Hands bad events to ``delivery`` on a thread of its own; None only counts them.

    ``reasons`` are the names of the codes in ``Rejected``. A delivery that fails is tried again
    for ever, less and less often.

    >>> letters = DeadLetters(None, ("syntax",))
    >>> letters.pending(), letters.flush(1.0)
    ([], True)
    """

    def __init__(
        self,
        delivery: Delivery | None,
        reasons: Sequence[str],
        max_unacknowledged: int = 10_000,
        max_bytes: int = 256 << 20,
    ) -> None:
        self._delivery, self._reasons = delivery, tuple(reasons)
        self._most, self._most_bytes = max_unacknowledged, max_bytes
        self._queue: deque[Letter] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._fatal: CtrError | None = None
        self._written, self._failures = 0, 0
        self._pause, self._reminded_at = _FIRST_PAUSE, float("-inf")
        self._thread = threading.Thread(target=self._run, name="ctr-dead-letters", daemon=True)
        if delivery is not None:
            self._thread.start()

    def write(self, records: Records, rejected: Rejected) -> None:
        """Take over the bad events of ``records``; whoever wants more intake asks ``is_full``.

        Raises the CtrError for which letters cannot be delivered at all; ``pending`` has them.
        """
        if len(rejected) and self._delivery is None:
            self._written += len(rejected)
        elif len(rejected):
            self._add(self._letters(records, rejected))
        self._raise_fatal()

    def is_full(self) -> bool:
        """Whether so many letters (or bytes) wait that no more events may be taken in for now.

        Raises as ``write`` does.
        """
        self._raise_fatal()
        return len(self._queue) >= self._most or self._bytes >= self._most_bytes

    def resend(self, letters: Iterable[tuple[str, str, bytes]]) -> None:
        """Take over what was ``pending`` when a checkpoint was made."""
        if self._delivery is not None:
            self._add([Letter(*letter) for letter in letters])

    def pending(self) -> list[Letter]:
        """What is not acknowledged; in a checkpoint these are as good as delivered."""
        with self._changed:
            return list(self._queue)

    def counters(self) -> dict[str, int]:
        """``written`` (acknowledged, or counted), ``unacknowledged`` now, ``failures``."""
        return {
            "written": self._written,
            "unacknowledged": len(self._queue),
            "failures": self._failures,
        }

    def flush(self, timeout: float) -> bool:
        """Wait until all is acknowledged; False when it is not after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Stop, after trying for ``timeout`` seconds to deliver what is left."""
        if self._delivery is None:
            return
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._thread.join(max(2.0, deadline - time.monotonic()))

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    def _letters(self, records: Records, rejected: Rejected) -> list[Letter]:
        buffer = records.buffer
        letters = []
        for code, start, end, record, line in zip(
            rejected.reasons.tolist(),
            rejected.starts.tolist(),
            rejected.ends.tolist(),
            rejected.records.tolist(),
            rejected.lines.tolist(),
            strict=True,
        ):
            source = address(records, record, line)
            letters.append(Letter(source, self._reasons[code], buffer[start:end].tobytes()))
        return letters

    def _add(self, letters: list[Letter]) -> None:
        with self._changed:
            self._queue.extend(letters)
            self._bytes += sum(len(letter.value) for letter in letters)
            self._changed.notify_all()

    def _run(self) -> None:
        assert self._delivery is not None
        prepared = False
        while not self._closing.is_set():
            try:
                if not prepared:
                    self._delivery.prepare()
                    prepared = True
                if batch := self._next_batch():
                    self._acknowledge(self._delivery.deliver(batch, self._closing))
            except Exception as error:  # whatever it is: keep the letters and try again
                if isinstance(error, CtrError) and not prepared:
                    self._fatal = error
                    break
                self._failed(error)
        self._delivery.close()

    def _next_batch(self) -> list[Letter]:
        """The first of the letters, which stay in the queue; waits for one."""
        with self._changed:
            while not self._queue and not self._closing.is_set():
                self._changed.wait()
            batch: list[Letter] = []
            size = 0
            for letter in self._queue:
                size += len(letter.value)
                if batch and (len(batch) == _BATCH_LETTERS or size > _BATCH_BYTES):
                    break
                batch.append(letter)
            return batch

    def _acknowledge(self, count: int) -> None:
        with self._changed:
            for _ in range(count):
                self._bytes -= len(self._queue.popleft().value)
            self._written += count
            self._changed.notify_all()
        self._pause, self._reminded_at = _FIRST_PAUSE, float("-inf")

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        now = time.monotonic()
        waiting = len(self._queue)
        if waiting and now - self._reminded_at > _REMIND_SECONDS:
            self._reminded_at = now
            _log.warning("%d dead letters wait, trying again: %r", waiting, error)
        self._closing.wait(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def address(records: Records, record: int, line: int) -> str:
    """Where an event stood: topic/partition/offset/line, or the URI in place of topic/partition.

    >>> address(Records.of([b"{}", b"{"], "kafka:events/3", first=70), 1, 0)
    'events/3/71/0'
    """
    place = records.source.removeprefix("kafka:")
    if records.after.segment:
        place = f"{place}/{records.after.segment}"
    return f"{place}/{records.offsets[record]}/{line}"
