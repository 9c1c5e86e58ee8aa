"""One process brings a model up to date, others answer with it: both sides, in one process here."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from ctr.features.request import RequestError
from ctr.model import shared
from ctr.model.shared import Board, Memory
from ctr.model.sparse import SparseModel
from ctr.model.update import Update
from ctr.observe.server import ServerMetrics
from ctr.serve import sharing
from ctr.serve.answers import Answer
from ctr.serve.endpoint import Work
from ctr.serve.sharing import TRIES, Reader, Shared, Sharing
from ctr.serve.watching import Asked
from ctr.settings import Features

from .running import BITS, SPEC, manifest, random_model, uniform, whole

FEATURES = {f"f{k}": f"v{k}" for k in range(19)}
BODY = json.dumps({"events": [{"features": FEATURES}] * 3}).encode()
SCOPE: dict[str, Any] = {"type": "http", "headers": [], "query_string": b""}


def probability(weight: float) -> float:
    return float(1 / (1 + np.exp(-(len(FEATURES) + 1) * np.float32(weight))))


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def seen(self, asked: Asked) -> None:
        self.asked.append(asked)

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Loop:
    """What an event loop would call when there is something to read."""

    def __init__(self) -> None:
        self.readers: dict[Any, Callable[[], None]] = {}

    def add_reader(self, file: Any, call: Callable[..., None], *arguments: Any) -> None:
        self.readers[file] = lambda: call(*arguments)

    def remove_reader(self, file: Any) -> None:
        del self.readers[file]


class Pair:
    """The process that follows and one that answers."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.memory, self.killed, self.gone = Memory(), False, False
        metrics = ServerMetrics(CollectorRegistry()).model("clicks")
        self.sharing = Sharing("clicks", 100, metrics, self.memory)
        news = os.eventfd(0, os.EFD_NONBLOCK)
        self.reader = Reader(ours, news, self._kill)
        self.watcher, self.loop = Seen(), Loop()
        self.shared = Shared(
            "clicks",
            100,
            ServerMetrics(CollectorRegistry()).model("clicks"),
            [self.watcher],
            Board(os.dup(self.sharing.board.fd)),
            theirs,
            os.dup(news),
            self._gone,
        )
        self.control = theirs

    def start(self) -> None:
        """The worker begins, and the other process is told."""
        self.shared.start(self.loop)  # type: ignore[arg-type]

    def greet(self) -> None:
        """The other process gives it the memory of now."""
        self.sharing.add(self.reader)

    def _kill(self) -> None:
        self.killed = True

    def _gone(self) -> None:
        self.gone = True

    def bring(self, update: Update) -> None:
        self.sharing.prepare(update)()

    def ask(self, work: Work | None = None) -> Any:
        answer = self.shared.guarded(work or self.shared.answer)(SCOPE, BODY, 0)
        return json.loads(answer.body)


@pytest.fixture
def late() -> Iterator[Pair]:
    """The worker has not begun yet."""
    made = Pair()
    yield made
    made.reader.close()
    made.control.close()


@pytest.fixture
def pair(late: Pair) -> Pair:
    late.start()
    late.greet()
    return late


def shared_model(pair: Pair, weight: float) -> SparseModel:
    model = SparseModel(BITS, pair.memory.allocate)
    model.patch(uniform(weight))
    return model


def test_no_model_yet_is_503(pair: Pair) -> None:
    with pytest.raises(RequestError) as raised:
        pair.ask()
    assert raised.value.status == 503
    assert pair.shared.status(0)["ready"] is False


@pytest.mark.parametrize("elsewhere", [False, True])
def test_whole_versions_and_changes_in_place(pair: Pair, elsewhere: bool) -> None:
    """Whether the follower makes its models in shared memory, or they have to be copied."""
    model = random_model() if elsewhere else shared_model(pair, 0.5)
    if elsewhere:
        model.patch(uniform(0.5))
    pair.bring(whole(1, model))
    assert pair.ask()["probabilities"] == pytest.approx([probability(0.5)] * 3, rel=1e-5)
    for version, weight in ((2, 0.25), (3, -0.125), (4, -0.25)):
        staged = model.stage(uniform(weight), replace=True)
        pair.bring(Update(manifest(version), model, staged))
        said = pair.ask()
        assert said["model"]["version"] == version
        assert said["probabilities"] == pytest.approx([probability(weight)] * 3, rel=1e-5)
        assert pair.shared.status(0)["nonzero_weights"] == 1 << BITS
    pair.bring(whole(9, shared_model(pair, 0.375)))
    assert pair.ask()["model"]["version"] == 9


def test_the_features_change_with_the_weights(pair: Pair) -> None:
    pair.bring(whole(1, shared_model(pair, 0.5)))
    pair.ask()
    spec = Features(bits=BITS, crosses=[["f0", "f1"], ["f0", "f2"]])
    pair.bring(whole(2, shared_model(pair, 0.25), spec))
    more = 1 / (1 + np.exp(-(len(FEATURES) + 3) * 0.25))
    assert pair.ask()["probabilities"] == pytest.approx([more] * 3, rel=1e-5)
    assert pair.shared.status(0)["features"]["crosses"] == spec.crosses


