"""Every learner through the whole system: a log directory, checkpoints, a restart, a server."""

from __future__ import annotations

import json
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from ctr import config
from ctr.errors import IncompatibleError
from ctr.features.parser import Parser
from ctr.learn import LEARNERS
from ctr.log import LogWriter
from ctr.model.follow_files import DirectoryFollower
from ctr.model.snapshot import SnapshotStore
from ctr.settings import Config
from ctr.simulate import Simulator, SimulatorSettings
from ctr.train.start import train
from ctr.train.state import State
from ctr.types import Batch, Records
from tests.e2e.states import differences, newest
from tests.serve.running import running

EVENTS = 3000
LEARNER: dict[str, Any] = {
    "l1": 0.05,
    "min_count": 3,
    "schedule": "performance(window=700,factor=0.5)",
}
CASES: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in LEARNERS},
    **{f"{name}, q2.13": {"name": name, "state": "q2.13"} for name in LEARNERS},
    "ogd, momentum": {"name": "ogd", "rates": "global", "momentum": 0.8, "alpha": 0.02},
    "ftrl, counts": {"name": "ftrl", "n": "counts", "schedule": "exponential(r=1e4)"},
}


@cache
def lines() -> list[bytes]:
    return Simulator(SimulatorSettings(seed=5, label_delay_ms=0)).batch(EVENTS + 200).lines


def settings_in(folder: Path, learner: dict[str, Any]) -> Config:
    return config.load(
        environment={},
        overrides={
            "model.name": "clicks",
            "events.source": "directory",
            "events.directory": str(folder / "log"),
            "events.stop_at_end": True,
            "features.bits": 13,
            "features.crosses": [["user", "ad"]],
            "checkpoint.directory": str(folder / "state"),
            "publish.to": "directory",
            "publish.directory": str(folder / "snapshots"),
            "dead_letters.to": "directory",
            "dead_letters.directory": str(folder / "dead"),
            **{f"learner.{key}": value for key, value in (LEARNER | learner).items()},
        },
    )


def train_on(settings: Config, events: list[bytes]) -> State:
    """A trainer that starts, learns the log to its end with ``events`` added, and ends."""
    if events:
        with LogWriter(Path(settings.events.directory), sync="never") as log:
            log.append(b"".join(line + b"\n" for line in events))
    return train(settings, threading.Event(), CollectorRegistry())


def held_out(settings: Config) -> tuple[list[bytes], Batch]:
    """Events that nobody learned, as bytes and as a batch."""
    rows = lines()[EVENTS:]
    return rows, Parser(settings.features).parse(Records.of(rows)).batch


@pytest.mark.parametrize("case", CASES)
def test_train_restart_publish_and_serve(case: str, tmp_path: Path) -> None:
    whole, parts = (settings_in(tmp_path / name, CASES[case]) for name in ("whole", "parts"))
    learner = train_on(whole, lines()[:EVENTS]).learner
    for first, last in ((0, 1000), (1000, 1777), (1777, EVENTS)):
        again = train_on(parts, lines()[first:last])
        assert again.learner.events_learned == last
    uninterrupted, resumed = (newest(tmp_path / name / "state") for name in ("whole", "parts"))
    assert set(differences(uninterrupted, resumed)) <= {"positions"}
    assert learner.learning_rate < learner.alpha
    assert learner.nonzero > 50

    rows, batch = held_out(whole)
    store = SnapshotStore(tmp_path / "parts" / "snapshots")
    latest = store.latest()
    assert latest is not None
    manifest, model = store.read(latest.version)
    assert manifest.events_learned == EVENTS
    off_by = 2.0**-13 * np.add.reduceat(np.abs(batch.values), batch.indptr[:-1])
    assert (np.abs(model.score(batch) - learner.score(batch)) <= off_by + 1e-6).all()
    assert learner.score(batch).std() > 0.05
    if "q2.13" in case:  # nothing is left to round but the bias
        coordinates, values = learner.weights()
        at, published = model.weights()
        assert np.array_equal(at, coordinates)
        assert np.array_equal(values[at != 0], published[at != 0])

    with running(DirectoryFollower(tmp_path / "parts" / "snapshots")) as server:
        server.wait_for_version(latest.version)
        asked = [{"context": json.loads(row)["features"], "candidates": [{}]} for row in rows[:50]]
        served = [server.predict(body).json()["probabilities"][0] for body in asked]
    np.testing.assert_allclose(served, model.predict(batch)[:50], atol=1e-6)
    np.testing.assert_allclose(served, learner.predict(batch)[:50], atol=2e-3)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_trainer_refuses_to_go_on_from_another_learner_s_checkpoint(
    name: str, tmp_path: Path
) -> None:
    train_on(settings_in(tmp_path, {"name": name}), lines()[:100])
    other = next(kind for kind in LEARNERS if kind != name)
    with pytest.raises(IncompatibleError, match=f"'{name}'.*'{other}'"):
        train_on(settings_in(tmp_path, {"name": other}), lines()[100:200])
    with pytest.raises(IncompatibleError, match="float32"):
        train_on(settings_in(tmp_path, {"name": name, "state": "float32"}), [])
    state = train_on(settings_in(tmp_path, {"name": name}), [])
    assert state.learner.events_learned == 200
