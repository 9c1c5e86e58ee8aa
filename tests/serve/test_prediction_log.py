"""The prediction log in a real Kafka: what is answered is there, and what is lost is counted."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry

from ctr.config import load
from ctr.kafka import ensure_topic, topic_configs, topic_partitions
from ctr.observe.watchers import REASONS, PredictionLogMetrics
from ctr.serve import prediction_log, watching
from ctr.serve.prediction_log import PredictionLog
from ctr.settings import Config, Features

from .watched import asked, hosted

SERVED = hosted()


class Logging:
    """A prediction log that runs, and its metrics."""

    def __init__(self, config: Config, draw: Callable[[], float] = random.random) -> None:
        self.registry = CollectorRegistry()
        metrics = PredictionLogMetrics(self.registry, config.model.name)
        self.log = PredictionLog(config, metrics, draw)

    def see(self, body: bytes | list[bytes], served: Any = SERVED) -> None:
        self.log.seen(asked(served, body))

    def metric(self, name: str, **labels: str) -> float:
        name = f"ctr_prediction_log_{name}"
        return self.registry.get_sample_value(name, {"model": "clicks", **labels})

    def dropped(self) -> dict[str, float]:
        found = {reason: self.metric("dropped_total", reason=reason) for reason in REASONS}
        return {reason: number for reason, number in found.items() if number}

    def finished(self) -> float:
        return self.metric("events_total") + sum(self.dropped().values())

    def wait(self, good: Callable[[], bool], seconds: float = 60) -> None:
        pause = threading.Event()
        for _ in range(int(seconds / 0.01)):
            if good():
                return
            pause.wait(0.01)
        raise AssertionError(f"waited {seconds} s in vain; {self.log.status()}")


@pytest.fixture
def logging(topic_name: str) -> Iterator[Any]:
    made: list[Logging] = []

    def make(broker: Any, draw: Callable[[], float] = random.random, **settings: Any) -> Logging:
        given = {"sample": 1, "topic": topic_name} | settings
        overrides = {f"prediction_log.{name}": value for name, value in given.items()}
        overrides["kafka.bootstrap_servers"] = broker.bootstrap
        made.append(Logging(load(environment={}, overrides=overrides), draw))
        return made[-1]

    yield make
    for one in made:
        one.log.stop()


def consumed(bootstrap: str, topic: str, count: int) -> list[Any]:
    """The first ``count`` records of the topic, and what else has come by then."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        partitions = topic_partitions(admin, topic)
    consumer.assign([TopicPartition(topic, k) for k in range(partitions)])
    found: list[Any] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        for records in consumer.poll(500).values():
            found += records
    consumer.close()
    return found


def one_event(id: str, **features: Any) -> bytes:
    return json.dumps({"events": [{"id": id, "features": features}]}).encode()


def test_what_is_asked_is_logged_by_its_ids(kafka: Any, topic_name: str, logging: Any) -> None:
    one = logging(kafka)
    one.log.start()
    v1 = b'{"events":[{"id":"a","features":{"user":"u1"}},{"id":7,"ts":5,"features":{"ad":"x"}}]}'
    candidates = b'{"context":{"user":"u2"},"candidates":[{"ad":"a1"},{"ad":"a2"}],"id":"r"}'
    v2 = [b'{"id":"v2","features":{"user":"u3"}}', b'{"features":{"user":"u4"}}']
    for body in (v1, candidates, v2):
        one.see(body)
    one.log.stop()
    records = {record.key: record for record in consumed(kafka.bootstrap, topic_name, 6)}
    generated = next(key for key in records if len(key) == 34)
    assert set(records) == {b"a", b"7", b"r/0", b"r/1", b"v2", generated}
    events = {key: json.loads(record.value) for key, record in records.items()}
    assert all(str(event["id"]).encode() == key for key, event in events.items())
    assert {tuple(record.headers) for record in records.values()} == {(("ctr.sample", b"1.0"),)}
    assert events[b"r/1"]["features"] == {"user": "u2", "ad": "a2"}
    assert events[b"7"]["ts"] == 5
    keys_of = [(v1, [b"a", b"7"]), (candidates, [b"r/0", b"r/1"]), (v2, [b"v2", generated])]
    for body, keys in keys_of:
        expected = asked(SERVED, body).probabilities.tolist()
        served = [events[key]["served"] for key in keys]
        assert served == [{"p": p, "version": 84, "model": "clicks"} for p in expected]
    assert one.metric("events_total") == 6
    assert one.metric("failures_total") == 0
    assert one.dropped() == {}
    assert one.log.status() == {"topic": topic_name, "sample": 1, "waiting": 0, "last_failure": ""}


def test_a_share_of_the_requests_is_logged_whole(kafka: Any, topic_name: str, logging: Any) -> None:
    one = logging(kafka, random.Random(3).random, sample=0.25)
    one.log.start()
    draws = random.Random(3)
    chosen = [k for k in range(200) if draws.random() < 0.25]
    assert 30 < len(chosen) < 70
    for k in range(200):
        one.see(b'{"events":[{"id":"%d/a"},{"id":"%d/b"}]}' % (k, k))
    one.log.stop()
    records = consumed(kafka.bootstrap, topic_name, 2 * len(chosen))
    assert {record.key.decode() for record in records} == {
        f"{k}/{place}" for k in chosen for place in "ab"
    }
    assert records[0].headers == [("ctr.sample", b"0.25")]


def test_none_is_wanted() -> None:
    config = load(environment={}, overrides={})
    assert prediction_log.make(config, CollectorRegistry()) is None


