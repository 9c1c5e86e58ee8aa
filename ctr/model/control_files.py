"""An operator's orders beside a directory of snapshots, and the trainer's words: small files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from ctr import files
from ctr.errors import DamagedFileError, SettingError
from ctr.model.gate import Order, Status, order_from, status_from
from ctr.model.snapshot import SnapshotStore

NOTE, STATUS, ORDER = "hold.json", "gate.json", "override.json"
"""Why a version is held or was released; the gate's status; the last order about the gate."""


class Note(Struct, frozen=True):
    """Who held or released which version, when (milliseconds since the epoch), and why."""

    action: str
    version: int
    time: int = 0
    reason: str = ""
    by: str = ""


class ControlFiles:
    """The files beside the snapshots of ``store``, each replaced atomically.

    What is damaged is as if it were not there, but for an order, which somebody waits for.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     control = ControlFiles(SnapshotStore(directory))
    ...     control.give(Order.override(1.7e9, 3600, "a campaign"))
    ...     control.order().reason
    'a campaign'
    """

    def __init__(self, store: SnapshotStore, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock

    def hold(self, version: int, reason: str = "", by: str = "") -> None:
        """Ask followers for ``version``. Raises as ``SnapshotStore.read`` does."""
        self._store.read(version)
        self._note(Note("hold", version, int(1000 * self._clock()), reason, by))
        self._store.hold(version)

    def release(self, reason: str = "", by: str = "") -> None:
        """Let followers go to the newest version again."""
        with contextlib.suppress(DamagedFileError):
            if (held := self.held()) is not None:
                self._note(Note("release", held.version, int(1000 * self._clock()), reason, by))
        self._store.release()

    def held(self) -> Note | None:
        """The version that is held, with why as far as that is known.

        Raises DamagedFileError when it cannot be told.
        """
        version = self._store.held()
        if version is None:
            return None
        try:
            note = msgspec.json.decode(self._path(NOTE).read_bytes(), type=Note)
            if (note.action, note.version) == ("hold", version):
                return note
        except (OSError, msgspec.DecodeError):
            pass  # written by hand
        return Note("hold", version)

    def give(self, order: Order) -> None:
        """Give the trainer an order about its gate."""
        self._replace(ORDER, msgspec.json.encode(order))

    def order(self) -> Order | None:
        """The last order about the gate. Raises DamagedFileError, OSError."""
        data = self._read(ORDER)
        return None if data is None else order_from(data)

    def say(self, status: Status) -> None:
        """Say how the gate is."""
        self._replace(STATUS, msgspec.json.encode(status))

    def status(self) -> Status | None:
        """What the trainer said last of its gate."""
        with contextlib.suppress(DamagedFileError):
            data = self._read(STATUS)
            return None if data is None else status_from(data)
        return None

    def _note(self, note: Note) -> None:
        self._replace(NOTE, msgspec.json.encode(note))

    def _path(self, name: str) -> Path:
        return self._store.directory / name

    def _read(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def _replace(self, name: str, data: bytes) -> None:
        directory = self._store.directory
        if not directory.is_dir():
            raise SettingError("publish.directory", str(directory), "a directory that is there")
        temporary = directory / files.temporary_name(name)
        temporary.write_bytes(data + b"\n")
        temporary.replace(directory / name)
        files.sync_directory(directory)
