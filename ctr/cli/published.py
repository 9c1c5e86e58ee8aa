"""Where a model is published, as an operator sees it: what stands there, and orders given there."""

from __future__ import annotations

import contextlib
import getpass
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ctr.cli.options import KAFKA, read_config

if TYPE_CHECKING:
    from ctr.model.control_files import Note
    from ctr.model.gate import Order, Status
    from ctr.model.manifest import Manifest
    from ctr.settings import Config

PLACE = ("model.name", *KAFKA, "publish.topic", "publish.directory")
"""The settings that say where a model is published, as a command's options."""


class Published(NamedTuple):
    """The newest version, the hold if one stands, the gate, and the last order about it."""

    live: Manifest | None
    hold: Note | None
    gate: Status | None
    order: Order | None


class Place(Protocol):
    """``where`` says it in words. All methods raise CtrError; ``look`` comes first."""

    where: str

    def look(self) -> Published: ...

    def hold(self, version: int, reason: str, by: str) -> None: ...

    def release(self, reason: str, by: str) -> None: ...

    def order(self, given: Order) -> None: ...

    def close(self) -> None: ...


def read_place(
    config_file: str | None, assignments: tuple[str, ...], options: dict[str, Any]
) -> Config:
    """The configuration; a ``--directory`` is where the model is published, as for a server."""
    if options.get("publish__directory"):
        options["publish__to"] = "directory"
    return read_config(config_file, assignments, options)


def place_of(config: Config) -> Place:
    """The place that ``publish.to`` names."""
    from ctr.errors import SettingError

    if config.publish.to == "none":
        raise SettingError("publish.to", "none", "'kafka' or 'directory'")
    return TopicPlace(config) if config.publish.to == "kafka" else DirectoryPlace(config)


def operator() -> str:
    """Who gives an order: user@host."""
    user = "unknown"
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may have no users
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


class TopicPlace:
    """A model topic; versions to hold are taken from the directory of snapshots."""

    def __init__(self, config: Config) -> None:
        from ctr.model import standing
        from ctr.model.snapshot import SnapshotStore

        self._kafka, self._topic = config.kafka, config.path(config.publish.topic)
        self._store = SnapshotStore(config.path(config.publish.directory))
        self._standing = standing.Standing(self._kafka, self._topic)
        self.where = f"the topic {self._topic} of {self._kafka.bootstrap_servers}"

    def look(self) -> Published:
        from ctr.errors import ModelTopicError, SourceError
        from ctr.kafka import reachable
        from ctr.model.control_files import Note
        from ctr.model.gate import later, status_in
        from ctr.model.manifest import Manifest

        if not reachable(self._kafka):
            raise SourceError(f"cannot reach {self._kafka.bootstrap_servers}")
        found = self._standing
        if not found.read():
            raise ModelTopicError(f"the end of {self._topic} was not reached in time")
        live = Manifest.from_bytes(found.manifest) if found.manifest else None
        hold, control = None, found.control
        if control is not None and control.action == "hold" and control.manifest is not None:
            version = control.manifest.version
            hold = Note("hold", version, control.time, control.reason, control.by)
        return Published(live, hold, later(status_in(live), found.status), found.order)

    def hold(self, version: int, reason: str, by: str) -> None:
        from ctr.model import control

        snapshot = self._store.read(version)
        control.hold(self._kafka, self._topic, *snapshot, reason=reason, by=by)

    def release(self, reason: str, by: str) -> None:
        from ctr.model import control

        held = sorted(self._standing.held)
        control.release(self._kafka, self._topic, reason=reason, by=by, held=held)

    def order(self, given: Order) -> None:
        from ctr.model import control

        self.look()  # a broker or topic that is not there is said at once
        control.order(self._kafka, self._topic, given)

    def close(self) -> None:
        self._standing.close()


class DirectoryPlace:
    """A directory of snapshots that servers follow."""

    def __init__(self, config: Config) -> None:
        from ctr.model.control_files import ControlFiles
        from ctr.model.snapshot import SnapshotStore

        self._store = SnapshotStore(config.path(config.publish.directory))
        self._control = ControlFiles(self._store)
        self.where = f"the directory {self._store.directory}"

    def look(self) -> Published:
        from ctr.errors import SettingError
        from ctr.model.gate import later, status_in

        if not self._store.directory.is_dir():
            got = str(self._store.directory)
            raise SettingError("publish.directory", got, "a directory that a trainer publishes to")
        live = self._newest()
        status = later(status_in(live), self._control.status())
        return Published(live, self._control.held(), status, self._control.order())

    def hold(self, version: int, reason: str, by: str) -> None:
        self._control.hold(version, reason, by)

    def release(self, reason: str, by: str) -> None:
        self._control.release(reason, by)

    def order(self, given: Order) -> None:
        self._control.give(given)

    def close(self) -> None:
        pass

    def _newest(self) -> Manifest | None:
        """The newest version that can be read, as followers serve it."""
        from ctr.errors import CtrError
        from ctr.model.snapshot import describe

        for stored in reversed(self._store.stored()):
            with contextlib.suppress(CtrError, OSError):
                return describe(stored.path)
        return None
