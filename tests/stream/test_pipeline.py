"""The pipeline: in order, bounded, as its source would have said it, and leaving no thread."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ctr.errors import OffsetsLostError
from ctr.stream.memory import MemorySource
from ctr.stream.pipeline import Pipeline, cores, worker_count
from ctr.types import Records

VALUES = [b"%d" % i for i in range(400)]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Watched(MemorySource):
    """Four records at a time; knows who asked, how often, and how much was given."""

    def __init__(self, values: Sequence[bytes] = VALUES, fail_at: int | None = None) -> None:
        super().__init__(values, batch_records=4)
        self.given, self.asked_by, self.fail_at = 0, set[str](), fail_at

    def next_batch(self, timeout: float) -> Records | None:
        self.asked_by.add(threading.current_thread().name)
        if self.given == self.fail_at:
            raise OffsetsLostError("they are gone")
        records = super().next_batch(timeout)
        self.given += records is not None
        return records


class Live(Watched):
    """Gives what was put there, and ends when it is told to."""

    def __init__(self) -> None:
        super().__init__([])
        self.is_over, self._there = False, threading.Event()

    def put(self, value: bytes) -> None:
        self._values = [*self._values, value]
        self._there.set()

    def ended(self) -> bool:
        return self.is_over and super().ended()

    def next_batch(self, timeout: float) -> Records | None:
        if super().ended():
            self._there.wait(timeout)
            self._there.clear()
        return None if super().ended() else super().next_batch(timeout)


def first_offset(records: Records) -> int:
    return int(records.offsets[0])


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_in_order_however_long_each_takes(workers: int) -> None:
    def slow(seed: int) -> Callable[[Records], int]:
        chance = random.Random(seed)

        def work(records: Records) -> int:
            time.sleep(chance.choice([0, 0, 0.003]))
            return first_offset(records)

        return work

    with Pipeline(Watched(), [slow(n) for n in range(workers)]) as pipeline:
        assert list(pipeline) == list(range(0, 400, 4))
        assert pipeline.ended()
        assert pipeline.next(0) is None


def test_each_worker_has_its_thread_and_every_nth_batch() -> None:
    calls: list[set[tuple[str, int]]] = [set(), set(), set()]

    def noting(n: int) -> Callable[[Records], int]:
        def work(records: Records) -> int:
            calls[n].add((threading.current_thread().name, first_offset(records) // 4 % 3))
            return n

        return work

    source = Watched()
    with Pipeline(source, [noting(n) for n in range(3)]) as pipeline:
        assert list(pipeline) == [k % 3 for k in range(100)]
    assert calls == [{(f"ctr-parser-{n}", n)} for n in range(3)]
    assert source.asked_by == {"ctr-reader"}


@pytest.mark.parametrize("workers", [1, 4])
def test_no_more_is_read_than_there_is_room_for(workers: int) -> None:
    source = Watched()
    with Pipeline(source, [first_offset] * workers) as pipeline:
        for taken in range(20):
            eventually(lambda most=taken + workers + 2: source.given == most)
            time.sleep(0.01)  # time for one too many
            assert source.given == taken + workers + 2
            assert pipeline.next(20) == 4 * taken


def test_bytes_are_bounded_too_and_one_batch_always_fits() -> None:
    source = Watched()
    with Pipeline(source, [first_offset], most_bytes=1) as pipeline:
        for taken in range(20):
            eventually(lambda most=taken + 1: source.given == most)
            time.sleep(0.01)
            assert source.given == taken + 1
            assert pipeline.next(20) == 4 * taken


def test_what_the_source_raises_comes_after_what_it_gave() -> None:
    with Pipeline(Watched(fail_at=7), [first_offset] * 2) as pipeline:
        assert [pipeline.next(20) for _ in range(7)] == list(range(0, 28, 4))
        for _ in range(2):
            with pytest.raises(OffsetsLostError, match="they are gone"):
                pipeline.next(20)
            assert not pipeline.ended()


def test_whoever_takes_all_is_told_of_an_error_however_late_it_comes() -> None:
    class Late(Watched):
        def next_batch(self, timeout: float) -> Records | None:
            time.sleep(0.02 if self.given == self.fail_at else 0)
            return super().next_batch(timeout)

    with (
        Pipeline(Late(fail_at=3), [first_offset]) as pipeline,
        pytest.raises(OffsetsLostError, match="they are gone"),
    ):
        list(pipeline)


def test_what_a_worker_raises_comes_in_its_place() -> None:
    def work(records: Records) -> int:
        if first_offset(records) == 20:
            raise ArithmeticError("not this one")
        return first_offset(records)

    with Pipeline(Watched(), [work] * 3) as pipeline:
        assert [pipeline.next(20) for _ in range(5)] == [0, 4, 8, 12, 16]
        with pytest.raises(ArithmeticError, match="not this one"):
            pipeline.next(20)


def test_left_at_any_moment_it_ends_its_threads_and_drops_what_is_not_taken() -> None:
    source, worked = Watched(), []

    def work(records: Records) -> Records:
        time.sleep(0.01)
        worked.append(first_offset(records))
        return records

    with Pipeline(source, [work] * 2) as pipeline:
        taken = [pipeline.next(20), pipeline.next(20)]
    # what was only begun is finished, no more
    assert len(worked) <= 6
    assert source.given < 100
    after = taken[-1].after
    rest = MemorySource(VALUES, resume={"memory:list": after}).next_batch(0)
    assert first_offset(rest) == 8


def test_what_was_never_entered_has_no_threads() -> None:
    source = Watched()
    Pipeline(source, [first_offset])
    assert source.given == 0


def test_an_idle_stream_ends_nothing_and_costs_next_to_nothing() -> None:
    source = Live()
    with Pipeline(source, [first_offset] * 2) as pipeline:
        before = time.process_time()
        assert pipeline.next(0.5) is None
        assert time.process_time() - before < 0.25  # half of a core would be a loop that is busy
        assert not pipeline.ended()
        for k in range(20):
            source.put(b"x")
            assert pipeline.next(20) == k
        assert pipeline.next(0) is None
        source.is_over = True
        eventually(pipeline.ended)


def test_lag_counts_what_was_read_and_not_taken() -> None:
    source = Watched()
    with Pipeline(source, [first_offset]) as pipeline:
        eventually(lambda: source.given == 3)
        for taken in range(1, 101):
            pipeline.next(20)
            assert pipeline.lag() == {"memory:list": 400 - 4 * taken}
    assert pipeline.lag() == {"memory:list": 0}


def test_lag_grows_while_nothing_comes() -> None:
    class Behind(Live):
        def lag(self) -> dict[str, int]:
            return {"memory:list": 17}

    with Pipeline(Behind(), [first_offset]) as pipeline:
        assert pipeline.lag() == {}
        eventually(lambda: pipeline.lag() == {"memory:list": 17})


def test_how_many_threads(monkeypatch: Any) -> None:
    assert worker_count(3) == 3
    assert cores() >= 1
    for have, wanted in ((1, 1), (2, 1), (3, 2), (64, 4)):
        monkeypatch.setattr("ctr.stream.pipeline.cores", lambda have=have: have)
        assert worker_count(0) == wanted
