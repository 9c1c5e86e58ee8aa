"""Several processes that answer with one model: here it is kept up to date, and they running."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Callable
from time import monotonic, time

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry

from ctr.config import to_tree
from ctr.errors import CtrError
from ctr.kafka import Backoff
from ctr.model.shared import Memory, anonymous
from ctr.model.sparse import Allocate
from ctr.model.update import Follower
from ctr.observe import registry as registries
from ctr.observe.server import ServerMetrics
from ctr.observe.slots import Slots
from ctr.serve.following import Following
from ctr.serve.run import Parts, run
from ctr.serve.serving import DRAIN_SECONDS, Listening
from ctr.serve.sharing import Reader, Sharing
from ctr.settings import Config

STOP_SECONDS = DRAIN_SECONDS + 5.0
"""After which a worker that was asked to end is ended."""

STEADY_SECONDS = 60.0
"""A worker that ran so long is started again at once; others wait ever longer."""

log = logging.getLogger(__name__)


class WorkerError(CtrError):
    """A worker has ended before any could answer: starting it again would not help."""


class Passed(Struct, frozen=True, kw_only=True):
    """What a worker is started with: numbers of descriptors, and which of the workers it is."""

    config: int
    service: int
    admin: int | None
    board: int
    slots: int
    control: int
    news: int
    index: int
    workers: int
    log_level: int | None

    def descriptors(self) -> list[int]:
        always = [self.config, self.service, self.board, self.slots, self.control, self.news]
        return always if self.admin is None else [*always, self.admin]


class Workers:
    """Follows a model and has ``serve.workers`` processes answer with it, on one port.

    This process answers nobody. It makes the follower, by ``follow``, with memory that workers
    map; hands them the listening socket, so that a connection that waits is anybody's; and starts
    another one in the place of any that ends. Listens from its construction on; ``url`` is known
    then. Raises SettingError as ``PredictionServer`` does.
    """

    def __init__(
        self,
        config: Config,
        follow: Callable[[Allocate], Follower],
        clock: Callable[[], float] = time,
    ) -> None:
        name, settings = config.model.name, config.serve
        Parts(config, CollectorRegistry(), clock)  # what the workers could not make either
        memory = Memory()
        self._count = settings.workers
        self._slots = Slots(self._count + 1)
        registry = registries.shared("server", name, self._slots, 0)
        self._metrics = ServerMetrics(registry).model(name)
        self._metrics.workers(0)
        self._sharing = Sharing(name, settings.max_rows, self._metrics, memory)
        self._following = Following(follow(memory.allocate), self._sharing, clock)
        self._config = _written(json.dumps(to_tree(config)).encode())
        self._listening = Listening.of(settings)
        self.url, self.admin_url = self._listening.urls(settings)
        self._ready: set[int] = set()

    def run(self, announce: Callable[[str], None] = lambda _: None) -> None:
        """Serve until SIGTERM or SIGINT, then have the workers finish what they have begun.

        ``announce`` is called with the url when all workers answer. Raises WorkerError when one
        ends before that.
        """
        asyncio.run(self._run(announce))

    async def _run(self, announce: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        self._stopping, self._all_ready = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._following.start(loop)
        keeping = [asyncio.create_task(self._keep(k)) for k in range(1, self._count + 1)]
        announcing = asyncio.create_task(self._announce(announce))
        try:
            await asyncio.gather(*keeping)
        finally:
            # a failure of one is the end of all
            self._stop()
            await asyncio.gather(*keeping, announcing, return_exceptions=True)
            await loop.run_in_executor(None, self._following.stop)

    def _stop(self) -> None:
        """Have all end; new connections are refused from when no worker listens any more."""
        self._stopping.set()
        self._listening.close()

    async def _announce(self, announce: Callable[[str], None]) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in (self._all_ready, self._stopping)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        if self._all_ready.is_set():
            if self.admin_url != self.url:
                log.info("metrics and dashboard are on %s", self.admin_url)
            announce(self.url)

    async def _keep(self, index: int) -> None:
        """Have a worker in this place until the end."""
        backoff = Backoff(first=0.05, most=30.0)
        while True:
            started = monotonic()
            try:
                code = await self._one(index)
            except OSError:  # of a start that was interrupted by the end of all
                if not self._stopping.is_set():
                    raise
            if self._stopping.is_set():
                return
            what = f"killed by signal {-code}" if code < 0 else f"ended with {code}"
            if not self._all_ready.is_set():
                raise WorkerError(f"worker {index} {what} before all could answer")
            self._metrics.restarted()
            if monotonic() - started > STEADY_SECONDS:
                backoff.reset()
            pause = backoff.next()
            log.warning("worker %d %s; it is started again in %g s", index, what, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            if self._stopping.is_set():
                return

    async def _one(self, index: int) -> int:
        """Start a worker and wait for its end, which comes soon when all are to stop."""
        ours, theirs = socket.socketpair()
        news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        process = await self._started(index, theirs, news)
        reader = Reader(ours, news, process.kill)
        greeting = asyncio.create_task(self._greet(index, reader))
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            greeting.cancel()
            if not ended.done():
                reader.close()  # which asks it to end
                if not (await asyncio.wait([ended], timeout=STOP_SECONDS))[0]:
                    log.warning("worker %d does not end; it is killed", index)
                    process.kill()
            return await ended
        finally:
            stopped.cancel()
            self._sharing.remove(reader)
            reader.close()
            self._slots.release(index)
            self._ready.discard(index)
            self._metrics.workers(len(self._ready))

    async def _started(self, index: int, control: socket.socket, news: int) -> Process:
        level = logging.getLogger().getEffectiveLevel() if logging.getLogger().handlers else None
        admin = self._listening.admin
        passed = Passed(
            config=self._config,
            service=self._listening.service.fileno(),
            admin=None if admin is None else admin.fileno(),
            board=self._sharing.board.fd,
            slots=self._slots.fd,
            control=control.fileno(),
            news=news,
            index=index,
            workers=self._count,
            log_level=level,
        )
        # a fresh process: one that is forked would have the locks of this one's threads
        with control:
            return await create_subprocess_exec(
                sys.executable,
                *("-m", "ctr.serve.worker", msgspec.json.encode(passed).decode()),
                stdin=DEVNULL,
                pass_fds=passed.descriptors(),
            )

    async def _greet(self, index: int, reader: Reader) -> None:
        """Wait until a worker answers."""
        if await asyncio.get_running_loop().sock_recv(reader.control, 1):
            self._sharing.add(reader)
            self._ready.add(index)
            self._metrics.workers(len(self._ready))
            if len(self._ready) == self._count:
                self._all_ready.set()


def serve(
    config: Config,
    follow: Callable[[Allocate | None], Follower],
    announce: Callable[[str], None],
) -> None:
    """``run`` with what ``follow`` makes, in as many processes as ``serve.workers`` says.

    ``follow`` is given what allocates the memory of models, None for any.
    """
    if config.serve.workers > 1:
        Workers(config, follow).run(announce)
    else:
        run(config, follow(None), registries.make("server", config.model.name), announce)


def _written(content: bytes) -> int:
    """A descriptor of memory that holds ``content``."""
    fd = anonymous("ctr-config", len(content))
    os.pwrite(fd, content, 0)
    return fd
