"""A trainer whose gate closes, its operator, and its restarts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from ctr.cli import main

from .metrics import Endpoint
from .processes import Processes, Settings, wait_until
from .streams import FILE_KINDS, Content, LogStream, Stream, TopicStream

CLOSING = {
    "features.bits": 16,
    "metrics.port": 0,
    "publish.interval_seconds": 0.3,
    "checkpoint.interval_seconds": 0.3,
    "gate.window": 500,
    "gate.grace": 0,
    "gate.min_calibration": 0,
    "gate.max_calibration": 1000,
    "gate.max_normalized_entropy": 0.001,
}
"""No model is that good: the gate closes with the first window."""

Operator = Callable[..., dict[str, Any]]


@pytest.fixture(params=["topic", "directory"])
def stream(request, tmp_path, topic_name) -> Stream:
    if request.param == "topic":
        made: Stream = TopicStream(request.getfixturevalue("kafka").bootstrap, topic_name, 2)
    else:
        made = LogStream(tmp_path)
    yield made
    made.close()


def gate_of(settings: Settings) -> Operator:
    """Calls `ctr gate` with these words; what it says, as JSON."""
    place = [k for k in settings if k.startswith(("kafka.", "publish.", "model."))]
    given = [f"--set={key}={settings[key]}" for key in place]

    def call(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(main, ["gate", *words, *given, "--json"])
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return call


def test_an_operator_overrides_and_restores_the_gate(
    stream: Stream, topic_name: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(processes.directory)
    settings = {**stream.settings, **CLOSING, "model.name": f"gate-{topic_name[-8:]}"}
    gate = gate_of(settings)
    content = Content(bad_kinds=FILE_KINDS)
    trainer = processes.start("train", settings=settings)
    learning = Endpoint(trainer)
    learning.wait_for("ctr_publishes_total", 1)
    stream.send(content.take(2000))
    stream.flush()
    learning.wait_for("ctr_events_learned_total", len(content.good))
    wait_until(lambda: learning.value("ctr_gate_open") == 0, "the gate to close")
    trainer.wait_for(r"gate closed: normalized entropy")

    said = wait_until(lambda: closed(gate()), "the trainer to say so")["gate"]
    assert said["violated"] == ["normalized_entropy"]
    assert said["bounds"]["normalized_entropy"] == [None, 0.001]
    assert said["figures"]["normalized_entropy"] > 0.001
    assert said["since_event"] == 500
    assert re.search(r"normalized entropy \S+ is not below 0\.001 over 500 events", said["reason"])
    published = learning.value("ctr_publishes_total")

    said = gate("override", "--for", "2h", "--reason", "a campaign")["gate"]
    assert (said["open"], said["overridden"]) == (True, True)
    assert said["order"]["reason"] == "a campaign"
    learning.wait_for("ctr_publishes_total", published + 2)
    assert learning.value("ctr_gate_overridden") == learning.value("ctr_gate_open") == 1
    trainer.wait_for(r"gate: overridden until \S+ \S+ UTC by \S+: a campaign")

    # it stands after a crash, which no checkpoint may have seen coming
    trainer.kill()
    trainer = processes.start("train", settings=settings)
    learning = Endpoint(trainer)
    learning.wait_for("ctr_publishes_total", 2)
    assert learning.value("ctr_gate_overridden") == 1

    said = gate("restore")["gate"]
    assert (said["open"], said["overridden"]) == (False, False)
    assert learning.value("ctr_gate_open") == 0
    trainer.wait_for("gate: no override any more")
    published = learning.value("ctr_published_model_version")

    # given while no trainer runs, and obeyed by the next one
    trainer.terminate()
    said = gate("override", "--wait", "0")
    assert said["gate"]["overridden"] is False
    trainer = processes.start("train", settings=settings)
    learning = Endpoint(trainer)
    learning.wait_for("ctr_published_model_version", published + 1)
    # another takes its place, and ends by itself
    gate("override", "--for", "1s")
    wait_until(lambda: learning.value("ctr_gate_open") == 0, "the override to end", 30)
    assert wait_until(lambda: closed(gate()), "the trainer to say so")["gate"]["open"] is False
    trainer.terminate()


def closed(said: dict[str, Any]) -> dict[str, Any] | None:
    return said if said["gate"] and not said["gate"]["open"] else None
