"""Checkpoints: learner state, metrics, offsets and unacknowledged dead letters in one file.

``docs/checkpoint-format.md`` specifies the file. One process owns a directory: it holds a
``flock``, which dies with it, and writes under an epoch that is higher than any before it.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr import files
from ctr.errors import DamagedFileError, FencedError, IncompatibleError, SettingError
from ctr.stream.dead_letters import Letter
from ctr.train.lock import DirectoryLock
from ctr.types import Position, Positions

MAGIC = b"CTRCKPT1"
_LETTERS = "letters"
_NAME = re.compile(r"checkpoint-(\d+)-(\d+)\.ctr")
_log = logging.getLogger(__name__)

Part = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""What ``state()`` of a learner or metric returns: JSON meta and named arrays."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a trainer needs to go on as if it had never stopped.

    ``positions`` are the ones that ``parts`` reflect: every event before them is learned,
    dead-lettered, or among ``letters``. ``settings`` are the writer's, passwords masked.
    ``started_from`` names the checkpoint file that somebody asked this line of training to start
    from (empty: none was asked for).
    """

    parts: dict[str, Part]
    positions: Positions
    letters: list[Letter]
    settings: dict[str, Any]
    created_ms: int
    epoch: int
    sequence: int
    started_from: str
    path: Path


