"""What the connections of one server share: the limits, and one coarse timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ctr.observe.server import TrafficMetrics
from ctr.settings import Serve

MAX_HEADERS = 100
MAX_HEAD_BYTES = 32 << 10
MAX_URL_BYTES = 8 << 10
UNFINISHED_BODIES = 32
"""How many bodies of full size may be in memory of which the rest is still to come."""

KEEP_ALIVE_SECONDS = 75.0
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending, so that it gets to its answer (RFC 9112, 9.6)."""

_LATEST_SWEEP = 1.0
_IDLE_SWEEP = 5.0


class Timed(Protocol):
    """What ``Traffic`` asks of a connection."""

    active: float

    @property
    def idle(self) -> bool:
        """Whether nothing is asked and nothing to be answered."""
        ...

    def late(self) -> None:
        """The time to send a whole request is up."""
        ...

    def stuck(self) -> None:
        """The time to take the answer is up."""
        ...

    def drop(self) -> None:
        """End it, whatever there is still to send."""
        ...


class Deadlines:
    """Connections that have something to do within ``seconds``, those whose time ends first
    before the others; ``act`` is called with who is late.
    """

    def __init__(self, seconds: float, act: Callable[[Timed], None]) -> None:
        self._seconds, self._act = seconds, act
        self._ends: dict[Timed, float] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, connection: Timed, now: float) -> None:
        """Its time begins (again)."""
        self._ends.pop(connection, None)
        self._ends[connection] = now + self._seconds

    def discard(self, connection: Timed) -> None:
        """It has done it, or is gone."""
        self._ends.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Act on those whose time is up."""
        while self._ends:
            connection = next(iter(self._ends))
            if self._ends[connection] > now:
                return
            del self._ends[connection]
            self._act(connection)


class Traffic:
    """The connections of one server, and what they hold together.

    A request that came whole with one read costs nothing here: only connections that are waited
    for have a deadline. ``now`` are the seconds of a clock that the sweeps move on; it stands
    still while the event loop does, so nobody is late for what this process could not read.
    """

    def __init__(self, settings: Serve, metrics: TrafficMetrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.now = 0.0
        self.unfinished = 0
        self.held_bytes = 0
        self.most_held = UNFINISHED_BODIES * settings.max_body_bytes
        self._interval = min(_LATEST_SWEEP, settings.request_seconds / 8)
        # ``now`` may be one sweep old
        seconds = settings.request_seconds + self._interval
        linger = min(LINGER_SECONDS, settings.request_seconds) + self._interval
        self.arriving = Deadlines(seconds, lambda connection: connection.late())
        self.stalled = Deadlines(seconds, lambda connection: connection.stuck())
        self.lingering = Deadlines(linger, lambda connection: connection.drop())
        self.open: set[Timed] = set()
        self._swept = self._next_idle = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def overcrowded(self) -> bool:
        """Whether so many refused clients linger that the next ones get no answer at all."""
        return len(self.lingering) > 16 + self.settings.max_connections // 10

    def enter(self, connection: Timed, loop: asyncio.AbstractEventLoop) -> bool:
        """A connection was opened; False when it is one too many, which is then not counted."""
        if self._timer is None:
            self._swept = loop.time()
            self._timer = loop.call_later(self._interval, self._sweep, loop)
        if len(self.open) >= self.settings.max_connections:
            return False
        self.open.add(connection)
        self.arriving.add(connection, self.now)
        self.metrics.connections.set(len(self.open))
        return True

    def leave(self, connection: Timed) -> None:
        """A connection is gone."""
        self.open.discard(connection)
        for deadlines in (self.arriving, self.stalled, self.lingering):
            deadlines.discard(connection)
        self.metrics.connections.set(len(self.open))

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        at = loop.time()
        self.now += min(at - self._swept, 2 * self._interval)
        self._swept = at
        for deadlines in (self.arriving, self.stalled, self.lingering):
            deadlines.sweep(self.now)
        if self.now >= self._next_idle:
            self._next_idle = self.now + _IDLE_SWEEP
            for connection in list(self.open):
                if self.now - connection.active > KEEP_ALIVE_SECONDS and connection.idle:
                    connection.drop()
        self._timer = None
        if self.open or self.lingering:
            self._timer = loop.call_later(self._interval, self._sweep, loop)