def test_status_knows_of_a_version_before_anybody_asks(pair: Pair) -> None:
    update = whole(1, shared_model(pair, 0.5))
    update.held = True
    pair.bring(update)
    assert pair.shared.served is None
    for call in tuple(pair.loop.readers.values()):
        call()
    assert pair.shared.summary()["version"] == 1
    assert pair.shared.summary()["held"] is True


def test_failures_to_follow_are_told_by_all(pair: Pair) -> None:
    pair.sharing.failed(3, "the topic is away")
    pair.bring(whole(1, shared_model(pair, 0.5)))
    pair.ask()
    assert pair.shared.status(0)["following"] == {
        "failures": 3,
        "last_failure": "the topic is away",
    }
    pair.sharing.failed(4, "still away")
    pair.ask()
    assert pair.shared.failures == 4
    assert pair.shared.last_failure == "still away"


def test_an_answer_that_a_change_has_torn_is_made_again(pair: Pair) -> None:
    """And the watchers are told of the whole one only."""
    model = shared_model(pair, 0.5)
    pair.bring(whole(1, model))
    pair.ask()
    tried = []

    def work(scope: Any, body: bytes, now_ms: int) -> Answer:
        answer = pair.shared.answer(scope, body, now_ms)
        tried.append(json.loads(answer.body)["model"]["version"])
        if len(tried) == 1:  # the writer is faster than this answer
            staged = model.stage(uniform(0.25), replace=True)
            pair.bring(Update(manifest(2), model, staged))
        return answer

    pair.watcher.asked.clear()
    said = pair.ask(work)
    assert tried == [1, 2]
    assert said["model"]["version"] == 2
    assert said["probabilities"] == pytest.approx([probability(0.25)] * 3, rel=1e-5)
    assert [asked.served.version for asked in pair.watcher.asked] == [2]


def test_work_that_is_undone_again_and_again_gets_its_time(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.bring(whole(1, shared_model(pair, 0.5)))
    asked: list[float] = []
    monkeypatch.setattr(Board, "ask_for_peace", lambda board, seconds: asked.append(seconds))
    tries = 0

    def work(scope: Any, body: bytes, now_ms: int) -> Answer:
        nonlocal tries
        tries += 1
        if not asked:
            pair.sharing.failed(tries, "a change")
        return pair.shared.answer(scope, body, now_ms)

    pair.ask(work)
    assert tries == TRIES + 1
    assert len(asked) == 1


def test_a_writer_that_stopped_within_a_change_is_503(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "STALLED_SECONDS", 0.05)
    pair.bring(whole(1, shared_model(pair, 0.5)))
    with pair.sharing.board.changing(), pytest.raises(RequestError) as raised:
        pair.ask()
    assert raised.value.status == 503
    assert pair.ask()["model"]["version"] == 1


def test_a_worker_that_begins_late_has_the_version_of_now_before_it_is_asked(late: Pair) -> None:
    model = shared_model(late, 0.5)
    late.bring(whole(1, model))
    late.bring(Update(manifest(2), model, model.stage(uniform(0.25), replace=True)))
    late.greet()
    late.start()
    assert late.shared.summary()["version"] == 2
    assert late.ask()["probabilities"] == pytest.approx([probability(0.25)] * 3, rel=1e-5)


def test_a_worker_that_gets_no_memory_begins_without(
    late: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "FIRST_SECONDS", 0.05)
    late.bring(whole(1, shared_model(late, 0.5)))
    late.start()
    with pytest.raises(RequestError) as raised:
        late.ask()
    assert raised.value.status == 503
    late.greet()
    assert late.ask()["model"]["version"] == 1


def test_a_reader_that_takes_nothing_is_given_up(pair: Pair) -> None:
    for version in range(1, 2000):
        pair.bring(whole(version, shared_model(pair, 0.5)))
        if pair.killed:
            return
    raise AssertionError("it still has room for messages")


def test_the_end_of_the_other_process_is_told(pair: Pair) -> None:
    pair.bring(whole(1, shared_model(pair, 0.5)))
    pair.ask()
    pair.reader.close()
    pair.loop.readers[pair.control]()
    assert pair.gone
    assert pair.ask()["model"]["version"] == 1  # what was begun is answered


def test_features_that_cannot_be_read_change_nothing(pair: Pair) -> None:
    pair.bring(whole(1, shared_model(pair, 0.5)))
    unreadable = Features(bits=BITS, crosses=[["user", "user"]])
    with pytest.raises(ValueError, match="crosses"):
        pair.bring(whole(2, shared_model(pair, 0.25), unreadable))
    assert pair.ask()["model"]["version"] == 1
    assert pair.shared.status(0)["features"]["crosses"] == SPEC.crosses
