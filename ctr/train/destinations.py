"""Where a trainer publishes to, and hears its operator: a model topic or a directory."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from ctr.errors import FencedError
from ctr.model.control_files import ControlFiles
from ctr.model.gate import Order, Status, status_record
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore
from ctr.settings import Config, Publish

_log = logging.getLogger(__name__)

_READ_SECONDS = 2.0


class Destination(Protocol):
    """Where versions of a model go. All but ``close`` may fail for a while (OSError,
    ModelTopicError and their kin) or for good (FencedError, SettingError)."""

    def claim(self, after: int) -> None:
        """Become the only writer; versions go on after ``after`` at least."""
        ...

    def publish(self, manifest: Manifest, image: Image) -> tuple[int, int]:
        """Publish whole or not at all; returns the version and the bytes written."""
        ...

    def say(self, status: Status) -> None:
        """Say how the gate is, between two versions."""
        ...

    def order(self) -> Order | None:
        """The operator's last order about the gate; None when there is none, or not known yet."""
        ...

    def close(self) -> None: ...


class TopicDestination:
    """The model topic, and snapshots beside it from time to time."""

    def __init__(self, config: Config, session: str, snapshots: SnapshotStore) -> None:
        # only what is used is imported: an embedded start is faster
        from ctr.model.standing import Standing
        from ctr.model.topic import TopicWriter

        topic = config.path(config.publish.topic)
        self._kafka = config.kafka
        self._writer = TopicWriter(config.kafka, topic, session)
        self._standing = Standing(config.kafka, topic)
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

    def say(self, status: Status) -> None:
        self._writer.say(status_record(status))

    def order(self) -> Order | None:
        # before the end is reached a later order may follow
        at_end = self._standing.read(_READ_SECONDS, self._writer.offsets)
        return self._standing.order if at_end else None

    def close(self) -> None:
        self._writer.close()
        self._standing.close()
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
        self._control = ControlFiles(snapshots)

    def claim(self, after: int) -> None:
        latest = self._snapshots.latest()
        self._version = max(after, latest.version if latest else 0)

    def publish(self, manifest: Manifest, image: Image) -> tuple[int, int]:
        self._version += 1
        complete = manifest.describing(image.model, version=self._version)
        return self._version, _write_snapshot(self._snapshots, self._settings, complete, image)

    def say(self, status: Status) -> None:
        self._snapshots.directory.mkdir(parents=True, exist_ok=True)
        self._control.say(status)

    def order(self) -> Order | None:
        return self._control.order()

    def close(self) -> None:
        pass


def _write_snapshot(
    snapshots: SnapshotStore, settings: Publish, manifest: Manifest, image: Image
) -> int:
    """Add a snapshot, remove those past their time; returns its bytes."""
    size = snapshots.write(manifest, image.model).stat().st_size
    snapshots.retain(settings.keep, settings.keep_hourly, settings.keep_daily)
    return size
