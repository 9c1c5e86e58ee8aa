"""The trainer's HTTP endpoint: ``/metrics``, ``/livez`` and the dashboard, in a thread."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ctr.errors import SettingError
from ctr.observe.dashboard import PAGE


class MetricsEndpoint:
    """Serves a registry until closed; ``port`` 0 takes a free one, to be read from ``.port``.

    Raises SettingError when the address cannot be listened on.

    >>> from urllib.request import urlopen
    >>> with MetricsEndpoint(CollectorRegistry(), "127.0.0.1", 0) as endpoint:
    ...     urlopen(f"{endpoint.url}/livez").read()
    b'ok\\n'
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        try:
            self._server = _Server((host, port), registry)
        except OSError as error:
            wanted = f"an address to listen on ({error.strerror})"
            raise SettingError("metrics.port", f"{host}:{port}", wanted) from None
        self.host = host
        self.port: int = self._server.server_address[1]
        # the default interval of half a second would be the time a close takes
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="metrics endpoint", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The address as ``http://host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsEndpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry) -> None:
        self.registry = registry
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    server_version = "ctr"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, encode(self.server.registry))
        elif path == "/livez":
            self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", b"ok\n")
        elif path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", PAGE)
        else:
            body = b"no such page; there are /, /metrics and /livez\n"
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """A line a scrape would drown the trainer's own log."""

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
