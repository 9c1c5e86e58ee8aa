"""A version of a model as one file, and a directory of them: the version store."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctr import files
from ctr.errors import DamagedFileError, SettingError
from ctr.model.encoding import decode_parts, encode
from ctr.model.manifest import Manifest
from ctr.model.sparse import Allocate, SparseModel
from ctr.model.update import check

MAGIC = b"CTRMODL1"
SUFFIX = ".model"
HOLD = "hold"
"""A file of this name in the directory holds the number of the version that is to be served."""

_PAGES = "pages"
_PART = 1 << 18
"""Pages that are decoded at a time."""

_NAME = re.compile(r"(\d{12,20})-(\d{13,20})\.model")
_HOUR, _DAY = 3_600_000, 86_400_000


class Snapshot(NamedTuple):
    """What a snapshot file holds."""

    manifest: Manifest
    model: SparseModel


class Stored(NamedTuple):
    """A snapshot in a directory, by its name alone: newer ones compare greater."""

    version: int
    published: int
    path: Path


def write(path: Path, manifest: Manifest, model: SparseModel) -> int:
    """Write ``model`` to ``path`` atomically; returns the file's bytes.

    The manifest's sums are filled in. Raises OSError (a full disk), and then leaves nothing.
    """
    complete = manifest.describing(model)
    encoded = encode(model.pages(), manifest.encoding, manifest.version)
    sections = {_PAGES: np.frombuffer(encoded, np.uint8)}
    return files.write(path, MAGIC, json.loads(complete.to_bytes()), sections)


def read(path: Path, allocate: Allocate | None = None) -> Snapshot:
    """Read and check a snapshot; ``allocate`` is as for ``SparseModel``.

    The file is mapped and read a part at a time: beside the model there is little in memory.
    Raises DamagedFileError, IncompatibleError (written by a later version of ctr) and OSError.
    """
    meta, sections = files.parse(_mapped(path), MAGIC, frozenset({_PAGES}), str(path))
    manifest = Manifest.from_bytes(json.dumps(meta).encode())
    if _PAGES not in sections:
        raise DamagedFileError(f"{path} is damaged: it holds no weights")
    data = np.ascontiguousarray(sections[_PAGES].reshape(-1)).view(np.uint8).data
    model = SparseModel(manifest.bits, allocate)
    try:
        header, parts = decode_parts(data, model.page_count, _PART)
        model.reserve(header.entries, wide=manifest.encoding == "float32")
        for part in parts:
            model.patch(part)
        check(manifest, model.nonzero, model.digest)
    except DamagedFileError as error:
        raise DamagedFileError(f"{path}: {error}") from None
    return Snapshot(manifest, model)


def _mapped(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, read when they are looked at."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # no system maps nothing
            return np.empty(0, np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def describe(path: Path) -> Manifest:
    """The manifest of a snapshot, quickly: the weights are neither read nor checked.

    Raises as ``read`` does.
    """
    return Manifest.from_bytes(json.dumps(files.read_meta(path, MAGIC)).encode())


def find(path: str | Path, key: str = "MODEL") -> Path:
    """The snapshot that a user means by ``path``: that file, or the newest in that directory.

    Raises SettingError, which calls it ``key``, when there is none.
    """
    path = Path(path)
    if path.is_dir():
        latest = SnapshotStore(path).latest()
        if latest is None:
            raise SettingError(key, str(path), "a directory with snapshots in it")
        return latest.path
    if not path.is_file():
        raise SettingError(key, str(path), "a snapshot file or a directory of them")
    return path


class SnapshotStore:
    """Snapshots in a directory, never changed once written, named by version and time.

    ``hold`` asks everybody who follows the directory to serve one of them, until ``release``.

    >>> from tempfile import TemporaryDirectory
    >>> from ctr.settings import Features
    >>> with TemporaryDirectory() as directory:
    ...     store = SnapshotStore(directory, clock=lambda: 1.7e9)
    ...     manifest = Manifest(version=7, spec=Features(bits=8))
    ...     store.write(manifest, SparseModel(bits=8)).name
    ...     store.read(7).manifest.published
    '000000000007-1700000000000.model'
    1700000000000
    """

    def __init__(self, directory: str | Path, clock: Callable[[], float] = time.time) -> None:
        self.directory = Path(directory)
        self._clock = clock

    def write(self, manifest: Manifest, model: SparseModel) -> Path:
        """Add a version; a manifest that was not published yet gets the time now."""
        self.directory.mkdir(parents=True, exist_ok=True)
        published = manifest.published or int(1000 * self._clock())
        path = self.directory / f"{manifest.version:012d}-{published:013d}{SUFFIX}"
        write(path, manifest.describing(model, published=published), model)
        return path

    def stored(self) -> list[Stored]:
        """What is there, the oldest first; empty when there is no directory."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self.directory.iterdir():
                if match := _NAME.fullmatch(path.name):
                    found.append(Stored(int(match[1]), int(match[2]), path))
        return sorted(found)

    def latest(self) -> Stored | None:
        """The newest one by name, whole or not."""
        return max(self.stored(), default=None)

    def read(self, version: int) -> Snapshot:
        """The snapshot of a version. Raises what ``read`` of the module does, SettingError when
        there is none of that version.
        """
        found = [stored for stored in self.stored() if stored.version == version]
        if not found:
            there = ", ".join(str(stored.version) for stored in self.stored()) or "none"
            raise SettingError("version", version, f"one stored in {self.directory}: {there}")
        return read(found[-1].path)

    def retain(self, last: int = 5, hourly: int = 24, daily: int = 7) -> list[Path]:
        """Remove all but the ``last`` ones, and the newest one of each of so many hours and days.

        Hours and days are counted back from now, in UTC. A held version stays, and so do files
        that are not snapshots; what a crash left half written goes after an hour. Returns what
        was removed.
        """
        there = self.stored()
        now = int(1000 * self._clock())
        kept = set(there[max(0, len(there) - last) :])
        for period, count in ((_HOUR, hourly), (_DAY, daily)):
            first = now // period - count + 1
            newest = {s.published // period: s for s in there}
            kept |= {s for tick, s in newest.items() if tick >= first}
        held = self.held()
        unwanted = [s.path for s in there if s not in kept and s.version != held]
        unwanted += self._abandoned(now)
        for path in unwanted:
            path.unlink(missing_ok=True)
        return unwanted

    def hold(self, version: int) -> None:
        """Ask followers for ``version``. Raises as ``read`` does: it must be there and whole."""
        self.read(version)
        temporary = self.directory / files.temporary_name(HOLD)
        temporary.write_text(f"{version}\n")
        temporary.replace(self.directory / HOLD)
        files.sync_directory(self.directory)

    def release(self) -> None:
        """Let followers go to the newest version again."""
        (self.directory / HOLD).unlink(missing_ok=True)

    def held(self) -> int | None:
        """The version that is held. Raises DamagedFileError when that cannot be told."""
        try:
            text = (self.directory / HOLD).read_text().strip()
        except FileNotFoundError:
            return None
        if not re.fullmatch(r"\d{1,20}", text):
            raise DamagedFileError(f"{self.directory / HOLD} must hold a version; it has {text!r}")
        return int(text)

    def _abandoned(self, now: int) -> Iterable[Path]:
        for path in self.directory.glob(f".*{SUFFIX}.*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if now - 1000 * path.stat().st_mtime > _HOUR:
                    yield path
