"""Bad events among good ones: the good are learned, the bad are kept, as the oracle says."""

from __future__ import annotations

import json

import numpy as np

from ctr.config import load
from ctr.simulate import REASONS

from .as_oracle import assert_learned, read_as_oracle
from .fuzz import draw_records
from .processes import Processes
from .states import differences, newest
from .streams import Content, TopicStream

TEN_MB = 10 << 20
RULES = {
    "features.bits": 16,
    "features.max_event_bytes": 1 << 20,
    "features.max_features": 64,
    "features.columns": json.dumps({"x": "linear"}),
}


def large_records(content: Content) -> list[bytes]:
    """Records of ten megabytes: one event, noise, and eleven events of which two are bad."""
    good = content.take(40)[0]
    event = good[:-1] + b',"padding":"%b"}'
    noise = np.random.default_rng(1).integers(11, 256, TEN_MB, np.uint8).tobytes()
    several = [event % (b"x" * 1_000_000)] * 9 + [event % (b"x" * (1 << 20)), b"\xff" * 900_000]
    return [event % (b"x" * TEN_MB), noise, b"\n".join(several)]


def test_good_events_are_learned_and_bad_ones_kept(
    kafka, topic_name: str, processes: Processes
) -> None:
    content = Content(max_event_bytes=1 << 20)
    stream = TopicStream(kafka.bootstrap, topic_name, 1, limit=12 << 20)
    settings = {**stream.settings, **RULES, "model.name": "bad-input", "metrics.port": -1}
    trainer = processes.start("train", settings=settings)
    large = large_records(content)
    for record in large:
        stream.send([*content.take(1000), record])
    stream.send([*draw_records(1000), *content.take(1000)])
    stream.flush()
    trainer.terminate()
    processes.start("train", "--stop-at-end", settings=settings).finish()
    polling = settings | {"model.name": "polled", "events.reader": "poll"}
    processes.start("train", "--stop-at-end", settings=polling).finish()

    config = load(environment={}, overrides={**RULES, "features.columns": {"x": "linear"}})
    rows, letters, counts = read_as_oracle(config.features, stream.bootstrap, stream.topic)
    assert len(letters) > len(content.bad) > 100
    assert set(REASONS.values()) <= set(counts)
    for model in ("bad-input", "polled"):
        assert sorted(stream.letters(model)) == sorted(letters)

    checkpoint = newest(processes.directory / "state" / "bad-input")
    assert len(rows) > 3 * 900 + 9
    assert checkpoint.parts["stream"][0]["rejected"] == counts
    assert_learned(checkpoint, rows, config)
    assert differences(checkpoint, newest(processes.directory / "state" / "polled")) == []
    stream.close()
