"""What ``ctr.serve.limited`` uses of uvicorn beside its interface: this says what has changed."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

WHERE = f"uvicorn {uvicorn.__version__}: see ctr/serve/limited.py and protocol.py; "


async def application(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture(scope="module")
def connection() -> HttpToolsProtocol:
    async def made() -> HttpToolsProtocol:
        config = uvicorn.Config(application, log_config=None, ws="none")
        config.load()
        loop = asyncio.get_running_loop()
        return HttpToolsProtocol(config, ServerState(), {}, _loop=loop)

    return asyncio.run(made())


@pytest.mark.parametrize(
    "name",
    [
        *("url", "headers", "scope", "expect_100_continue", "cycle", "pipeline", "tasks"),
        *("parser", "loop", "transport", "flow", "server", "client", "scheme", "server_state"),
    ],
)
def test_a_connection_has_this(connection: HttpToolsProtocol, name: str) -> None:
    if name in ("url",):  # from the first request on
        connection.on_message_begin()
    assert hasattr(connection, name), WHERE + f"HttpToolsProtocol.{name} is gone"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("__init__", ["self", "config", "server_state", "app_state", "_loop"]),
        ("connection_made", ["self", "transport"]),
        ("connection_lost", ["self", "exc"]),
        ("data_received", ["self", "data"]),
        ("eof_received", ["self"]),
        ("on_message_begin", ["self"]),
        ("on_url", ["self", "url"]),
        ("on_header", ["self", "name", "value"]),
        ("on_headers_complete", ["self"]),
        ("on_body", ["self", "body"]),
        ("on_message_complete", ["self"]),
        ("on_response_complete", ["self"]),
        ("shutdown", ["self"]),
        ("pause_writing", ["self"]),
        ("resume_writing", ["self"]),
    ],
)
def test_a_connection_is_called_like_this(method: str, parameters: list[str]) -> None:
    found = getattr(HttpToolsProtocol, method, None)
    assert found is not None, WHERE + f"HttpToolsProtocol.{method} is gone"
    assert list(inspect.signature(found).parameters) == parameters, WHERE + method


def test_uvicorn_handles_a_connection_by_no_other_methods() -> None:
    ours = {
        *("connection_made", "connection_lost", "eof_received", "data_received", "shutdown"),
        *("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body"),
        *("on_message_complete", "on_response_complete", "pause_writing", "resume_writing"),
    }
    known = {"handle_websocket_upgrade", "send_400_response", "timeout_keep_alive_handler"}
    found = {
        name
        for name, value in vars(HttpToolsProtocol).items()
        if callable(value) and not name.startswith("_")
    }
    assert found == ours | known, WHERE + "does a new method need to know of the limits?"


@pytest.mark.parametrize(
    "name",
    [
        *("response_started", "response_complete", "disconnected", "keep_alive"),
        *("message_event", "waiting_for_100_continue", "run_asgi"),
    ],
)
def test_a_request_has_this(name: str) -> None:
    given = dict.fromkeys(inspect.signature(RequestResponseCycle).parameters)
    assert hasattr(RequestResponseCycle(**given), name), WHERE + f"cycle.{name} is gone"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["read_paused", "write_paused", "resume_reading"])
def test_flow_control_has_this(name: str) -> None:
    async def made() -> FlowControl:
        return FlowControl(None)  # type: ignore[arg-type]

    assert hasattr(asyncio.run(made()), name), WHERE + f"FlowControl.{name} is gone"


def test_httptools_tells_what_a_method_raised() -> None:
    class Refusing:
        def on_url(self, url: bytes) -> None:
            raise ZeroDivisionError

    with pytest.raises(httptools.HttpParserError) as raised:
        httptools.HttpRequestParser(Refusing()).feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert isinstance(raised.value.__context__, ZeroDivisionError)
