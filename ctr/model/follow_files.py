"""Following snapshots: the newest of a directory, or one file that is replaced now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from ctr.errors import DamagedFileError, IncompatibleError, ModelTopicError
from ctr.model.snapshot import SnapshotStore, Stored, read
from ctr.model.sparse import Allocate
from ctr.model.update import Update

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1


class _Polling:
    """Looks again and again until there is an update or the time is up.

    ``allocate`` is as for ``SparseModel``.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        allocate: Allocate | None,
    ) -> None:
        self.errors = 0
        self.last_error = ""
        self.newest = -1
        self._clock, self._sleep, self._allocate = clock, sleep, allocate

    def poll(self, timeout: float) -> Update | None:
        """See ``Follower.poll``."""
        deadline = self._clock() + timeout
        while True:
            update = self._look()
            left = deadline - self._clock()
            if update is not None or left <= 0:
                return update
            self._sleep(min(_LOOK_SECONDS, left))

    def close(self) -> None:
        """There is nothing to close."""

    def _look(self) -> Update | None:
        raise NotImplementedError

    def _read(self, path: Path, held: bool = False) -> Update | None:
        try:
            manifest, model = read(path, self._allocate)
        except IncompatibleError as error:
            self._fault(str(error))
            raise ModelTopicError(str(error)) from error
        except (DamagedFileError, OSError) as error:
            self._fault(str(error))
            return None
        self.last_error = ""
        return Update(manifest, model, held=held)

    def _fault(self, what: str) -> None:
        """Count and say what is wrong, once as long as it stays the same."""
        if what == self.last_error:
            return
        self.errors += 1
        self.last_error = what
        _log.warning("%s", what)


class DirectoryFollower(_Polling):
    """Versions from a directory of snapshots; a ``Follower``.

    Serves the newest one that is whole, or the one that is held. A damaged one is said once, and
    the one before it is taken.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        allocate: Allocate | None = None,
    ) -> None:
        super().__init__(clock, sleep, allocate)
        self._store = SnapshotStore(directory)
        self._served: tuple[Path, bool] | None = None
        self._bad: set[Path] = set()

    def _look(self) -> Update | None:
        there = self._store.stored()
        self.newest = there[-1].version if there else -1
        self._bad &= {stored.path for stored in there}
        held = self._held(there)
        for stored in reversed(there):
            wanted = held is None or stored.version == held
            if not wanted or stored.path in self._bad:
                continue
            if self._served == (stored.path, held is not None):
                return None
            self._bad.add(stored.path)
            update = self._read(stored.path, held is not None)
            if update is not None:
                self._bad.discard(stored.path)
                self._served = (stored.path, held is not None)
                return update
        return None

    def _held(self, there: list[Stored]) -> int | None:
        """The version held, or None; what cannot be read holds nothing."""
        try:
            held = self._store.held()
        except (DamagedFileError, OSError) as error:
            self._fault(str(error))
            return None
        if held is not None and all(stored.version != held for stored in there):
            self._fault(f"version {held} is held, but not in {self._store.directory}")
        return held


class FileFollower(_Polling):
    """The version in one snapshot file; a ``Follower``. Read again whenever it is replaced."""

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        allocate: Allocate | None = None,
    ) -> None:
        super().__init__(clock, sleep, allocate)
        self.path = Path(path)
        self._seen: tuple[int, ...] | None = None

    def _look(self) -> Update | None:
        try:
            stat = self.path.stat()
        except OSError as error:
            self._fault(str(error))
            self._seen = None
            return None
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen == self._seen:
            return None
        self._seen = seen
        update = self._read(self.path)
        if update is not None:
            self.newest = update.manifest.version
        return update
