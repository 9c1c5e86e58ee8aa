"""A directory that one process owns, and the epoch that tells its successive owners apart."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ctr.errors import FencedError, LockedError


class DirectoryLock:
    """A ``flock`` on the file ``lock`` in ``directory``, which must exist.

    The kernel frees it however the process ends, so nothing is ever stale. The file holds the
    last owner's epoch. Raises LockedError while another process has the lock, and OSError.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise LockedError(
                f"{directory} is in use by another process: two trainers of one model would undo "
                f"each other's work. Stop that one, or choose another model.name"
            ) from None

    def read_epoch(self) -> int:
        """The epoch of the last owner that noted one; 0 when there was none.

        Raises FencedError when the file is no longer the one that is locked: somebody removed
        the directory and another process may have made it anew.
        """
        with self._path.open("rb") as file:
            if not os.path.samestat(os.fstat(file.fileno()), os.fstat(self._descriptor)):
                raise FencedError(f"{self._path} has been replaced: another process may own it now")
            noted = file.read(32).strip()
        return int(noted) if noted.isdigit() else 0

    def write_epoch(self, epoch: int) -> None:
        """Note ``epoch`` durably."""
        # always the same bytes in place, so that it also works when the disk is full
        os.pwrite(self._descriptor, b"%08d\n" % epoch, 0)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Free the lock."""
        os.close(self._descriptor)
