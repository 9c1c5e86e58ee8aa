"""The protocol of the prediction server: ``LimitedConnection``, with a short way for predictions.

A prediction request of the usual kind is answered as soon as its last byte is there: the endpoint
is called at once, without a task, a queue of messages or a second look at the headers. All else
goes uvicorn's way; pipelined requests too, so that a client who sends many at once waits for its
turn like others, and answers keep their order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from ctr.features.request import RequestError
from ctr.observe.server import TrafficMetrics
from ctr.serve.endpoint import Endpoint
from ctr.serve.keys import Keys
from ctr.serve.limited import LimitedConnection
from ctr.serve.limits import MAX_HEAD_BYTES, MAX_HEADERS, MAX_URL_BYTES, Traffic
from ctr.serve.queued import Queued
from ctr.serve.wire import Wire
from ctr.settings import Serve

_VERSIONS = ("1.1", "1.0")
_ASGI = {"version": "3.0", "spec_version": "2.3"}

_TELLING = frozenset(
    (
        *(b"connection", b"content-encoding", b"content-length"),
        *(b"expect", b"transfer-encoding", b"upgrade"),
    )
)
"""Headers that decide how a request is read."""


def protocol(
    endpoints: Mapping[bytes, Endpoint],
    keys: Keys | None,
    settings: Serve,
    metrics: TrafficMetrics,
) -> type[asyncio.Protocol]:
    """The class for uvicorn's ``http``; all its connections share one ``Traffic``.

    ``endpoints`` are answered directly, by the path as it stands in the request.
    """

    class Bound(Connection):
        pass

    Bound.endpoints, Bound.keys = endpoints, keys
    Bound.traffic, Bound.wire = Traffic(settings, metrics), Wire()
    return Bound


class Connection(LimitedConnection):
    """One connection of the prediction server or of the admin address."""

    endpoints: Mapping[bytes, Endpoint]
    keys: Keys | None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._usual = True  # no header asks for uvicorn's way
        self._length = -1  # of the body, as its header says
        self._endpoint: Endpoint | None = None  # whose body arrives
        self._asked: Scope = {}
        self._parts: list[bytes] = []
        self._started = 0.0

    # ---- the parser calls

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._begun = self._usual = True
        self._own = False
        self._length = self._size = -1

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _TELLING:
            self._heed(name, value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._size = 0
        if (
            self._read_bytes > MAX_HEAD_BYTES
            or self._waiting
            or len(self.headers) > MAX_HEADERS
            or len(self.url) > MAX_URL_BYTES
        ):
            self._check_head()
        path, _, query = self.url.partition(b"?")
        endpoint = self.endpoints.get(path)
        if (
            endpoint is not None
            and self._usual
            and self._first
            and 0 <= self._length <= endpoint.max_body_bytes
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self.parser.get_method() == b"POST"
            and self.parser.should_keep_alive()
            and (self.keys is None or self.keys.admit(self.headers))
        ):
            self._first = False
            self._endpoint = endpoint
            self._started = perf_counter()
            self._parts = []
            self._asked = self._scope(path, query)
        else:
            self._by_asgi()

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._endpoint is not None:
            self._parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        endpoint = self._endpoint
        if endpoint is None and self.parser.should_upgrade():
            return
        self._begun = False
        if self._timed:
            self._arrived()
        if endpoint is None:
            super().on_message_complete()
            self._own = False
            return
        self._endpoint = None
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        reply = endpoint.answer(self._asked, body, self._started)
        common = self.server_state.default_headers
        self.transport.write(self.wire.encoded(reply, common, self._closing))
        self.active = self.traffic.now
        if self._closing:
            self.transport.close()

    # ---- how a request is read

    def _heed(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._length = int(value)
        elif name == b"connection":
            # to a client of HTTP/1.0, keeping it open has to be said in the answer
            self._usual = self._usual and self.parser.get_http_version() == "1.1"
        else:
            self._usual = False
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            elif name == b"transfer-encoding":
                version = self.parser.get_http_version()
                if value.strip().lower() != b"chunked" or version != "1.1":
                    got, wanted = value.decode("latin-1"), "chunked, in HTTP/1.1"
                    raise RequestError(400, "transfer-encoding", got, wanted)

    def _check_head(self) -> None:
        if len(self.url) > MAX_URL_BYTES:
            got, wanted = f"{len(self.url)} bytes", f"at most {MAX_URL_BYTES} bytes"
            raise RequestError(414, "url", got, wanted)
        if len(self.headers) > MAX_HEADERS:
            raise RequestError(431, "headers", str(len(self.headers)), f"at most {MAX_HEADERS}")
        size = sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            raise RequestError(431, "headers", f"{size} bytes", f"at most {MAX_HEAD_BYTES} bytes")

    def _scope(self, path: bytes, query: bytes) -> Scope:
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": "POST",
            "root_path": "",
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
        }

    def _by_asgi(self) -> None:
        """Make the request one for the application, as uvicorn does."""
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise RequestError(505, "version", f"HTTP/{version}", "HTTP/1.1")
        if self.parser.should_upgrade():
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        queued = len(self.pipeline)
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()
        self._own = True
        self.headers = []  # trailers are nobody's
        if self._closing:
            self.cycle.keep_alive = False
        if len(self.pipeline) == queued:
            self._running = self.cycle
        else:
            cycle, app = self.pipeline[0]
            self.pipeline[0] = (cycle, Queued(app, self.traffic))  # type: ignore[assignment, arg-type]
