"""Shadow and prediction log at work, behind the routes of a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ctr.features.parser import Parser
from ctr.model.snapshot import write
from ctr.settings import Config, Features, Kafka, PredictionLog, Serve
from ctr.types import Records

from ..e2e.processes import Processes, wait_until
from .running import Feed, manifest, random_model, running, whole
from .test_prediction_log import consumed

OTHER = Features(bits=8, hash_seed=3)


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    """A snapshot to be the shadow: version 12, with features of its own."""
    path = tmp_path / "shadow.model"
    write(path, manifest(12, OTHER), random_model(OTHER, seed=2, density=1))
    return str(path)


def test_every_route_is_watched(kafka: Any, topic_name: str, snapshot: str) -> None:
    config = Config(
        kafka=Kafka(bootstrap_servers=kafka.bootstrap),
        prediction_log=PredictionLog(sample=1, topic=topic_name),
    )
    events = [{"id": f"e{k}", "features": {"user": f"u{k}", "ad": "a1"}} for k in range(3)]
    candidates = [{"ad": "a1"}, {"ad": "a2"}]
    data = [json.dumps({"id": "v2", "features": {"user": "u1"}})]
    tensor = {"name": "events", "datatype": "BYTES", "shape": [1], "data": data}
    feed = Feed()
    with running(feed, Serve(shadow=snapshot), config) as server:
        assert server.predict({"events": events}).status_code == 503  # not answered: not watched
        feed.put(whole(7, random_model(density=1)))
        server.wait_for_version(7)
        server.wait(lambda: server.metric("ctr_shadow_model_version") == 12)
        first = server.predict({"events": events}).json()["probabilities"]
        body = {"context": {"user": "u9"}, "candidates": candidates, "id": "r"}
        second = server.predict(body).json()["probabilities"]
        answer = server.http.post("/v2/models/clicks/infer", json={"inputs": [tensor]}).json()
        third = answer["outputs"][0]["data"]
        assert server.predict({"events": [7]}).status_code == 422
        server.wait(lambda: server.metric("ctr_prediction_log_events_total") == 6)
        server.wait(lambda: server.metric("ctr_shadow_predictions_total") == 6)
        assert server.metric("ctr_shadow_requests_total", outcome="scored") == 3
        status = server.http.get("/v1/models/clicks").json()
        assert (status["version"], status["shadow"]["version"]) == (7, 12)
        assert status["prediction_log"]["topic"] == topic_name
        said = server.http.get("/metrics").text
    answered = dict(
        zip(["e0", "e1", "e2", "r/0", "r/1", "v2"], first + second + third, strict=True)
    )
    records = {record.key.decode(): record for record in consumed(kafka.bootstrap, topic_name, 6)}
    for id, p in answered.items():
        event = json.loads(records[id].value)
        assert event["served"] == {"p": pytest.approx(p), "version": 7, "model": "clicks"}
    served = sum(answered.values())
    assert clicks(said, "served") == pytest.approx(served)
    lines = [b'{"label":0,' + record.value[1:] for record in records.values()]
    batch = Parser(OTHER).parse(Records.of(lines)).batch
    expected = random_model(OTHER, seed=2, density=1).predict(batch).sum(dtype=np.float64)
    assert clicks(said, "shadow") == pytest.approx(expected)


def clicks(metrics: str, by: str) -> float:
    samples = [s for family in text_string_to_metric_families(metrics) for s in family.samples]
    [found] = [
        sample.value
        for sample in samples
        if sample.name == "ctr_shadow_predicted_clicks_total" and sample.labels["by"] == by
    ]
    return found


def test_what_was_answered_before_the_end_is_logged(kafka: Any, topic_name: str) -> None:
    config = Config(
        kafka=Kafka(bootstrap_servers=kafka.bootstrap),
        prediction_log=PredictionLog(sample=1, topic=topic_name),
    )
    feed = Feed()
    with running(feed, config=config) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        for k in range(300):
            assert server.predict({"events": [{"id": f"{k}"}]}).status_code == 200
    records = consumed(kafka.bootstrap, topic_name, 300)
    assert {record.key for record in records} == {b"%d" % k for k in range(300)}
    assert server.metric("ctr_prediction_log_events_total") == 300


def test_answers_do_not_wait_for_the_log(own_kafka: Any, topic_name: str) -> None:
    """While the broker is away all is answered, ten requests wait and the others are counted."""
    config = Config(
        kafka=Kafka(bootstrap_servers=own_kafka.bootstrap),
        prediction_log=PredictionLog(sample=1, topic=topic_name, max_buffered=10),
    )
    feed = Feed()
    with running(feed, config=config) as server:

        def answered(ids: range) -> None:
            for k in ids:
                assert server.predict({"events": [{"id": f"{k}"}]}).status_code == 200

        def written() -> float:
            return server.metric("ctr_prediction_log_events_total") or 0

        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        answered(range(1))
        server.wait(lambda: written() == 1)
        own_kafka.stop()
        answered(range(1, 101))
        dropped = server.metric("ctr_prediction_log_dropped_total", reason="full")
        assert 80 <= dropped <= 90  # ten wait, and at most as many are in hand
        assert written() == 1
        own_kafka.start()
        server.wait(lambda: written() == 101 - dropped)
        answered(range(101, 106))
        server.wait(lambda: written() == 106 - dropped)
    keys = [record.key for record in consumed(own_kafka.bootstrap, topic_name, int(106 - dropped))]
    assert len(keys) == len(set(keys)) == 106 - dropped
    assert {b"0", b"1", *(b"%d" % k for k in range(101, 106))} <= set(keys)


def test_several_processes(
    kafka: Any, topic_name: str, tmp_path: Path, snapshot: str, processes: Processes
) -> None:
    """Each worker has a shadow and writes to the log; the metrics are those of all."""
    write(tmp_path / "clicks.model", manifest(7), random_model(density=1))
    server = processes.start(
        *("serve", "--model", str(tmp_path / "clicks.model"), "--workers", "2"),
        settings={
            "serve.port": 0,
            "serve.shadow": snapshot,
            "kafka.bootstrap_servers": kafka.bootstrap,
            "prediction_log.sample": 1,
            "prediction_log.topic": topic_name,
        },
    )
    url = server.wait_for(r"(http://\S+)")
    wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, "a model")

    def metrics() -> dict[str, float]:
        families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
        return {
            sample.name + "".join(v for k, v in sample.labels.items() if k != "model"): sample.value
            for family in families
            for sample in family.samples
        }

    wait_until(lambda: metrics().get("ctr_shadow_model_ready"), "a shadow")
    for k in range(200):  # a connection each, so that both workers answer some
        event = {"id": f"{k}", "features": {"user": f"u{k % 9}"}}
        assert httpx.post(f"{url}/v1/predict", json={"events": [event]}).status_code == 200
    wait_until(lambda: metrics()["ctr_prediction_log_events_total"] == 200, "the log")

    def seen() -> float:
        found = metrics()
        return sum(found[f"ctr_shadow_requests_total{one}"] for one in ("scored", "not_ready"))

    wait_until(lambda: seen() == 200, "the shadows")
    assert metrics()["ctr_shadow_model_version"] == 12
    server.terminate()
    records = consumed(kafka.bootstrap, topic_name, 200)
    assert sorted(int(record.key) for record in records) == list(range(200))
