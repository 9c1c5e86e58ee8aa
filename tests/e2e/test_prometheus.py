"""A real Prometheus scrapes a trainer and a server at work."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.observe.prometheus import Prometheus

from .metrics import Endpoint
from .processes import Processes
from .streams import Content, TopicStream

EVENTS = 11_000
"""The shares of the features are those of the last 10,000 events."""

SHOWN = """
ctr_log_loss{window="total"} < ctr_base_log_loss{window="total"}
ctr_normalized_entropy{window="window"} < 1
ctr_auc{window="window"} > 0.55
ctr_calibration_ratio{window="total"} > 0.8 < 1.25
ctr_predicted_clicks_total > 100
ctr_observed_clicks_total > 100
ctr_nonzero_weights > 100
ctr_touched_coordinates > 1000
ctr_weight_sparsity_ratio > 0.5
ctr_table_coordinates == 65536
ctr_learning_rate < 0.1 > 0.09
ctr_model_event_time_seconds > 1.7e9
ctr_gate_open == 1
time() - ctr_last_checkpoint_timestamp_seconds < 60
ctr_checkpoint_duration_seconds > 0
ctr_checkpoint_size_bytes > 1e5
time() - ctr_last_publish_timestamp_seconds < 60
ctr_publish_duration_seconds > 0
ctr_publishes_total > 0
ctr_feature_coverage_ratio{name="user"} == 1
ctr_served_model_ready == 1
ctr_served_model_event_time_seconds > 1.7e9
ctr_served_nonzero_weights > 100
ctr_requests_total{code="200"} >= 20
ctr_requests_total{code="422"} == 1
ctr_predictions_total >= 40
histogram_quantile(0.99, ctr_request_duration_seconds_bucket) > 0 < 2.5
ctr_request_duration_seconds_count >= 20
ctr_build_info
""".strip().splitlines()
"""What has to hold; a query that does not returns nothing."""


def ask(url: str, times: int) -> None:
    rows = {"events": [{"features": {"user": "u1"}}, {"features": {"user": "u2", "ad": "a1"}}]}
    with httpx.Client(base_url=url) as client:
        for _ in range(times):
            assert client.post("/v1/predict", json=rows).status_code == 200
        assert client.post("/v1/predict", json={"events": 7}).status_code == 422


def test_prometheus_has_the_series_of_both(
    kafka,
    topic_name: str,
    processes: Processes,
    prometheus_binaries: Any,
    free_port: int,
    tmp_path: Path,
) -> None:
    content = Content(vanish_after=EVENTS)
    stream = TopicStream(kafka.bootstrap, topic_name, 2)
    stream.send(content.take(EVENTS))
    stream.flush()
    settings = {**stream.settings, "model.name": "scraped", "features.bits": 16}
    often = {"metrics.port": 0, "checkpoint.interval_seconds": 0.5, "metrics.window": 10_000}
    trainer = processes.start("train", settings=settings | often)
    server = processes.start("serve", settings=settings | {"serve.port": 0})
    learning, serving = Endpoint(trainer), Endpoint(server)

    folder = tmp_path / "prometheus"
    folder.mkdir()
    targets = {"trainer": [learning.port], "server": [serving.port]}
    with Prometheus(prometheus_binaries.prometheus, free_port, folder, targets) as prometheus:
        learning.wait_for("ctr_events_learned_total", len(content.good))
        serving.wait_for("ctr_served_model_version", 1)
        ask(serving.url, 20)
        for expression in SHOWN:
            found = prometheus.wait_for(expression)
            assert {labels["model"] for labels, _ in found} == {"scraped"}
        for reason, count in content.rejected().items():
            prometheus.wait_for(f'ctr_events_rejected_total{{reason="{reason}"}} == {count}')
        [(_, version)] = prometheus.query("ctr_served_model_version")

        stream.send(content.take(EVENTS))
        stream.flush()
        prometheus.wait_for(f"ctr_events_learned_total == {len(content.good)}")
        lag = prometheus.wait_for("ctr_consumer_lag_records == 0", lambda found: len(found) == 2)
        assert {labels["partition"] for labels, _ in lag} == {f"{topic_name}/{n}" for n in (0, 1)}
        prometheus.wait_for('ctr_feature_coverage_ratio{name="site"} < 0.2')
        prometheus.wait_for('ctr_feature_coverage_ratio{name="user"} == 1')
        prometheus.wait_for(f"ctr_served_model_version > {version}")
        [(_, growth)] = prometheus.wait_for("increase(ctr_events_learned_total[1m])")
        assert growth > 0
    for endpoint in (learning, serving):
        promtool = [prometheus_binaries.promtool, "check", "metrics"]
        found = subprocess.run(promtool, input=endpoint.text(), capture_output=True, text=True)
        assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    trainer.terminate()
    server.terminate()
    stream.close()
