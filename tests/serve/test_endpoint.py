"""The endpoint by itself: what it does when its work goes wrong."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from ctr.features.request import RequestError
from ctr.observe.server import ServerMetrics
from ctr.serve.answers import Answer
from ctr.serve.endpoint import Endpoint, Work


def made(work: Work, registry: CollectorRegistry, **options: Any) -> Endpoint:
    return Endpoint(work, ServerMetrics(registry).model("clicks"), max_body_bytes=100, **options)


def asked(endpoint: Endpoint, **request: Any) -> httpx.Response:
    """The answer by ASGI."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint)) as http:
            return await http.request("POST", "http://server/v1/predict", **request)

    return asyncio.run(ask())


def test_a_fault_is_answered_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def work(scope: Any, body: bytes, now_ms: int) -> Answer:
        raise ZeroDivisionError(body.decode())

    registry = CollectorRegistry()
    endpoint = made(work, registry)
    with caplog.at_level(logging.ERROR):
        answer = asked(endpoint, content=b"secret")
        reply = endpoint.answer({}, b"secret", perf_counter())
    assert answer.status_code == reply.status == 500
    assert answer.json()["error"]["path"] == "server"
    assert answer.content == reply.body
    assert "secret" not in answer.text
    assert "ZeroDivisionError" in caplog.text
    labels = {"model": "clicks", "code": "500"}
    assert registry.get_sample_value("ctr_requests_total", labels) == 2


def test_the_time_is_that_of_the_receipt_in_milliseconds() -> None:
    def work(scope: Any, body: bytes, now_ms: int) -> Answer:
        return Answer(str(now_ms).encode(), 1)

    endpoint = made(work, CollectorRegistry(), clock=lambda: 1_700_000_000.1234)
    assert asked(endpoint, content=b"").text == "1700000000123"


def test_work_gets_the_scope_and_gives_headers() -> None:
    def work(scope: Any, body: bytes, now_ms: int) -> Answer:
        assert (b"a", b"b") in scope["headers"]
        return Answer(body, 1, ((b"content-type", b"text/plain"), (b"c", b"d")))

    answer = asked(made(work, CollectorRegistry()), content=b"xyz", headers={"A": "b"})
    assert (answer.text, answer.headers["c"], answer.headers["content-length"]) == ("xyz", "d", "3")


@pytest.mark.parametrize("status", [413, 422, 503])
def test_what_work_refuses_is_counted_by_status(status: int) -> None:
    def work(scope: Any, body: bytes, now_ms: int) -> Answer:
        raise RequestError(status, "events[3]", "x" * 10_000, "something else")

    registry = CollectorRegistry()
    answer = asked(made(work, registry), content=b"")
    assert answer.status_code == status
    assert answer.json()["error"]["path"] == "events[3]"
    assert len(answer.content) < 500
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    labels = {"model": "clicks", "code": str(status)}
    assert registry.get_sample_value("ctr_requests_total", labels) == 1


def test_a_length_that_is_no_number_is_refused_whoever_lets_it_through() -> None:
    answer = asked(
        made(lambda *_: Answer(b"", 0), CollectorRegistry()),
        content=b"abc",
        headers={"Content-Length": "many"},
    )
    assert (answer.status_code, answer.json()["error"]["path"]) == (400, "content-length")