class CheckpointStore:
    """The checkpoints of one model in ``directory``, of which this process is the only writer.

    ``keep`` is how many are kept, ``clock`` the time in seconds since the epoch. Making one takes
    the directory's lock, removes what a crash left behind and raises the epoch. Raises
    LockedError while another process has the directory, and OSError.

    ``save`` may be called from another thread; all else belongs to the one that made the store.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name, CheckpointStore(Path(name)) as store:
    ...     state = {"learner": ({"events": 7}, {"z": np.zeros(2)})}
    ...     path = store.save(state, {"kafka:events/0": Position("", 7)})
    ...     store.load().parts["learner"]
    ({'events': 7}, {'z': array([0., 0.])})
    """

    def __init__(
        self, directory: Path, keep: int = 3, clock: Callable[[], float] = time.time
    ) -> None:
        self.directory, self.keep, self.clock = Path(directory), keep, clock
        self.damaged: list[str] = []
        """Checkpoints that the last ``load`` could not read, each with its reason."""
        self.sequence = 0
        self.started_from = ""
        self._saving = threading.Lock()
        self.directory.mkdir(parents=True, exist_ok=True)
        files.sync_directory(self.directory.parent)
        self._lock = DirectoryLock(self.directory)
        try:
            self.epoch = self._highest_epoch() + 1
            self._lock.write_epoch(self.epoch)
            for leftover in self.directory.glob(".checkpoint-*.tmp"):
                leftover.unlink(missing_ok=True)
        except BaseException:
            self.close()
            raise

    def load(self, named: str = "", known: Collection[str] | None = None) -> Checkpoint | None:
        """The newest readable checkpoint; None when the directory has none at all.

        A damaged one is logged, listed in ``damaged``, and the one before it is used. ``named``
        is a file to start from instead, unless the newest one says that training started from
        that file already: then this is a restart and goes on from the newest. ``known`` names
        the parts that the caller can restore (None: all).

        Raises DamagedFileError when there are checkpoints and none is readable, or when the
        named one is not; SettingError when it does not exist; IncompatibleError for one that a
        later version wrote.
        """
        self.damaged = []
        if not named:
            checkpoint = self._newest(known, (DamagedFileError, OSError))
            if checkpoint is None and self.damaged:
                raise DamagedFileError(
                    f"{self.directory} has checkpoints and none of them can be read: "
                    f"{'; '.join(self.damaged)}. To start afresh, move them away"
                )
        else:
            checkpoint = self._newest(known, (DamagedFileError, OSError, IncompatibleError))
            if checkpoint is None or checkpoint.started_from != Path(named).name:
                checkpoint = read(self._find(named), known)
                checkpoint = replace(checkpoint, started_from=Path(named).name)
        self.started_from = checkpoint.started_from if checkpoint else ""
        return checkpoint

    def save(
        self,
        parts: Mapping[str, Part],
        positions: Positions,
        letters: Iterable[Letter] = (),
        settings: Mapping[str, Any] | None = None,
        optional: Collection[str] = (),
    ) -> Path:
        """Write a checkpoint durably, then remove those past the last ``keep``; returns its path.

        The arrays must not change meanwhile. ``optional`` names the parts that a version which
        does not know them may pass over. Raises FencedError when another writer has raised the
        epoch, and OSError (a full disk): then nothing changed, and saving may be tried again.
        """
        meta, sections = _compose(parts, positions, list(letters), optional)
        passable = frozenset(key for key in sections if key.split("/")[0] in optional)
        with self._saving:
            self._refuse_if_fenced()
            self.sequence += 1
            meta |= {
                "epoch": self.epoch,
                "sequence": self.sequence,
                "created_ms": int(self.clock() * 1000),
                "started_from": self.started_from,
                "settings": dict(settings or {}),
            }
            path = self.directory / f"checkpoint-{self.epoch:08}-{self.sequence:08}.ctr"
            files.write(path, MAGIC, meta, sections, passable)
            self._refuse_if_fenced()
            self._remove_old()
        return path

    def paths(self) -> list[Path]:
        """The checkpoint files, the newest first."""
        named = [path for path in self.directory.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(named, key=_numbers, reverse=True)

    def close(self) -> None:
        """Wait for a ``save`` under way and give the directory up; the files stay."""
        with self._saving:
            self._lock.close()

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _newest(
        self, known: Collection[str] | None, excused: tuple[type[Exception], ...]
    ) -> Checkpoint | None:
        for path in self.paths():
            try:
                return read(path, known)
            except excused as error:
                _log.warning("checkpoint passed over: %s", error)
                self.damaged.append(str(error))
        return None

    def _find(self, named: str) -> Path:
        for path in (Path(named), self.directory / named):
            if path.is_file():
                return path
        raise SettingError("checkpoint.load", named, f"a file, here or in {self.directory}")

    def _highest_epoch(self) -> int:
        # the lock file has it too: an owner may die before its first checkpoint
        return max([self._lock.read_epoch(), *(_numbers(path)[0] for path in self.paths())])

    def _refuse_if_fenced(self) -> None:
        highest = self._highest_epoch()
        if highest > self.epoch:
            raise FencedError(
                f"{self.directory} has been taken over: its epoch is {highest} and this "
                f"process has {self.epoch}"
            )

    def _remove_old(self) -> None:
        for path in self.paths()[self.keep :]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("old checkpoint not removed: %s", error)


def read(path: Path, known: Collection[str] | None = None) -> Checkpoint:
    """The checkpoint in one file, without any lock: to look at, or to start from.

    Raises as ``CheckpointStore.load`` does for a named one, and OSError.
    """
    meta, sections = files.read(path, MAGIC)
    try:
        return _checkpoint(path, meta, sections, known)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged: not a checkpoint's content ({error})") from None


def _compose(
    parts: Mapping[str, Part],
    positions: Positions,
    letters: list[Letter],
    optional: Collection[str],
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The file's meta and sections: array ``z`` of the part ``learner`` is ``learner/z``."""
    if any("/" in name for name in parts):
        raise ValueError(f"the name of a part has no '/': {list(parts)}")
    meta = {
        "positions": {source: position.to_json() for source, position in positions.items()},
        "letters": [[source, reason, len(value)] for source, reason, value in letters],
        "parts": {
            name: {"meta": part_meta, "required": name not in optional}
            for name, (part_meta, _) in parts.items()
        },
    }
    sections = {
        f"{name}/{key}": array
        for name, (_, arrays) in parts.items()
        for key, array in arrays.items()
    }
    sections[_LETTERS] = np.frombuffer(b"".join(value for *_, value in letters), np.uint8)
    return meta, sections


def _checkpoint(
    path: Path,
    meta: dict[str, Any],
    sections: dict[str, NDArray[Any]],
    known: Collection[str] | None,
) -> Checkpoint:
    content = sections.pop(_LETTERS).tobytes()
    ends = list(accumulate(size for *_, size in meta["letters"]))
    parts: dict[str, Part] = {}
    for name, part in meta["parts"].items():
        if known is None or name in known:
            prefix = f"{name}/"
            own = {k.removeprefix(prefix): a for k, a in sections.items() if k.startswith(prefix)}
            parts[name] = part["meta"], own
        elif part["required"]:
            raise IncompatibleError(
                f"{path} has the part {name!r}, which this version does not know; "
                f"it was written by a later version of ctr"
            )
    return Checkpoint(
        parts=parts,
        positions={source: Position.from_json(at) for source, at in meta["positions"].items()},
        letters=[
            Letter(source, reason, content[end - size : end])
            for (source, reason, size), end in zip(meta["letters"], ends, strict=True)
        ],
        settings=meta["settings"],
        created_ms=meta["created_ms"],
        epoch=meta["epoch"],
        sequence=meta["sequence"],
        started_from=meta["started_from"],
        path=path,
    )


def _numbers(path: Path) -> tuple[int, int]:
    epoch, sequence = path.stem.split("-")[1:]
    return int(epoch), int(sequence)
