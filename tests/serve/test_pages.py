"""What an operator asks a server: health, metrics, status, the dashboard."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ctr.model import gate
from ctr.model.snapshot import write
from ctr.model.update import Update
from ctr.settings import Serve

from .running import BITS, Feed, Running, manifest, random_model, running, whole


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
    assert 'href="/openapi.json"' in answer.text


def test_the_gate_that_a_version_passed_is_told() -> None:
    said = gate.Status(open=True, overridden=True, reason="a test", violated=["calibration"])
    sections = {gate.SECTION: msgspec.to_builtins(said)}
    feed = Feed()
    with running(feed) as server:
        feed.put(Update(msgspec.structs.replace(manifest(7), sections=sections), random_model()))
        server.wait_for_version(7)
        for model in (
            server.http.get("/v1/models").json()["models"][0],
            server.http.get("/v1/models/clicks").json(),
            server.http.get("/v1/status").json()["models"][0],
        ):
            assert msgspec.convert(model["gate"], gate.Status) == said


def test_a_version_without_a_gate_has_none(server: Running) -> None:
    assert "gate" not in server.http.get("/v1/models").json()["models"][0]
    assert "shadow" not in server.http.get("/v1/models/clicks").json()


def test_a_shadow_stands_beside_its_model(tmp_path: Path) -> None:
    path = tmp_path / "other.model"
    write(path, manifest(3), random_model(seed=1))
    feed = Feed()
    with running(feed, Serve(shadow=str(path))) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)

        def shadow() -> Any:
            return server.http.get("/v1/models/clicks").json()["shadow"]

        server.wait(lambda: shadow()["ready"])
        assert shadow()["version"] == 3
        assert server.http.get("/v1/status").json()["models"][0]["version"] == 7
