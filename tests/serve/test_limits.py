"""The clock, the deadlines and the queue, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ctr.observe.server import ServerMetrics
from ctr.serve.limits import KEEP_ALIVE_SECONDS, LINGER_SECONDS, Deadlines, Traffic
from ctr.serve.queued import Queued
from ctr.settings import Serve


class Connection:
    """Notes what it is told."""

    def __init__(self, idle: bool = True) -> None:
        self.active, self.idle = 0.0, idle
        self.told: list[str] = []

    def late(self) -> None:
        self.told.append("late")

    def stuck(self) -> None:
        self.told.append("stuck")

    def drop(self) -> None:
        self.told.append("drop")


class Loop:
    """Time that a test moves on."""

    def __init__(self) -> None:
        self.now, self.due = 1000.0, 0.0
        self.job: Callable[[], None] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, job: Callable[..., None], *arguments: Any) -> object:
        assert self.job is None, "one timer is enough"
        self.due, self.job = self.now + seconds, lambda: job(*arguments)
        return self

    def go_on(self, seconds: float) -> None:
        """Do what is due, when it is due."""
        end = self.now + seconds
        while self.job is not None and self.due <= end:
            self.now, job, self.job = max(self.now, self.due), self.job, None
            job()
        self.now = end

    def stand_still(self, seconds: float) -> None:
        """Time goes by, and nothing is done meanwhile."""
        self.now += seconds


def traffic(**settings: Any) -> Traffic:
    return Traffic(Serve(**settings), ServerMetrics(CollectorRegistry()).traffic("predictions"))


def entered(shared: Traffic, loop: Any, connection: Any) -> bool:
    return shared.enter(connection, loop)


def test_deadlines_are_kept_in_their_order() -> None:
    late: list[Any] = []
    deadlines = Deadlines(10, late.append)
    first, second, third = (Connection() for _ in range(3))
    for now, one in ((0, first), (1, second), (2, third), (3, first)):  # the first begins again
        deadlines.add(one, now)
    deadlines.discard(second)
    deadlines.sweep(11.5)
    assert (late, len(deadlines)) == ([], 2)
    deadlines.sweep(12)
    assert late == [third]
    deadlines.sweep(13)
    assert (late, len(deadlines)) == ([third, first], 0)


@pytest.mark.parametrize("seconds", [0.4, 10.0, 600.0])
def test_nobody_is_late_before_time_nor_long_after(seconds: float) -> None:
    shared, loop, connection = traffic(request_seconds=seconds), Loop(), Connection(idle=False)
    entered(shared, loop, connection)
    loop.go_on(seconds * 0.99)
    assert connection.told == []
    loop.go_on(seconds * 0.01 + 2 * min(1.0, seconds / 8))
    assert connection.told == ["late"]


def test_what_the_server_could_not_read_makes_nobody_late() -> None:
    shared, loop, connection = traffic(request_seconds=10), Loop(), Connection()
    entered(shared, loop, connection)
    loop.go_on(5)
    loop.stand_still(60)
    loop.go_on(0)
    assert connection.told == []
    loop.go_on(10)
    assert connection.told == ["late"]


def test_idle_connections_are_closed_and_busy_ones_not() -> None:
    shared, loop = traffic(), Loop()
    idle, busy = Connection(), Connection(idle=False)
    for one in (idle, busy):
        entered(shared, loop, one)
        shared.arriving.discard(one)
    loop.go_on(KEEP_ALIVE_SECONDS)
    assert idle.told == []
    loop.go_on(10)
    assert (idle.told[:1], busy.told) == (["drop"], [])


def test_who_was_refused_has_a_little_time_to_read_why() -> None:
    shared, loop, connection = traffic(), Loop(), Connection()
    entered(shared, loop, connection)
    shared.open.discard(connection)
    shared.arriving.discard(connection)
    shared.lingering.add(connection, shared.now)
    loop.go_on(LINGER_SECONDS * 0.9)
    assert connection.told == []
    loop.go_on(LINGER_SECONDS + 2)
    assert connection.told == ["drop"]


def test_the_timer_ends_with_the_last_connection() -> None:
    shared, loop, connection = traffic(max_connections=1), Loop(), Connection()
    assert entered(shared, loop, connection)
    assert not entered(shared, loop, Connection())
    loop.go_on(3)
    assert loop.job is not None
    shared.leave(connection)
    loop.go_on(3)
    assert loop.job is None
    assert entered(shared, loop, connection)
    assert loop.job is not None


def answered(queued: Queued) -> list[Any]:
    """What is sent when its turn has come."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(queued({"type": "http", "headers": []}, receive, send))
    return sent


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send("done")


def test_a_turn_that_comes_is_taken() -> None:
    shared = traffic(max_requests=1)
    queued = Queued(application, shared)
    assert shared.unfinished == 1
    assert answered(queued) == ["done"]
    assert shared.unfinished == 0


def test_a_turn_that_comes_too_late_is_refused() -> None:
    shared = traffic(request_seconds=10)
    queued = Queued(application, shared)
    shared.now += 10.5
    start, body = answered(queued)
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert b"serve.request_seconds = 10" in body["body"]
    assert shared.unfinished == 0


def test_one_too_many_is_refused_and_not_counted() -> None:
    shared = traffic(max_requests=2)
    waiting = [Queued(application, shared) for _ in range(3)]
    assert shared.unfinished == 2
    assert answered(waiting[2])[0]["status"] == 503
    waiting[1].forget()
    assert answered(waiting[0]) == ["done"]
    assert shared.unfinished == 0
