"""A server on the real followers: what is published is served, faults are survived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctr.features.parser import Parser
from ctr.model.follow import TopicFollower
from ctr.model.follow_files import DirectoryFollower, FileFollower
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore, write
from ctr.model.topic import TopicWriter
from ctr.settings import Kafka
from ctr.types import Records

from .running import BITS, SPEC, Running, random_model, running

EVENT = b'{"features":{"user":"u1","ad":"a1"}}'


def image(version: int) -> Image:
    """A model of its own for each version."""
    made = Image(BITS, "float32")
    made.update(np.arange((1 << BITS) // 64), random_model(seed=version, density=1).pages().dense())
    return made


def is_served(server: Running, version: int) -> None:
    """Wait for the version, then see that the answer is that model's own."""
    server.wait_for_version(version)
    answer = server.http.post("/v1/predict", content=b'{"events":[' + EVENT + b"]}").json()
    batch = Parser(SPEC, predicting=True).parse(Records.of([EVENT])).batch
    assert answer["model"]["version"] == version
    assert answer["probabilities"] == image(version).model.predict(batch).tolist()


def test_a_directory_of_snapshots(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "snapshots")
    with running(DirectoryFollower(tmp_path / "snapshots")) as server:
        assert server.http.get("/readyz").status_code == 503
        for version in (1, 2):
            store.write(Manifest(version=version, spec=SPEC), image(version).model)
            is_served(server, version)
        later = store.write(Manifest(version=3, spec=SPEC, requires=["experts"]), image(3).model)
        server.wait(lambda: server.metric("ctr_follow_failures_total") == 1)
        is_served(server, 2)
        said = server.http.get("/v1/status").json()["models"][0]["following"]
        assert said["failures"] == 1
        assert "experts" in said["last_failure"]
        later.unlink()
        store.write(Manifest(version=4, spec=SPEC), image(4).model)
        is_served(server, 4)


def test_a_server_says_which_version_it_does_not_serve(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    for version in (1, 2):
        store.write(Manifest(version=version, spec=SPEC), image(version).model)
    store.hold(1)
    with running(DirectoryFollower(tmp_path)) as server:
        is_served(server, 1)
        server.wait(lambda: server.metric("ctr_newest_model_version") == 2)
        assert server.metric("ctr_served_model_version") == 1
        assert server.metric("ctr_served_model_held") == 1
        store.write(Manifest(version=3, spec=SPEC), image(3).model)
        server.wait(lambda: server.metric("ctr_newest_model_version") == 3)
        store.release()
        is_served(server, 3)
        server.wait(lambda: server.metric("ctr_served_model_held") == 0)


def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "clicks.model"
    write(path, Manifest(version=1, spec=SPEC), image(1).model)
    with running(FileFollower(path)) as server:
        is_served(server, 1)
        write(path, Manifest(version=2, spec=SPEC), image(2).model)
        is_served(server, 2)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        server.wait(lambda: server.metric("ctr_follow_failures_total") == 1)
        is_served(server, 2)


@pytest.fixture
def settings(own_kafka: Any) -> Kafka:
    return Kafka(bootstrap_servers=own_kafka.bootstrap)


def test_a_topic_through_a_broker_outage(own_kafka: Any, settings: Kafka, topic_name: str) -> None:
    """Predictions are answered throughout, and the server catches up when the broker is back."""
    writer = TopicWriter(settings, topic_name, "session")
    writer.claim()
    published = image(1)
    writer.publish(Manifest(version=1, spec=SPEC), published)
    with running(TopicFollower(settings, topic_name)) as server:
        is_served(server, 1)
        update(published, 2)
        writer.publish(Manifest(version=2, spec=SPEC), published)
        is_served(server, 2)

        own_kafka.stop()
        server.wait(lambda: (server.metric("ctr_follow_failures_total") or 0) > 0)
        for _ in range(100):
            is_served(server, 2)
        assert server.http.get("/readyz").status_code == 200
        assert (
            topic_name
            in server.http.get("/v1/status").json()["models"][0]["following"]["last_failure"]
        )

        own_kafka.start()
        writer.close()
        writer = TopicWriter(settings, topic_name, "another session")
        writer.claim()
        update(published, 3)
        writer.publish(Manifest(version=3, spec=SPEC), published)
        is_served(server, 3)
    writer.close()


def update(published: Image, version: int) -> None:
    weights = random_model(seed=version, density=1).pages().dense()
    published.update(np.arange((1 << BITS) // 64), weights)
