"""Reading ahead changes nothing that is learned: not by timing, not by the number of threads."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ctr.errors import OffsetsLostError
from ctr.settings import Config
from ctr.simulate import KINDS, Simulator, SimulatorSettings
from ctr.stream.letter_log import read_letters
from ctr.stream.memory import MemorySource
from ctr.train.checkpoint import Checkpoint
from ctr.train.loop import Trainer
from ctr.train.start import train
from ctr.train.state import State
from ctr.types import Positions, Records
from tests.e2e.states import differences, learned, newest

from .embedded import config_of


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert not [thread.name for thread in left]


@pytest.fixture(scope="module")
def stream() -> list[bytes]:
    kinds = tuple(kind for kind in KINDS if kind != "empty")
    given = SimulatorSettings(bad_share=0.05, bad_kinds=kinds, max_event_bytes=4096, seed=5)
    lines = Simulator(given).batch(3000).lines
    # names that come one after the other, so that parsers meet them in different orders
    named = b'{"label":%d,"features":{"n%d":"a","n%d":"b"}}'
    return [line if k % 5 else named % (k % 2, k % 70, k % 37) for k, line in enumerate(lines)]


class Jittery(MemorySource):
    """Gives batches of any length, sometimes nothing, sometimes late."""

    def __init__(
        self, values: list[bytes], resume: Positions, seed: int, fail_at: int = -1
    ) -> None:
        super().__init__(values, resume=resume, batch_records=100)
        self._chance, self._fail_at = random.Random(seed), fail_at

    def next_batch(self, timeout: float) -> Records | None:
        time.sleep(self._chance.choice([0, 0, 0.004]))
        if self._chance.random() < 0.1:
            return None
        if 0 <= self._fail_at <= self._at:
            raise OffsetsLostError("they are gone")
        return super().next_batch(timeout)


def patient(directory: Path, parsers: int) -> Config:
    """No checkpoint but the last."""
    long = {"features.max_event_bytes": 4096, "checkpoint.interval_seconds": 1000}
    return config_of(directory, **{"events.parsers": parsers}, **long)


def run(
    directory: Path,
    values: list[bytes],
    parsers: int,
    seed: int,
    stop: threading.Event | None = None,
    fail_at: int = -1,
) -> State:
    def opened(config: Config, resume: Positions) -> Jittery:
        return Jittery(values, resume, seed, fail_at)

    stop = stop or threading.Event()
    return train(patient(directory, parsers), stop, CollectorRegistry(), open_events=opened)


def letters(directory: Path) -> list[Any]:
    return list(read_letters(directory / "dead"))


def metas(checkpoint: Checkpoint) -> dict[str, Any]:
    return {name: meta for name, (meta, _) in checkpoint.parts.items()}


@pytest.mark.parametrize("parsers", [1, 2, 4])
def test_any_number_of_threads_gives_the_same_checkpoint(
    tmp_path: Path, stream: list[bytes], parsers: int
) -> None:
    run(tmp_path / "one", stream, 1, seed=0)
    run(tmp_path / "many", stream, parsers, seed=parsers)
    one, many = newest(tmp_path / "one" / "state"), newest(tmp_path / "many" / "state")
    assert learned(one) > 2000
    assert differences(one, many) == []
    # the order of names too
    assert json.dumps(metas(one)) == json.dumps(metas(many))
    assert letters(tmp_path / "one") == letters(tmp_path / "many")
    assert letters(tmp_path / "one")


def test_stopped_again_and_again_it_learns_the_same(
    tmp_path: Path, stream: list[bytes], monkeypatch: Any
) -> None:
    run(tmp_path / "whole", stream, 1, seed=0)
    stop, batches = threading.Event(), 0
    learn = State.learn

    def stopping(self: State, prepared: Any) -> None:
        nonlocal batches
        batches += 1
        if batches % 7 == 0:  # while more was read and parsed already
            time.sleep(0.03)
            stop.set()
        learn(self, prepared)

    monkeypatch.setattr(State, "learn", stopping)
    starts = 0
    while batches < 30:
        stop.clear()
        state = run(tmp_path / "parts", stream, 2, seed=starts, stop=stop)
        # one batch after the other, the one under way finished, and nothing that was only parsed
        assert state.positions["memory:list"].offset == 100 * batches
        starts += 1
    assert starts == 5
    whole, parts = newest(tmp_path / "whole" / "state"), newest(tmp_path / "parts" / "state")
    assert differences(whole, parts) == []
    assert letters(tmp_path / "whole") == letters(tmp_path / "parts")


@pytest.mark.parametrize("parsers", [1, 3])
def test_an_error_of_the_source_comes_after_what_was_read_is_learned_and_saved(
    tmp_path: Path, stream: list[bytes], parsers: int
) -> None:
    with pytest.raises(OffsetsLostError, match="they are gone"):
        run(tmp_path, stream, parsers, seed=1, fail_at=1500)
    saved = newest(tmp_path / "state")
    assert saved.positions["memory:list"].offset == 1500
    run(tmp_path / "half", stream[:1500], 1, seed=0)
    assert differences(saved, newest(tmp_path / "half" / "state")) == []


def test_an_error_of_the_trainer_ends_the_threads(
    tmp_path: Path, stream: list[bytes], monkeypatch: Any
) -> None:
    def broken(self: Trainer) -> None:
        raise RuntimeError("not expected")

    monkeypatch.setattr(Trainer, "_keep_up", broken)
    with pytest.raises(RuntimeError, match="not expected"):
        run(tmp_path, stream, 2, seed=0)


def test_lag_is_of_what_is_learned(tmp_path: Path, stream: list[bytes]) -> None:
    seen = []

    def look(trainer: Trainer) -> None:
        there = trainer.state.positions.get("memory:list")
        if there is not None:
            seen.append((trainer.lag()["memory:list"], len(stream) - there.offset))

    def opened(config: Config, resume: Positions) -> Jittery:
        return Jittery(stream, resume, seed=3)

    stop, registry = threading.Event(), CollectorRegistry()
    train(patient(tmp_path, 2), stop, registry, open_events=opened, on_progress=look)
    assert seen
    assert all(told == left for told, left in seen)
    assert seen[-1] == (0, 0)
