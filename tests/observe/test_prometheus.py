"""A real Prometheus scrapes trainer and server metrics and gives them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctr.observe.http import MetricsEndpoint

from .figures import server, trainer
from .prometheus import Prometheus


def test_a_real_prometheus_returns_the_series(
    prometheus_binaries: Any, free_port: int, tmp_path: Path
) -> None:
    trainer_registry, trainer_metrics = trainer()
    server_registry, _ = server()
    with (
        MetricsEndpoint(trainer_registry, "127.0.0.1", 0) as learning,
        MetricsEndpoint(server_registry, "127.0.0.1", 0) as serving,
        Prometheus(
            prometheus_binaries.prometheus,
            free_port,
            tmp_path,
            {"trainer": [learning.port], "server": [serving.port]},
        ) as prometheus,
    ):
        both = prometheus.wait_for("up == 1", lambda found: len(found) == 2)
        assert {labels["job"] for labels, _ in both} == {"trainer", "server"}
        [(labels, loss)] = prometheus.query('ctr_log_loss{window="window"}')
        assert (labels["model"], labels["job"], loss) == ("clicks", "trainer", 0.2)
        [(_, calibration)] = prometheus.query(
            "ctr_predicted_clicks_total / ctr_observed_clicks_total"
        )
        assert calibration == 0.995
        [(_, p99)] = prometheus.query(
            "histogram_quantile(0.99, ctr_request_duration_seconds_bucket)"
        )
        assert 0.0003 < p99 <= 0.0004
        assert prometheus.metadata()["ctr_events_learned"] == "counter"
        assert prometheus.metadata()["ctr_request_duration_seconds"] == "histogram"

        trainer_metrics.learned(5000, event_time_ms=1_700_000_009_000)
        prometheus.wait_for("ctr_events_learned_total == 5000")
