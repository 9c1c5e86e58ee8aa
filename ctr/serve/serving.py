"""uvicorn on a server's addresses, alone or beside other processes on the same sockets."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import uvicorn

from ctr.errors import SettingError
from ctr.settings import Serve

DRAIN_SECONDS = 10
BACKLOG = 2048
_PAUSE_SECONDS = 0.5
_YIELD_SECONDS = 2e-3

log = logging.getLogger(__name__)


class Listening(NamedTuple):
    """The sockets that a server listens on: connections wait there from now on."""

    service: socket.socket
    admin: socket.socket | None = None

    @classmethod
    def of(cls, settings: Serve) -> Listening:
        """Listen where ``settings`` say. Raises SettingError for an address that cannot be had."""
        service = _listen("serve.port", settings.host, settings.port)
        if settings.admin_port < 0:
            return cls(service)
        try:
            admin = _listen("serve.admin_port", settings.admin_host, settings.admin_port)
        except SettingError:
            service.close()
            raise
        return cls(service, admin)

    def urls(self, settings: Serve) -> tuple[str, str]:
        """Where predictions are answered, and where what is the operator's."""
        scheme = "https" if settings.tls_certificate else "http"
        service = _url(scheme, settings.host, self.service)
        if self.admin is None:
            return service, service
        return service, _url("http", settings.admin_host, self.admin)

    def close(self) -> None:
        for one in (self.service, self.admin):
            if one is not None:
                one.close()


Others = Callable[[int], bool]
"""Is told how many connections this process has; whether another one has fewer."""


class Server(uvicorn.Server):
    """uvicorn on one socket; with ``others`` (processes), a socket that they take from too.

    ``beside`` runs in the same event loop for as long. A TLS handshake may take ``seconds``.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listening: socket.socket,
        others: Others | None = None,
        beside: Server | None = None,
        seconds: float = 10.0,
    ) -> None:
        super().__init__(config)
        self._seconds = seconds
        self.announce: Callable[[], None] = lambda: None
        self._listening, self._others, self._beside = listening, others, beside
        self._accepting: _Accepting | None = None
        self._running: asyncio.Task[None] | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until ``stop`` or SIGTERM or SIGINT, then finish what was begun."""
        with _signals(self.stop):
            super().run([self._listening])

    def stop(self) -> None:
        """Ask for the end, from any thread: no new connections, open requests are answered."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._beside is not None:
            self._running = asyncio.create_task(self._beside.serve_beside())
        await super().startup([])
        # uvicorn would give a handshake a minute
        secure = {} if self.config.ssl is None else _handshake(self.config.ssl, self._seconds)
        if self._others:
            self._accepting = _Accepting(self._listening, self._connection, secure, self._yields)
        else:
            listen = asyncio.get_running_loop().create_server
            backlog = self.config.backlog
            server = await listen(self._connection, sock=self._listening, backlog=backlog, **secure)
            self.servers.append(server)
        if self.started:
            self.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._accepting is not None:
            self._accepting.close()
        await super().shutdown(sockets)
        if self._beside is not None and self._running is not None:
            self._beside.stop()
            await self._running

    async def serve_beside(self) -> None:
        """Serve as ``serve`` does, and leave the signals to the other server."""
        await self._serve([self._listening])

    def _yields(self, more: int) -> bool:
        assert self._others is not None
        return self._others(len(self.server_state.connections) + more)

    def _connection(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        connection: asyncio.Protocol = make(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        return connection


class _Accepting:
    """Takes connections one at a time from a socket that other processes take them from too.

    An event loop's own way is to take all that wait at once: of connections that are opened
    together and kept, one process would get most. ``yields`` is told how many are not connections
    of the server yet, and says whether another process should be the first to try.
    """

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.Protocol],
        secure: dict[str, Any],
        yields: Callable[[int], bool],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening, self._make, self._secure = listening, make, secure
        self._yields, self._yielded = yields, False
        self._handing: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._begin()

    def close(self) -> None:
        """Take no more."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._listening)

    def _begin(self) -> None:
        self._again = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        if self._yields(len(self._handing)) and not self._yielded:
            self._yielded = True
            self._pause(_YIELD_SECONDS)
            return
        self._yielded = False
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client left
        except OSError as error:  # too many open files: they wait until there are fewer
            log.error("connections wait: %s", error)
            self._pause(_PAUSE_SECONDS)
            return
        task = self._loop.create_task(self._hand_over(connection))
        self._handing.add(task)
        task.add_done_callback(self._handing.discard)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._again = self._loop.call_later(seconds, self._begin)

    async def _hand_over(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._make, connection, **self._secure)
        except OSError:  # a client that left, or whose TLS is not right
            connection.close()


def _handshake(secure: ssl.SSLContext, seconds: float) -> dict[str, Any]:
    """What an event loop is told of TLS: the time that a handshake and a farewell may take."""
    return {"ssl": secure, "ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}


def _listen(key: str, host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        wanted = f"an address to listen on ({error.strerror})"
        raise SettingError(key, f"{host}:{port}", wanted) from None


def _url(scheme: str, host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT mean ``stop``, also when they come before uvicorn listens to them, or
    when uvicorn raises them again at its end: the process then exits with 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
