"""What a trainer makes of its checkpoints when it starts again, and of a disk that is full."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from ctr.learn.ftrl import FTRLProximal
from ctr.train.checkpoint import Checkpoint

from .metrics import Endpoint
from .processes import Processes
from .states import checkpoints, differences, learned, newest
from .streams import FILE_KINDS, Content, LogStream, TopicStream

BITS = 16
SETTINGS = {"features.bits": BITS, "metrics.port": -1}


@pytest.fixture
def log(processes: Processes):
    """A log directory with a thousand events."""
    log = LogStream(processes.directory)
    log.send(Content(bad_kinds=FILE_KINDS).take(1000))
    log.flush()
    yield log
    log.close()


def weights(checkpoint: Checkpoint, **penalties: float) -> tuple[list[int], list[float]]:
    """The weights in a checkpoint that was written under these penalties."""
    learner = FTRLProximal(BITS, unpenalised=[0], **penalties)
    learner.restore(*checkpoint.parts["learner"])
    coordinates, values = learner.weights()
    return coordinates.tolist(), values.tolist()


def test_sigterm_and_a_restart_change_nothing(kafka, topic_name, processes: Processes) -> None:
    content = Content()
    stream = TopicStream(kafka.bootstrap, topic_name, 1)
    settings = {**stream.settings, **SETTINGS, "checkpoint.interval_seconds": 3600}
    halted = {**settings, "model.name": "halted", "metrics.port": 0}
    stream.send(content.take(3000))
    stream.flush()
    first = processes.start("train", settings=halted)
    Endpoint(first).wait_for("ctr_events_learned_total", 1000)
    stream.send(content.take(3000))
    first.terminate()
    stream.flush()
    state = processes.directory / "state"
    # what it says at the end is what it has saved
    assert f"{learned(newest(state / 'halted')):,} events learned" in first.said

    settings["model.name"] = "whole"
    for last in (
        processes.start("train", "--stop-at-end", settings=halted),
        processes.start("train", "--stop-at-end", settings=settings),
    ):
        last.finish()
    assert learned(newest(state / "halted")) == len(content.good)
    assert differences(newest(state / "halted"), newest(state / "whole")) == []
    assert sorted(stream.letters("halted")) == sorted(stream.letters("whole"))
    stream.close()


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_used(
    log: LogStream, processes: Processes
) -> None:
    settings = {**log.settings, **SETTINGS, "model.name": "damaged"}
    state = processes.directory / "state"
    processes.start("train", "--stop-at-end", settings=settings).finish()
    before = newest(state / "damaged")
    log.send(Content(bad_kinds=FILE_KINDS, seed=8).take(1000))
    log.flush()
    processes.start("train", "--stop-at-end", settings=settings).finish()
    path = checkpoints(state / "damaged")[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    again = processes.start("train", "--stop-at-end", settings=settings)
    whole = processes.start("train", "--stop-at-end", settings=settings | {"model.name": "whole"})
    again.finish()
    whole.finish()
    assert f"passed over: state/damaged/{path.name} is damaged" in again.said
    assert f"{before.path.name}, {learned(before)} events" in again.said
    assert differences(newest(state / "damaged"), newest(state / "whole")) == []

    for path in checkpoints(state / "damaged"):
        os.truncate(path, path.stat().st_size - 1)
    said = processes.start("train", "--stop-at-end", settings=settings).fail()
    assert "none of them can be read" in said


def test_other_settings_at_a_restart(log: LogStream, processes: Processes) -> None:
    """Learning rates and penalties leave every weight; another table is refused."""
    settings = {**log.settings, **SETTINGS, "model.name": "changed", "learner.l1": 0.1}
    state = processes.directory / "state" / "changed"
    processes.start("train", "--stop-at-end", settings=settings).finish()
    before = newest(state)
    assert len(weights(before, l1=0.1)[0]) > 100

    said = processes.start("train", "--stop-at-end", "--bits=17", settings=settings).fail()
    assert f"features.bits is 17 here and 16 in state/changed/{before.path.name}" in said
    said = processes.start(
        "train", "--stop-at-end", settings=settings | {"features.hash_seed": 5}
    ).fail()
    assert "features.hash_seed is 5 here and 0 in" in said
    assert newest(state).path == before.path

    faster = {"learner.alpha": 0.5, "learner.beta": 2, "learner.schedule": "constant"}
    processes.start("train", "--stop-at-end", settings=settings | faster).finish()
    after = newest(state)
    assert after.path != before.path
    cells, same = (c.parts["learner"][1]["cells"] for c in (before, after))
    assert cells.tobytes() == same.tobytes()

    looser = {"learner.l1": 0.01, "learner.l2": 0.5}
    processes.start("train", "--stop-at-end", settings=settings | looser).finish()
    coordinates, values = weights(before, l1=0.1)
    others, now = weights(newest(state), l1=0.01, l2=0.5)
    assert coordinates == others
    np.testing.assert_allclose(now, values, rtol=1e-6)


def test_learning_goes_on_while_checkpoints_cannot_be_written(
    log: LogStream, processes: Processes
) -> None:
    settings = {**log.settings, **SETTINGS, "model.name": "full", "metrics.port": 0}
    trainer = processes.start("train", settings=settings | {"checkpoint.interval_seconds": 0.2})
    metrics = Endpoint(trainer)
    state = processes.directory / "state" / "full"
    learned_then = metrics.wait_for("ctr_events_learned_total", 900)
    metrics.wait_for("ctr_checkpoints_total", 1)
    # to a process that may not write this much, every disk is full
    full = 65_536, resource.RLIM_INFINITY
    unlimited = resource.prlimit(trainer.pid, resource.RLIMIT_FSIZE, full)
    metrics.wait_for("ctr_failures_total", 2, operation="checkpoint")
    last = newest(state)
    more = Content(bad_kinds=FILE_KINDS, seed=8)
    log.send(more.take(1000))
    log.flush()
    metrics.wait_for("ctr_events_learned_total", learned_then + len(more.good))
    assert newest(state).path == last.path

    resource.prlimit(trainer.pid, resource.RLIMIT_FSIZE, unlimited)
    done = metrics.value("ctr_checkpoints_total")
    metrics.wait_for("ctr_checkpoints_total", done + 2)
    assert learned(newest(state)) == learned_then + len(more.good)
    assert not list(Path(state).glob(".*.tmp")), "a file begun in vain was left"
    trainer.terminate()
    processes.start("train", "--stop-at-end", settings=settings | {"model.name": "whole"}).finish()
    whole = newest(processes.directory / "state" / "whole")
    assert differences(newest(state), whole) == []
