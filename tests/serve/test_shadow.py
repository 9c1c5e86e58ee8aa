"""A shadow scores what was asked with a model of its own, and its figures stand beside."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from ctr.config import load
from ctr.errors import SettingError
from ctr.features.parser import Parser
from ctr.model.follow_files import FileFollower
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore, write
from ctr.model.sparse import SparseModel
from ctr.model.topic import TopicWriter
from ctr.model.update import Follower, Update
from ctr.observe.watchers import DIFFERENCES, ShadowMetrics
from ctr.serve import shadow as shadows
from ctr.serve.shadow import MOST_WAITING, Shadow
from ctr.settings import Features, Kafka
from ctr.types import Records

from .running import BITS, SPEC, Feed, manifest, random_model, uniform, whole
from .watched import MOST_ROWS, NOW, asked, hosted

SERVED = hosted()
EVENTS = [
    json.dumps({"features": {"user": f"u{k % 5}", "ad": f"a{k}", "price": 1.5 * k}}).encode()
    for k in range(40)
]
BODY = b'{"events":[' + b",".join(EVENTS) + b"]}"
OTHER = Features(
    bits=12,
    hash_seed=9,
    crosses=[["user", "price"]],
    columns={"price": "linear"},
    exclude=["ad"],
    time_features=["hour"],
)


class Shadowing:
    """A shadow that runs, and its metrics."""

    def __init__(self, shadow: Shadow, registry: CollectorRegistry) -> None:
        self.shadow, self.registry = shadow, registry
        shadow.start()

    def see(self, body: bytes | list[bytes] = BODY) -> None:
        self.shadow.seen(asked(SERVED, body))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"ctr_shadow_{name}", {"model": "clicks", **labels})

    def outcome(self, outcome: str) -> float:
        return self.metric("requests_total", outcome=outcome) or 0

    def clicks(self, by: str) -> float:
        return self.metric("predicted_clicks_total", by=by) or 0

    def wait(self, good: Callable[[], bool], seconds: float = 60) -> None:
        pause = threading.Event()
        for _ in range(int(seconds / 0.01)):
            if good():
                return
            pause.wait(0.01)
        raise AssertionError(f"waited {seconds} s in vain; {self.shadow.status()}")

    def wait_for_version(self, version: int) -> None:
        self.wait(lambda: self.metric("model_version") == version)


@pytest.fixture
def shadowing() -> Iterator[Any]:
    made: list[Shadowing] = []

    def make(follower: Follower) -> Shadowing:
        registry = CollectorRegistry()
        metrics = ShadowMetrics(registry, "clicks")
        made.append(Shadowing(Shadow("clicks", follower, MOST_ROWS, metrics), registry))
        return made[-1]

    yield make
    for one in made:
        one.shadow.stop()


def predicted(model: SparseModel, spec: Features, now_ms: int = NOW) -> np.ndarray:
    """What a model says of EVENTS, by the parser of training."""
    records = Records.of(EVENTS)
    records.timestamps[:] = now_ms
    return model.predict(Parser(spec, predicting=True).parse(records).batch)


@pytest.mark.parametrize("spec", [SPEC, OTHER, Features(bits=8)])
@pytest.mark.parametrize("body", [BODY, EVENTS])
def test_a_second_snapshot_beside_the_first(
    tmp_path: Path, shadowing: Any, spec: Features, body: Any
) -> None:
    model = random_model(spec, seed=5, density=1)
    write(tmp_path / "shadow.model", manifest(12, spec), model)
    one = shadowing(FileFollower(tmp_path / "shadow.model"))
    one.wait_for_version(12)
    assert one.metric("model_event_time_seconds") == manifest(12).event_time / 1000
    one.see(body)
    one.wait(lambda: one.outcome("scored") == 1)
    ours, theirs = asked(SERVED, BODY).probabilities, predicted(model, spec)
    assert one.metric("predictions_total") == len(EVENTS)
    assert one.clicks("served") == pytest.approx(ours.sum(dtype=float))
    assert one.clicks("shadow") == pytest.approx(theirs.sum(dtype=float))
    sizes = np.abs(theirs.astype(float) - ours)
    for bound in DIFFERENCES:
        assert one.metric("difference_ratio_bucket", le=str(bound)) == (sizes <= bound).sum()
    status = one.shadow.status()
    assert (status["version"], status["features"]["hash_seed"]) == (12, spec.hash_seed)


def test_the_same_model_differs_in_nothing(shadowing: Any) -> None:
    feed = Feed()
    one = shadowing(feed)
    feed.put(whole(84, SERVED.current().model))
    one.wait_for_version(84)
    one.see(b'{"context":{"user":"u1"},"candidates":[{"ad":"a1"},{"ad":"a2"},{}]}')
    one.wait(lambda: one.outcome("scored") == 1)
    assert one.clicks("served") == one.clicks("shadow") > 0
    assert one.metric("difference_ratio_bucket", le="1e-05") == 3
    assert one.metric("difference_ratio_sum") == 0


def test_updates_are_whole_for_every_request(shadowing: Any) -> None:
    """Each version has one weight everywhere, so that a torn one would give another sum."""
    feed, model = Feed(), SparseModel(BITS)
    model.patch(uniform(0.0))
    one = shadowing(feed)
    feed.put(whole(1, model))
    one.wait_for_version(1)
    row = float(
        np.diff(
            Parser(SPEC).parse(Records.of([b'{"label":1,"features":{"user":"u"}}'])).batch.indptr
        )[0]
    )
    clicks = {v: 1 / (1 + np.exp(-row * np.float32(0.01 * v - 0.01))) for v in range(1, 60)}
    sums = [0.0]
    for version in range(2, 60):
        staged = model.stage(uniform(0.01 * version - 0.01), replace=True)
        feed.put(Update(manifest(version), model, staged))
        for _ in range(20):
            one.see(b'{"events":[{"features":{"user":"u"}}]}')
        one.wait_for_version(version)
        one.see(b'{"events":[{"features":{"user":"u"}}]}')
        one.wait(lambda n=21 * (version - 1): one.outcome("scored") == n)
        sums.append(one.clicks("shadow"))
        among = sums[-1] - sums[-2]
        # some of the 21 came before the update, and none was of a third version
        ways = [k * clicks[version - 1] + (21 - k) * clicks[version] for k in range(21)]
        assert min(abs(among - way) for way in ways) < 1e-4
    assert one.metric("follow_failures_total") == 0


def test_what_the_shadow_cannot_read(shadowing: Any) -> None:
    feed = Feed()
    one = shadowing(feed)
    one.see()
    one.wait(lambda: one.outcome("not_ready") == 1)
    assert one.metric("model_ready") == 0
    assert one.shadow.status()["ready"] is False
    spec = Features(bits=BITS, max_features=3)
    feed.put(whole(3, random_model(spec), spec))
    one.wait_for_version(3)
    one.see(
        b'{"events":[{"features":{"user":"u"}},{"features":{"a":"1","b":"2","c":"3","d":"4"}}]}'
    )
    one.see([b'{"features":{"a":"1","b":"2","c":"3","d":"4"}}'])
    one.wait(lambda: one.outcome("rejected") == 2)
    one.see(b'{"events":[{"features":{"user":"u"}}]}')
    one.wait(lambda: one.outcome("scored") == 1)
    assert one.metric("predictions_total") == 1


def test_a_shadow_that_is_too_slow_misses_requests(shadowing: Any) -> None:
    feed = Feed()
    one = shadowing(feed)
    feed.put(whole(3, random_model()))
    one.wait_for_version(3)
    working, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        working.set()
        assert go_on.wait(60)

    one.shadow.call_soon_threadsafe(busy)
    assert working.wait(60)
    for _ in range(MOST_WAITING + 25):
        one.see(b'{"events":[{}]}')
    assert one.outcome("dropped") == 25
    go_on.set()
    one.wait(lambda: one.outcome("scored") == MOST_WAITING)


def test_a_version_that_cannot_be_read(tmp_path: Path, shadowing: Any) -> None:
    path = tmp_path / "shadow.model"
    write(path, manifest(1), random_model())
    one = shadowing(FileFollower(path))
    one.wait_for_version(1)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    one.wait(lambda: one.metric("follow_failures_total") == 1)
    assert str(path) in one.shadow.status()["following"]["last_failure"]
    one.see()
    one.wait(lambda: one.outcome("scored") == 1)
    assert one.metric("model_version") == 1


# ---- by configuration


def made(shadow: str, bootstrap: str = "localhost:9") -> Shadow | None:
    overrides = {"serve.shadow": shadow, "kafka.bootstrap_servers": bootstrap}
    config = load(environment={}, overrides=overrides)
    return shadows.make(config, CollectorRegistry())


def test_none_is_wanted() -> None:
    assert made("") is None


def test_a_directory_of_snapshots(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "clicks" / "snapshots")
    store.write(Manifest(version=4, spec=SPEC), random_model())
    one = made(f"{tmp_path}/{{model}}/snapshots")
    one.start()
    try:
        pause = threading.Event()
        while not one.status()["ready"]:
            pause.wait(0.01)
        store.write(Manifest(version=5, spec=SPEC), random_model(seed=2))
        while one.status()["version"] != 5:
            pause.wait(0.01)
    finally:
        one.stop()
    assert one.status()["name"] == "clicks (shadow)"


def test_a_model_topic(kafka: Any, topic_name: str) -> None:
    writer = TopicWriter(Kafka(bootstrap_servers=kafka.bootstrap), topic_name, "session")
    writer.claim()
    image = Image(BITS, "float32")
    image.update(np.arange((1 << BITS) // 64), random_model(density=1).pages().dense())
    writer.publish(Manifest(version=1, spec=SPEC), image)
    one = made(f"kafka:{topic_name}", kafka.bootstrap)
    one.start()
    try:
        pause = threading.Event()
        while not one.status()["ready"]:
            pause.wait(0.01)
        assert one.status()["version"] == 1
    finally:
        one.stop()
        writer.close()


@pytest.mark.parametrize("shadow", ["kafka:", "ctr.clicks.model", "/nowhere/at all.model"])
def test_a_shadow_that_is_nowhere(shadow: str) -> None:
    with pytest.raises(SettingError, match=r"serve\.shadow must be .*kafka:TOPIC.*; got ") as said:
        made(shadow)
    assert shadow in str(said.value)
