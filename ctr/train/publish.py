"""Publishing beside learning: to the model topic in transactions, to snapshots in a directory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ctr.errors import CtrError, FencedError, SettingError
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore
from ctr.observe.trainer import TrainerMetrics
from ctr.settings import Config, Publish
from ctr.train.lane import Lane
from ctr.train.state import State

_log = logging.getLogger(__name__)
_SHARE = 5
"""Publishing takes at most one part in this many of the time."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_CLAIMS = 5


class Destination(Protocol):
    """Where versions of a model go. ``claim`` and ``publish`` may fail for a while (OSError,
    ModelTopicError and their kin) or for good (FencedError, SettingError)."""

    def claim(self, after: int) -> None:
        """Become the only writer; versions go on after ``after`` at least."""
        ...

    def publish(self, manifest: Manifest, image: Image) -> tuple[int, int]:
        """Publish whole or not at all; returns the version and the bytes written."""
        ...

    def close(self) -> None: ...


class TopicDestination:
    """The model topic, and snapshots beside it from time to time."""

    def __init__(self, config: Config, session: str, snapshots: SnapshotStore) -> None:
        # only what is used is imported: an embedded start is faster
        from ctr.model.topic import TopicWriter

        self._kafka = config.kafka
        self._writer = TopicWriter(config.kafka, config.path(config.publish.topic), session)
        self._snapshots, self._settings = snapshots, config.publish
        self._last_snapshot = float("-inf")
        self._unsaved: tuple[Manifest, Image] | None = None

    def claim(self, after: int) -> None:
        from ctr.kafka import reachable

        # a client would look for the broker for a while, and hear of no signal meanwhile
        if not reachable(self._kafka):
            raise OSError(f"cannot reach {self._kafka.bootstrap_servers}")
        self._writer.claim(after)

    def publish(self, manifest: Manifest, image: Image) -> tuple[int, int]:
        try:
            published = self._writer.publish(manifest, image)
        except FencedError:
            self._unsaved = None  # the model is another writer's now
            raise
        self._unsaved = (published.manifest, image)
        if time.monotonic() - self._last_snapshot >= self._settings.snapshot_seconds:
            self._save()
        return published.manifest.version, published.bytes

    def close(self) -> None:
        self._writer.close()
        try:
            self._save()  # the last version, whenever the snapshot before it was
        except OSError as error:
            _log.warning("the last version has no snapshot: %s", error)

    def _save(self) -> None:
        if self._unsaved is not None:
            self._last_snapshot = time.monotonic()
            _write_snapshot(self._snapshots, self._settings, *self._unsaved)
            self._unsaved = None


class DirectoryDestination:
    """Snapshots in a directory that servers follow."""

    def __init__(self, config: Config, snapshots: SnapshotStore) -> None:
        self._snapshots, self._settings, self._version = snapshots, config.publish, 0

    def claim(self, after: int) -> None:
        latest = self._snapshots.latest()
        self._version = max(after, latest.version if latest else 0)

    def publish(self, manifest: Manifest, image: Image) -> tuple[int, int]:
        self._version += 1
        complete = manifest.describing(image.model, version=self._version)
        return self._version, _write_snapshot(self._snapshots, self._settings, complete, image)

    def close(self) -> None:
        pass


def _write_snapshot(
    snapshots: SnapshotStore, settings: Publish, manifest: Manifest, image: Image
) -> int:
    """Add a snapshot, remove those past their time; returns its bytes."""
    size = snapshots.write(manifest, image.model).stat().st_size
    snapshots.retain(settings.keep, settings.keep_hourly, settings.keep_daily)
    return size


