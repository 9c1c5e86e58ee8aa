"""The server process: its address, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ctr.errors import SettingError
from ctr.observe import registry
from ctr.serve.run import PredictionServer
from ctr.settings import Config, Serve

from .running import Feed, Running, random_model, running, whole

BODY = json.dumps({"events": [{"features": {"user": "u1"}}]}).encode()


@contextmanager
def process(version: int = 7) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its url; killed at the end if it still runs."""
    script = Path(__file__).with_name("process.py")
    started = subprocess.Popen(
        [sys.executable, script, "0", str(version)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        url = started.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), started.stderr and started.stderr.read()
        yield started, url
    finally:
        started.kill()
        started.communicate()


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + 60
    while httpx.get(f"{url}/readyz").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_until_refused(address: tuple[str, int]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(address, timeout=5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    raise AssertionError("it still accepts connections")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(number: signal.Signals) -> None:
    with process() as (server, url), httpx.Client(base_url=url) as http:
        wait_until_ready(url)
        assert http.post("/v1/predict", content=BODY).status_code == 200
        server.send_signal(number)  # with a connection that is open and idle
        out, err = server.communicate(timeout=20)
        assert (server.returncode, out, err) == (0, "closed: True\n", "")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/livez")


def test_a_server_without_a_model_ends_too() -> None:
    with process(version=0) as (server, url):
        assert httpx.get(f"{url}/readyz").status_code == 503
        server.terminate()
        assert server.wait(20) == 0


def test_a_request_that_was_begun_is_answered() -> None:
    with process() as (server, url):
        wait_until_ready(url)
        address = ("127.0.0.1", httpx.URL(url).port or 0)
        with (
            socket.create_connection(address, timeout=20) as open_request,
            open_request.makefile("rb") as reader,
        ):
            head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
            open_request.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            assert reader.readline().startswith(b"HTTP/1.1 100")  # it waits for the body now
            reader.readline()
            open_request.sendall(BODY[:10])
            server.terminate()
            wait_until_refused(address)
            assert server.poll() is None
            open_request.sendall(BODY[10:])
            answer = reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"probabilities":[' in answer
        assert server.wait(20) == 0


def test_a_taken_address_is_a_setting_error(server: Running) -> None:
    wrong = [
        (Serve("127.0.0.1", server.server.port), "Address already in use"),
        (Serve("host.invalid", 0), "serve.port must be an address to listen on"),
    ]
    for settings, said in wrong:
        with pytest.raises(SettingError, match=said):
            PredictionServer(Config(serve=settings), Feed(), registry.make("server", "clicks"))


def test_the_admin_address_has_what_is_the_operators() -> None:
    feed = Feed()
    with running(feed, Serve(admin_port=0)) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        admin = server.server.admin_url
        assert admin != server.url
        assert server.http.post("/v1/predict", content=BODY).status_code == 200
        for path in ("/metrics", "/v1/status", "/"):
            assert httpx.get(f"{admin}{path}").status_code == 200
            assert server.http.get(path).status_code == 404
        assert (
            'ctr_requests_total{code="200",model="clicks"} 1' in httpx.get(f"{admin}/metrics").text
        )
        assert httpx.post(f"{admin}/v1/predict", content=BODY).status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{admin}/metrics")


def test_a_taken_admin_address_is_a_setting_error(server: Running) -> None:
    """And the other address is free again."""
    settings = Serve(port=free_port(), admin_port=server.server.port)
    with pytest.raises(SettingError, match=r"serve\.admin_port .*Address already in use"):
        PredictionServer(Config(serve=settings), Feed(), registry.make("server", "clicks"))
    socket.create_server(("127.0.0.1", settings.port)).close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_stopping_closes_the_follower() -> None:
    feed = Feed()
    with running(feed):
        assert not feed.closed
    assert feed.closed
