"""The endpoint by itself: what it does when its work goes wrong."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from prometheus_client import CollectorRegistry

from ctr.observe.server import ServerMetrics
from ctr.serve.endpoint import Endpoint


def test_a_fault_is_answered_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()

    def work(body: bytes, now_ms: int) -> tuple[bytes, int]:
        raise ZeroDivisionError(body.decode())

    endpoint = Endpoint(work, ServerMetrics(registry).model("clicks"), max_body_bytes=100)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint)) as http:
            return await http.post("http://server/v1/predict", content=b"secret")

    with caplog.at_level(logging.ERROR):
        answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert answer.json()["error"]["path"] == "server"
    assert "secret" not in answer.text
    assert "ZeroDivisionError" in caplog.text
    labels = {"model": "clicks", "code": "500"}
    assert registry.get_sample_value("ctr_requests_total", labels) == 1


def test_the_time_is_that_of_the_receipt_in_milliseconds() -> None:
    def work(body: bytes, now_ms: int) -> tuple[bytes, int]:
        return str(now_ms).encode(), 1

    metrics = ServerMetrics(CollectorRegistry()).model("clicks")
    endpoint = Endpoint(work, metrics, max_body_bytes=100, clock=lambda: 1_700_000_000.1234)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint)) as http:
            return await http.post("http://server/v1/predict", content=b"")

    assert asyncio.run(ask()).text == "1700000000123"
