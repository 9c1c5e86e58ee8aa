"""Two trainers of one model: the second is refused, or the first gives way."""

from __future__ import annotations

from .metrics import Endpoint
from .processes import Processes, wait_until
from .states import checkpoints, newest
from .streams import Content, TopicStream

SETTINGS = {"features.bits": 16, "metrics.port": 0, "publish.interval_seconds": 0.3}


def test_a_second_trainer_on_the_same_checkpoints_is_refused(
    kafka, topic_name: str, processes: Processes
) -> None:
    stream = TopicStream(kafka.bootstrap, topic_name, 2)
    settings = {**stream.settings, **SETTINGS, "model.name": "locked"}
    first = processes.start("train", settings=settings)
    metrics = Endpoint(first)
    metrics.wait_for("ctr_publishes_total", 1)
    said = processes.start("train", settings=settings).fail()
    assert "state/locked is in use by another process" in said
    # nor did it fence the first on the model topic
    metrics.wait_for("ctr_publishes_total", metrics.value("ctr_publishes_total") + 2)
    first.terminate()
    stream.close()


def test_the_older_of_two_trainers_on_one_model_topic_stops_and_saves_nothing(
    kafka, topic_name: str, processes: Processes
) -> None:
    stream = TopicStream(kafka.bootstrap, topic_name, 2)
    content = Content()
    stream.send(content.take(2000))
    stream.flush()
    settings = {
        **stream.settings,
        **SETTINGS,
        "model.name": "fenced",
        "checkpoint.interval_seconds": 3600,
    }
    older = processes.start("train", settings=settings | {"checkpoint.directory": "older"})
    learning = Endpoint(older)
    learning.wait_for("ctr_events_learned_total", len(content.good))
    learning.wait_for("ctr_publishes_total", 1)
    newer = processes.start("train", settings=settings | {"checkpoint.directory": "newer"})
    wait_until(lambda: not (older.running and newer.running), "one of them to give way")
    assert "another writer" in older.fail()
    assert checkpoints(processes.directory / "older") == []

    metrics = Endpoint(newer)
    metrics.wait_for("ctr_publishes_total", metrics.value("ctr_publishes_total") + 2)
    newer.terminate()
    assert newest(processes.directory / "newer").positions
    stream.close()
