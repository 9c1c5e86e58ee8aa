"""The bounded queue and the thread that watchers share."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from ctr.serve import watching
from ctr.serve.watching import Asked, QueuedWatcher, Waiting

from .watched import asked, hosted

PATIENCE = 60
SERVED = hosted().current()


def request(number: int, size: int = 1) -> Asked:
    return Asked(bytes(size), number, SERVED, np.empty(0, np.float32))


class Recording(QueuedWatcher):
    """Keeps the times of what it sees; works only while its gate is open."""

    def __init__(self, most: int = 1000, **limits: int) -> None:
        super().__init__("recording", most, **limits)
        self.gate, self.at_work = threading.Event(), threading.Event()
        self.gate.set()
        self.seen_times: list[int] = []
        self.lost: list[tuple[int, str]] = []
        self.said: list[str] = []
        self.bad: set[int] = set()

    def work(self, group: list[Waiting]) -> None:
        self.at_work.set()
        assert self.gate.wait(PATIENCE)
        if self.bad & {asked.now_ms for asked in group}:
            raise ValueError("a bad one")
        self.seen_times += [asked.now_ms for asked in group]

    def dropped(self, asked: Waiting, reason: str) -> None:
        self.lost.append((asked.now_ms, reason))

    def opened(self) -> None:
        self.said.append("opened")

    def closed(self) -> None:
        self.said.append("closed")


@pytest.fixture
def watcher() -> Any:
    made: list[Recording] = []

    def make(most: int = 1000, **limits: int) -> Recording:
        made.append(Recording(most, **limits))
        return made[-1]

    yield make
    for one in made:
        one.gate.set()
        one.stop()


def busy(watcher: Recording) -> None:
    """Start it, and have it work on request 0 until its gate opens."""
    watcher.gate.clear()
    watcher.start()
    watcher.seen(request(0))
    assert watcher.at_work.wait(PATIENCE)


def test_what_is_seen_is_worked_on_in_order_before_the_end(watcher: Any) -> None:
    one = watcher()
    for number in range(100):
        one.seen(request(number))
    one.start()
    for number in range(100, 1000):
        one.seen(request(number))
    one.stop()
    assert one.seen_times == list(range(1000))
    assert (one.lost, one.waiting, one.said) == ([], 0, ["opened", "closed"])


def test_what_does_not_fit_is_dropped_and_the_rest_is_not(watcher: Any) -> None:
    one = watcher(most=3)
    busy(one)
    for number in range(1, 6):
        one.seen(request(number))
    assert one.waiting == 3
    assert one.lost == [(4, "full"), (5, "full")]
    one.gate.set()
    one.stop()
    assert one.seen_times == [0, 1, 2, 3]


def test_bytes_are_bounded_too(watcher: Any) -> None:
    one = watcher(most_bytes=10)
    busy(one)
    one.seen(request(1, size=9))
    one.seen(request(2, size=1_000_000))  # larger than all that fits, but taken when there is room
    one.seen(request(3))
    assert one.lost == [(3, "full")]
    one.gate.set()
    one.stop()
    assert one.seen_times == [0, 1, 2]


def test_room_comes_back(watcher: Any) -> None:
    one = watcher(most=2, most_bytes=4)
    one.start()
    pause = threading.Event()
    for number in range(50):
        one.seen(request(number, size=4))
        while one.waiting:
            pause.wait(0.001)
    one.stop()
    assert one.seen_times == list(range(50))


def test_a_fault_is_counted_and_the_next_request_worked_on(
    watcher: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = watcher()
    one.bad = {1}
    busy(one)
    for number in range(1, 201):
        one.seen(request(number))
    one.gate.set()
    one.stop()
    assert {reason for _, reason in one.lost} == {"fault"}
    assert sorted([*one.seen_times, *(number for number, _ in one.lost)]) == list(range(201))
    assert 200 in one.seen_times
    assert "recording: " in caplog.text
    assert "a bad one" in caplog.text


def test_calls_are_made_in_the_thread_between_two_groups(watcher: Any) -> None:
    one = watcher()
    called: list[tuple[str, list[int]]] = []

    def note() -> None:
        called.append((threading.current_thread().name, list(one.seen_times)))

    busy(one)
    one.call_soon_threadsafe(note)
    one.gate.set()
    one.stop()
    assert called == [("recording", [0])]


def test_a_stop_gives_up_when_its_time_is_over(
    watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "STOP_SECONDS", 0.2)
    one = watcher()
    busy(one)
    for number in range(1, 300):
        one.seen(request(number))
    ending = threading.Thread(target=one.stop)
    ending.start()
    while one.time_left:
        threading.Event().wait(0.01)
    one.gate.set()
    ending.join()
    assert one.seen_times == [0]
    assert one.lost == [(number, "stopped") for number in range(1, 300)]
    one.seen(request(300))
    assert one.lost[-1] == (300, "full")


def test_weights_do_not_wait_with_the_requests(watcher: Any) -> None:
    """Else an outage of what a watcher writes to would keep every version in memory."""
    one = watcher()
    of_a_version = hosted(7)
    weights = weakref.ref(of_a_version.current().model)
    one.seen(asked(of_a_version, b'{"events":[{}]}'))
    del of_a_version
    gc.collect()
    assert one.waiting == 1
    assert weights() is None


def test_one_that_never_began_can_be_stopped() -> None:
    Recording().stop()
