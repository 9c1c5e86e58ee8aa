"""A real server in a thread, and a model to serve that a test makes up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.sparse import SparseModel
from ctr.model.update import Follower, Update
from ctr.observe import registry as registries
from ctr.serve.run import PredictionServer
from ctr.settings import Config, Features, Serve

BITS = 10
SPEC = Features(bits=BITS, crosses=[["user", "ad"]])


class Feed:
    """A follower in memory: hands out what a test puts in, as the other followers do."""

    def __init__(self) -> None:
        self.errors, self.last_error, self.newest = 0, "", -1
        self.closed = False
        self._waiting: queue.Queue[Update | Exception] = queue.Queue()
        self._last: Update | None = None

    def put(self, item: Update | Exception) -> None:
        """An update, or an error for ``poll`` to raise."""
        self._waiting.put(item)

    def poll(self, timeout: float) -> Update | None:
        assert self._last is None or self._last.committed, "the update before was not committed"
        try:
            item = self._waiting.get(timeout=min(timeout, 0.05))
        except queue.Empty:
            return None
        if isinstance(item, Exception):
            raise item
        self._last = item
        return item

    def close(self) -> None:
        self.closed = True


def random_model(spec: Features = SPEC, seed: int = 0, density: float = 0.5) -> SparseModel:
    """Weights of every size at a share of the coordinates."""
    draw = np.random.default_rng(seed)
    pages = (1 << spec.bits) // 64
    weights = draw.normal(0, 1.5, (pages, 64)) * (draw.random((pages, 64)) < density)
    model = SparseModel(spec.bits)
    model.apply(np.arange(pages), weights.astype(np.float32))
    return model


def manifest(version: int, spec: Features = SPEC) -> Manifest:
    return Manifest(version=version, event_time=1_700_000_000_000 + version, spec=spec)


def whole(version: int, model: SparseModel, spec: Features = SPEC) -> Update:
    return Update(manifest(version, spec), model)


def uniform(weight: float, bits: int = BITS) -> Pages:
    """The content of a table in which every weight is the same."""
    pages = (1 << bits) // 64
    return Pages.from_dense(np.arange(pages), np.full((pages, 64), weight, np.float32))


@dataclass
class Running:
    """A server that runs in a thread; ``http`` is a client of it."""

    server: PredictionServer
    http: httpx.Client
    registry: CollectorRegistry
    thread: threading.Thread

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port

    def predict(self, body: Any) -> httpx.Response:
        return self.http.post("/v1/predict", json=body)

    def version(self) -> int | None:
        served = self.server.hosted.served
        return served.version if served else None

    def wait_for_version(self, version: int, seconds: float = 120) -> None:
        self.wait(lambda: self.version() == version, seconds)

    def wait(self, good: Callable[[], bool], seconds: float = 120) -> None:
        pause = threading.Event()
        for _ in range(int(seconds / 0.01)):
            if good():
                return
            pause.wait(0.01)
        raise AssertionError(f"waited {seconds} s in vain")

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"model": "clicks", **labels})


@contextmanager
def running(
    follower: Follower, serve: Serve | None = None, config: Config | None = None
) -> Iterator[Running]:
    """A server on a free port that follows ``follower``; ``config`` has the other settings."""
    settings = msgspec.structs.replace(serve or Serve(), host="127.0.0.1", port=0)
    config = msgspec.structs.replace(config or Config(), serve=settings)
    registry = registries.make("server", config.model.name)
    server = PredictionServer(config, follower, registry)
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(lambda _: ready.set(),))
    thread.start()
    try:
        assert ready.wait(60)
        with httpx.Client(base_url=server.url, timeout=30) as http:
            yield Running(server, http, registry, thread)
    finally:
        server.stop()
        thread.join(60)
    assert not thread.is_alive()
