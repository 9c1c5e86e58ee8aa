"""What an operator asks a server: health, metrics, status, the dashboard."""

from __future__ import annotations

import subprocess
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from .running import BITS, Running, random_model


def test_health(server: Running) -> None:
    for path in ("/livez", "/readyz"):
        answer = server.http.get(path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


def test_promtool_finds_nothing_in_a_running_servers_metrics(
    server: Running, prometheus_binaries: Any
) -> None:
    server.predict({"events": []})
    answer = server.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    checked = subprocess.run(
        [prometheus_binaries.promtool, "check", "metrics"],
        input=answer.content,
        capture_output=True,
        timeout=30,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_openmetrics_is_answered_to_who_asks(server: Running) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = server.http.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["ctr_request_duration_seconds"].type == "histogram"
    [version] = families["ctr_served_model_version"].samples
    assert (version.labels, version.value) == ({"model": "clicks"}, 7)


def test_status_says_what_is_served(server: Running) -> None:
    status = server.http.get("/v1/status").json()
    [model] = status["models"]
    served = random_model()
    assert model["name"] == "clicks"
    assert model["version"] == 7
    assert model["nonzero_weights"] == served.nonzero
    assert model["size_bytes"] == served.nbytes
    assert model["features"]["bits"] == BITS
    assert model["learner"]["name"] == "ftrl"
    assert model["age_seconds"] > 0
    assert status["uptime_seconds"] > 0
    assert server.http.get("/v1/models/clicks").json().keys() == model.keys()
    assert server.http.get("/v1/models").json()["default"] == "clicks"


def test_the_dashboard_is_served(server: Running) -> None:
    answer = server.http.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert 'fetch("/metrics"' in answer.text
