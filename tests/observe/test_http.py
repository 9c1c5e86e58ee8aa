"""The trainer's endpoint, as a scraper and a browser see it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ctr.errors import SettingError
from ctr.observe.http import MetricsEndpoint

from .figures import trainer


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    registry, _ = trainer()
    with MetricsEndpoint(registry, "127.0.0.1", 0) as running:
        yield running


def test_the_text_format_is_the_default(endpoint: MetricsEndpoint) -> None:
    answer = httpx.get(f"{endpoint.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    registry, _ = trainer()
    mine, theirs = answer.text.splitlines(), generate_latest(registry).decode().splitlines()
    ours = [line for line in mine if "process_" not in line]
    assert ours == [line for line in theirs if "process_" not in line]
    assert any(line.startswith("process_resident_memory_bytes") for line in mine)


def test_openmetrics_is_answered_to_who_asks(endpoint: MetricsEndpoint) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = httpx.get(f"{endpoint.url}/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"ctr_events_learned", "ctr_log_loss", "ctr_gate_open"} <= names


def test_the_dashboard_needs_nothing_from_elsewhere(endpoint: MetricsEndpoint) -> None:
    answer = httpx.get(endpoint.url)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert 'fetch("/metrics"' in answer.text
    assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


def test_other_pages_and_methods_are_refused(endpoint: MetricsEndpoint) -> None:
    assert httpx.get(f"{endpoint.url}/livez").text == "ok\n"
    assert httpx.get(f"{endpoint.url}/nothing").status_code == 404
    assert httpx.post(f"{endpoint.url}/metrics", content=b"x").status_code == 501
    head = httpx.head(f"{endpoint.url}/metrics")
    assert (head.status_code, head.content) == (200, b"")


def test_a_taken_port_is_a_setting_error(endpoint: MetricsEndpoint) -> None:
    registry, _ = trainer()
    with pytest.raises(SettingError, match=r"metrics\.port must be .*Address already in use"):
        MetricsEndpoint(registry, "127.0.0.1", endpoint.port)


def test_closing_frees_the_port(endpoint: MetricsEndpoint) -> None:
    registry, _ = trainer()
    first = MetricsEndpoint(registry, "127.0.0.1", 0)
    first.close()
    with MetricsEndpoint(registry, "127.0.0.1", first.port) as second:
        assert httpx.get(f"{second.url}/livez").status_code == 200