class Publisher:
    """Publishes a state's weights, at most every ``interval_seconds`` and a fifth of the time.

    One call of ``publish`` copies what changed since the last and returns; the rest is done on
    the publisher's own thread. What fails is counted and tried again, with everything that
    changed meanwhile; FencedError comes out of ``check``.
    """

    def __init__(
        self, config: Config, state: State, destination: Destination, metrics: TrainerMetrics
    ) -> None:
        self._config, self._state, self._metrics = config, state, metrics
        self._destination = destination
        self._image = Image(
            config.features.bits, config.publish.encoding, config.model.seed, exact=(0,)
        )
        self._lane = Lane("ctr-publish")
        self._next, self._pause = 0.0, _FIRST_PAUSE
        self._first, self._claimed = True, False
        self.version = state.version

    def claim(self, stop: threading.Event) -> bool:
        """Become the only writer, however long the broker is away; False when ``stop`` was set."""
        fenced = 0
        while not stop.is_set():
            try:
                self._destination.claim(self._state.version)
                self._claimed = True
                return True
            except SettingError:
                raise
            except FencedError:
                # the writer before us may take its producer back until it sees our claim
                fenced += 1
                if fenced == _CLAIMS:
                    raise
            except (OSError, CtrError) as error:
                self._failed(error)
                stop.wait(self._pause)
        return False

    def due(self) -> bool:
        return time.monotonic() >= self._next and not self._lane.busy

    def publish(self) -> None:
        """Copy what changed and publish it beside the learning. Only when ``due``."""
        learner, state = self._state.learner, self._state
        pages = learner.take_changed_pages()
        if self._first:
            pages = learner.touched_pages()
            self._first = False
        weights = learner.page_weights(pages)
        window = state.progressive.window
        manifest = Manifest(
            version=0,
            model=self._config.model.name,
            event_time=state.event_time,
            events_learned=learner.events_learned,
            positions={uri: at.to_json() for uri, at in state.positions.items()},
            spec=self._config.features,
            learner=self._config.learner,
            encoding=self._config.publish.encoding,
            seed=self._config.model.seed,
            metrics={
                "log_loss": window.log_loss,
                "normalized_entropy": window.normalized_entropy,
                "auc": window.auc,
                "calibration": window.calibration,
            },
        )

        def job() -> None:
            self._image.update(pages, weights)
            self._write(manifest)

        self._lane.start(job)

    def finish(self, timeout: float) -> bool:
        """Publish what is left, for at most ``timeout`` seconds; whether it worked."""
        deadline = time.monotonic() + timeout
        if not self._claimed or not self._lane.wait(timeout):
            return False
        before = self.version
        self.publish()
        self._lane.wait(max(0.0, deadline - time.monotonic()))
        return self.version > before

    def check(self) -> None:
        """Raise what cannot get better by trying again."""
        self._lane.check()

    def close(self) -> None:
        self._destination.close()

    def _write(self, manifest: Manifest) -> None:
        started = time.monotonic()
        try:
            self.version, size = self._destination.publish(manifest, self._image)
        except (FencedError, SettingError):
            raise
        except Exception as error:  # a broker can fail in any way; the image keeps all changes
            self._failed(error)
            self._next = time.monotonic() + self._pause
            return
        seconds = time.monotonic() - started
        self._pause = _FIRST_PAUSE
        wait = max(self._config.publish.interval_seconds, _SHARE * seconds)
        self._next = started + wait
        self._metrics.published(self.version, time.time(), seconds, size)

    def _failed(self, error: Exception) -> None:
        self._metrics.failed("publish")
        _log.warning("not published, trying again in %.1f s: %s", self._pause, error)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def make_publisher(
    config: Config,
    state: State,
    session: str,
    metrics: TrainerMetrics,
    clock: Callable[[], float] = time.time,
) -> Publisher | None:
    """The publisher that ``config.publish`` asks for; None for ``to = "none"``."""
    if config.publish.to == "none":
        return None
    snapshots = SnapshotStore(config.path(config.publish.directory), clock=clock)
    destination: Destination = DirectoryDestination(config, snapshots)
    if config.publish.to == "kafka":
        destination = TopicDestination(config, session, snapshots)
    return Publisher(config, state, destination, metrics)
