"""The server: what answers, what watches and what follows, put together from the settings."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from time import time

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from ctr.model.update import Follower
from ctr.observe.server import ServerMetrics
from ctr.serve import prediction_log, shadow, tls
from ctr.serve.app import AdminApplication, Application, Background
from ctr.serve.following import Following
from ctr.serve.hosted import Hosted
from ctr.serve.keys import Keys
from ctr.serve.protocol import protocol
from ctr.serve.serving import BACKLOG, DRAIN_SECONDS, Listening, Others, Server
from ctr.serve.watching import Watcher
from ctr.settings import Config

KEEP_ALIVE_SECONDS = 75

log = logging.getLogger(__name__)


class Parts:
    """What a process answers with, but for the model and what brings it. Raises SettingError.

    ``registry`` gets the metrics; ``clock`` is Unix time.
    """

    def __init__(
        self, config: Config, registry: CollectorRegistry, clock: Callable[[], float] = time
    ) -> None:
        self.settings, self.registry, self.clock = config.serve, registry, clock
        self.metrics = ServerMetrics(registry)
        made = [make(config, registry, clock) for make in (shadow.make, prediction_log.make)]
        self.watchers: list[Watcher] = [one for one in made if one is not None]
        self._secure = tls.context(self.settings)
        self._keys = Keys.of(self.settings, self.metrics, "predictions")
        self._admin_keys = Keys.of(self.settings, self.metrics, "admin")

    def serve(
        self,
        hosted: Hosted,
        background: Background,
        listening: Listening,
        others: Others | None = None,
    ) -> Server:
        """A server of ``hosted``; with ``others`` (processes), they listen there too."""
        settings, keys = self.settings, self._keys
        app = Application([hosted], [background], self.registry, settings, self.clock, keys)
        traffic = self.metrics.traffic("predictions")
        config = _uvicorn(app, protocol(app.endpoints, keys, settings, traffic), self._secure)
        admin = None
        if listening.admin is not None:
            own_keys = self._admin_keys
            pages = AdminApplication([hosted], self.registry, settings, self.clock, own_keys)
            own = protocol({}, own_keys, settings, self.metrics.traffic("admin"))
            admin = Server(_uvicorn(pages, own, None), listening.admin, others and _anybody)
        return Server(config, listening.service, others, admin, settings.request_seconds)

    def watching(self) -> ExitStack:
        """Within it the watchers watch."""
        stack = ExitStack()
        for watcher in self.watchers:
            watcher.start()
            stack.callback(watcher.stop)
        return stack


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
        name, settings = config.model.name, config.serve
        self._parts = parts = Parts(config, registry, clock)
        metrics = parts.metrics.model(name)
        self.hosted = Hosted(name, settings.max_rows, metrics, parts.watchers)
        following = Following(follower, self.hosted, clock)
        listening = Listening.of(settings)
        self.url, self.admin_url = listening.urls(settings)
        self.port: int = listening.service.getsockname()[1]
        self._server = parts.serve(self.hosted, following, listening)

    def run(self, announce: Callable[[str], None] = lambda _: None) -> None:
        """Serve until ``stop`` or SIGTERM or SIGINT, then finish what was begun.

        ``announce`` is called with the url when requests are answered.
        """
        if self.admin_url != self.url:
            log.info("metrics and dashboard are on %s", self.admin_url)
        self._server.announce = lambda: announce(self.url)
        with self._parts.watching():
            self._server.run()

    def stop(self) -> None:
        """Ask for the end, from any thread: no new connections, open requests are answered."""
        self._server.stop()


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


def _anybody(connections: int) -> bool:
    """Of the few connections to the admin address it does not matter who takes them."""
    return False


def _print(url: str) -> None:
    print(f"serving on {url}", flush=True)


def _uvicorn(
    app: ASGIApp, http: type[asyncio.Protocol], secure: ssl.SSLContext | None
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=http,
        ws="none",
        lifespan="on",
        log_config=None,
        # it tells of every step of every start, of every worker
        log_level=None if log.isEnabledFor(logging.DEBUG) else logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ssl_context_factory=None if secure is None else lambda config, default: secure,
    )
