"""Watching the answers: work on what was asked, beside the requests and never in their way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ctr.model.manifest import Manifest
from ctr.types import Float32

if TYPE_CHECKING:
    from ctr.serve.served import Served

MOST_BYTES = 64 << 20
"""Bytes of requests that wait; the first request beyond is the last that is taken."""

STOP_SECONDS = 5.0
"""How long a stop lets what waits be worked on."""

PAUSE_SECONDS = 50e-6
"""A busy watcher leaves the interpreter alone for so long after half a millisecond's work, or an
answer would wait for it until the interpreter's switch interval ends (5 ms).
"""

_GROUP = 100
_IDLE_SECONDS = 0.5
_REMIND_SECONDS = 30.0

log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """A request that was answered: the ``body`` of a v1 request, or the events of a V2 request;
    the time of its receipt (ms); the version that answered; what it answered, float32[N].
    """

    body: bytes | list[bytes]
    now_ms: int
    served: Served
    probabilities: Float32


class Waiting(NamedTuple):
    """What is kept of a request that waits: not the weights, which newer ones may replace."""

    body: bytes | list[bytes]
    now_ms: int
    manifest: Manifest
    probabilities: Float32

    @classmethod
    def of(cls, asked: Asked) -> Waiting:
        return cls(asked.body, asked.now_ms, asked.served.manifest, asked.probabilities)

    @property
    def size(self) -> int:
        """Bytes of what was asked."""
        return len(self.body) if isinstance(self.body, bytes) else sum(map(len, self.body))


class Watcher(Protocol):
    """Is told of every request that a model has answered. ``role`` is what it is to the model."""

    role: str

    def status(self) -> dict[str, Any]:
        """All there is to say of it, for JSON."""
        ...

    def seen(self, asked: Asked) -> None:
        """Take note of a request; returns at once. Called by the thread that answers."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None:
        """End; may take some seconds, so not to be called by the thread that answers."""
        ...


class QueuedWatcher:
    """A ``Watcher`` whose work is done by a thread of its own, from a bounded queue.

    A subclass has ``role``, ``status``, ``work`` and ``dropped``. What does not fit into the
    queue (``most`` requests, or ``most_bytes`` of them) is dropped: no answer ever waits for its
    watchers.
    """

    def __init__(self, name: str, most: int, most_bytes: int = MOST_BYTES) -> None:
        self._name, self._most, self._most_bytes = name, most, most_bytes
        self._queue: SimpleQueue[Waiting | Callable[[], None] | None] = SimpleQueue()
        # each of the two has one thread that writes it: no lock, and never wrong for long
        self._bytes_put = self._bytes_taken = 0
        self._ends_at: float | None = None
        self._said_at = float("-inf")
        self._thread: threading.Thread | None = None

    # ---- of a subclass

    role: str

    def status(self) -> dict[str, Any]:
        """See ``Watcher``."""
        raise NotImplementedError

    def work(self, group: list[Waiting]) -> None:
        """Work on some requests, in the order of their answers; may block until ``time_left``
        is 0. An exception is logged, and drops the group for the reason ``fault``.
        """
        raise NotImplementedError

    def dropped(self, waiting: Waiting, reason: str) -> None:
        """Count a request that is not worked on: ``full`` (by the thread that answers), ``fault``
        or ``stopped`` (both by the watcher's own thread).
        """
        raise NotImplementedError

    def opened(self) -> None:
        """The thread begins."""

    def idle(self) -> None:
        """Called after each group, and every half second when there is none."""

    def closed(self) -> None:
        """The thread ends: let go of what it used."""

    # ---- of everybody

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._queue.qsize()

    @property
    def time_left(self) -> float:
        """Seconds until work is to be given up; infinity while nobody has called ``stop``."""
        return float("inf") if self._ends_at is None else max(0.0, self._ends_at - monotonic())

    def seen(self, asked: Asked) -> None:
        """Queue a request, or drop it."""
        bytes_waiting = self._bytes_put - self._bytes_taken
        full = self._queue.qsize() >= self._most or bytes_waiting >= self._most_bytes
        waiting = Waiting.of(asked)
        if full or self._ends_at is not None:
            self.dropped(waiting, "full")
            return
        self._bytes_put += waiting.size
        self._queue.put(waiting)

    def call_soon_threadsafe(self, callback: Callable[[], None], /) -> None:
        """Have the watcher's thread call ``callback`` between two groups."""
        self._queue.put(callback)

    def start(self) -> None:
        """Begin the thread."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Work on what waits for STOP_SECONDS at most, drop the rest, end the thread."""
        if self._thread is None:
            return
        self._ends_at = monotonic() + STOP_SECONDS
        self._queue.put(None)
        self._thread.join(2 * STOP_SECONDS)
        if self._thread.is_alive():
            log.warning("%s: still busy", self._name)

    def say(self, message: str, *arguments: object, trace: bool = False) -> None:
        """Log a warning, of which there may be thousands, twice a minute at most."""
        now = monotonic()
        if now - self._said_at > _REMIND_SECONDS:
            self._said_at = now
            log.warning(f"%s: {message}", self._name, *arguments, exc_info=trace)

    # ---- the thread

    def _run(self) -> None:
        self.opened()
        while self.time_left and not (self._ends_at is not None and self._queue.empty()):
            group = self._next(_IDLE_SECONDS)
            if group:
                self._work(group)
            self.idle()
        for waiting in self._rest():
            self.dropped(waiting, "stopped")
        self.idle()
        self.closed()

    def _work(self, group: list[Waiting]) -> None:
        try:
            self.work(group)
        except Exception as error:  # a thread that ends would watch no more, unseen
            self.say("%d requests are passed over: %r", len(group), error, trace=True)
            for waiting in group:
                self.dropped(waiting, "fault")

    def _next(self, timeout: float) -> list[Waiting]:
        """Requests that wait, once there are any; what else is called for is done here."""
        group: list[Waiting] = []
        try:
            item = self._queue.get(timeout=timeout)
            while True:
                if isinstance(item, Waiting):
                    self._bytes_taken += item.size
                    group.append(item)
                elif item is not None:
                    item()
                if len(group) == _GROUP:
                    break
                item = self._queue.get_nowait()
        except Empty:
            pass
        return group

    def _rest(self) -> list[Waiting]:
        rest: list[Waiting] = []
        while group := self._next(0):
            rest += group
        return rest
