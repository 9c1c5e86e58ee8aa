"""The server process: an address, uvicorn on it, and a clean end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time
from types import FrameType

import uvicorn
from prometheus_client import CollectorRegistry

from ctr.errors import SettingError
from ctr.model.update import Follower
from ctr.observe.server import ServerMetrics
from ctr.serve.app import Application
from ctr.serve.following import Following
from ctr.serve.hosted import Hosted
from ctr.settings import Config

KEEP_ALIVE_SECONDS = 75
DRAIN_SECONDS = 10


class PredictionServer:
    """Listens from its construction on; ``url`` is known then. Raises SettingError for an address
    that cannot be listened on.
    """

    def __init__(
        self,
        config: Config,
        follower: Follower,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time,
    ) -> None:
        settings = config.serve
        metrics = ServerMetrics(registry).model(config.model.name)
        hosted = Hosted(config.model.name, settings.max_rows, metrics)
        following = Following(follower, hosted, clock)
        app = Application([hosted], [following], registry, settings.max_body_bytes, clock)
        self.hosted = hosted
        self.socket = _listen(settings.host, settings.port)
        self.port: int = self.socket.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"http://{host}:{self.port}"
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )

    def run(self, announce: Callable[[str], None] = lambda _: None) -> None:
        """Serve until ``stop`` or SIGTERM or SIGINT, then finish what was begun.

        ``announce`` is called with the url when requests are answered.
        """
        self._server.announce = lambda: announce(self.url)
        with _signals(self.stop):
            self._server.run(sockets=[self.socket])

    def stop(self) -> None:
        """Ask for the end, from any thread: no new connections, open requests are answered."""
        self._server.should_exit = True


def run(
    config: Config,
    follower: Follower,
    registry: CollectorRegistry,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve ``config.model`` as ``follower`` brings it, until SIGTERM or SIGINT.

    ``announce`` is told the url once requests are answered; by default that is printed.
    """
    PredictionServer(config, follower, registry).run(announce or _print)


def _print(url: str) -> None:
    print(f"serving on {url}", flush=True)


class _Server(uvicorn.Server):
    announce: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.announce()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        wanted = f"an address to listen on ({error.strerror})"
        raise SettingError("serve.port", f"{host}:{port}", wanted) from None


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