def test_one_is_made_as_configured() -> None:
    settings = {"prediction_log.sample": 0.5, "model.name": "buys"}
    registry = CollectorRegistry()
    made = prediction_log.make(load(environment={}, overrides=settings), registry)
    assert made.status() == {
        "topic": "ctr.buys.served",
        "sample": 0.5,
        "waiting": 0,
        "last_failure": "",
    }
    labels = {"model": "buys"}
    assert registry.get_sample_value("ctr_prediction_log_events_total", labels) == 0


def test_large_events_raise_the_topics_limit(kafka: Any, topic_name: str, logging: Any) -> None:
    large = hosted(spec=Features(bits=10, max_event_bytes=8 << 20))
    text = random.Random(1).randbytes(2_000_000).hex()
    one = logging(kafka)
    one.log.start()

    def see(id: str, served: Any = large, **features: Any) -> float:
        """Events written, when this one was or was not."""
        before = one.finished()
        one.see(one_event(id, **features), served)
        one.wait(lambda: one.finished() > before)
        return one.metric("events_total")

    assert see("small", SERVED, text="x") == 1
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as admin:
        made = int(topic_configs(admin, topic_name)["max.message.bytes"])
        assert (1 << 20) + 1000 < made < 2 << 20
        assert see("100", text=text) == 2
        assert one.metric("failures_total") == 0
        # somebody lowers it behind our back, which the broker's log learns a little later
        ensure_topic(admin, topic_name, 1, {"max.message.bytes": "100000"})
    last = next(k for k in range(101, 999) if see(f"{k}", text=text) == k - 99)
    assert one.dropped() == {"refused": 1}
    assert "MessageSizeTooLarge" in one.log.status()["last_failure"]
    assert one.metric("failures_total") == 1
    # and the next one raises it again
    written = see("999", text=text)
    assert one.dropped() == {"refused": 1}
    assert one.log.status()["last_failure"] == ""
    keys = {record.key for record in consumed(kafka.bootstrap, topic_name, int(written))}
    assert keys == {b"small", b"999", *(b"%d" % k for k in range(100, last))}


def test_a_request_that_cannot_be_logged(kafka: Any, topic_name: str, logging: Any) -> None:
    one = logging(kafka)
    good, bad = one_event("good"), b'{"events":[{"id":"first"},{"id":"?"]}'
    for body in (good, bad, good):
        one.log.seen(asked(SERVED, b'{"events":[{}]}')._replace(body=body))
    one.log.start()
    one.wait(lambda: one.finished() == 3)
    assert one.dropped() == {"fault": 1}
    records = consumed(kafka.bootstrap, topic_name, 2)
    assert [record.key for record in records] == [b"good", b"good"]


def test_a_request_of_many_bytes_goes_in_parts(kafka: Any, topic_name: str, logging: Any) -> None:
    """The context is in all events: 20 MB of them from a request of 20 kB."""
    text = random.Random(1).randbytes(10_000).hex()
    candidates = [{"ad": f"a{k}"} for k in range(1000)]
    one = logging(kafka)
    one.log.start()
    one.see(json.dumps({"context": {"text": text}, "candidates": candidates, "id": "r"}).encode())
    one.wait(lambda: one.metric("events_total") == 1000)
    records = consumed(kafka.bootstrap, topic_name, 1000)
    ads = {record.key: json.loads(record.value)["features"]["ad"] for record in records}
    assert ads == {b"r/%d" % k: f"a{k}" for k in range(1000)}


def test_an_outage_of_the_broker(own_kafka: Any, topic_name: str, logging: Any) -> None:
    one = logging(own_kafka, max_buffered=20)
    own_kafka.stop()
    one.log.start()
    one.wait(lambda: one.metric("failures_total") > 0)
    for k in range(100):  # before there was any topic
        one.see(one_event(f"a{k}"))
    first = one.dropped()["full"]
    assert 60 <= first <= 80  # what was taken up by the thread makes room
    assert topic_name in one.log.status()["last_failure"]
    own_kafka.start()
    one.wait(lambda: one.metric("events_total") == 100 - first)
    one.wait(lambda: one.metric("waiting_requests") == 0)
    assert one.log.status()["last_failure"] == ""

    one.see(one_event("between"))
    one.wait(lambda: one.metric("events_total") == 101 - first)
    own_kafka.stop()
    failures = one.metric("failures_total")
    one.see(one_event("taken up"))
    one.wait(lambda: one.log.waiting == 0)
    for k in range(100):
        one.see(one_event(f"b{k}"))
    assert one.log.waiting == 20
    assert one.dropped() == {"full": first + 80}
    one.wait(lambda: one.metric("failures_total") > failures)
    own_kafka.start()
    one.wait(lambda: one.metric("events_total") == 122 - first)
    assert one.dropped() == {"full": first + 80}
    keys = [record.key for record in consumed(own_kafka.bootstrap, topic_name, int(122 - first))]
    assert len(keys) == len(set(keys)) == 122 - first
    assert {b"between", b"taken up", b"b0", b"b19"} <= set(keys)
    assert b"b20" not in keys


def test_a_stop_while_the_broker_is_away(
    own_kafka: Any, topic_name: str, logging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "STOP_SECONDS", 1.0)
    one = logging(own_kafka)
    one.log.start()
    one.see(one_event("written"))
    one.wait(lambda: one.metric("events_total") == 1)
    own_kafka.stop()
    for k in range(250):
        one.see(one_event(f"{k}"))
    one.log.stop()
    assert one.dropped() == {"stopped": 250}
    assert [thread.name for thread in threading.enumerate() if "log" in thread.name] == []
