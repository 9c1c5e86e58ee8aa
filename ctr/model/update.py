"""A verified version on its way from a follower to whoever serves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ctr.errors import DamagedFileError
from ctr.model.manifest import Manifest, hex_digest
from ctr.model.sparse import SparseModel, Staged


@dataclass(slots=True)
class Update:
    """A version, checked and ready to be served.

    ``held``: an operator's ``hold`` asks for it. ``whole``: it comes as a new model; else the
    model served so far is changed in place. Nothing that is served changes before ``commit``.
    """

    manifest: Manifest
    model: SparseModel = field(repr=False)
    staged: Staged | None = field(default=None, repr=False)
    held: bool = False
    committed: bool = False

    @property
    def whole(self) -> bool:
        return self.staged is None

    def commit(self) -> SparseModel:
        """Make this the version that is served; returns its model. Well under a millisecond.

        To be called by the thread that scores, between two calls of ``score``, and before the
        next ``poll`` of the follower that made the update.
        """
        if self.staged is not None and not self.committed:
            self.model.commit(self.staged)
        self.committed = True
        return self.model


class Follower(Protocol):
    """Where versions come from. Used by one thread.

    ``poll`` waits up to ``timeout`` seconds and returns the newest version, if it is another than
    the last one returned; None when there is none. Faults (a broker that is away, a damaged file)
    make it return None, count in ``errors`` and are said by ``last_error``: the version served so
    far stays. Raises ModelTopicError when there is a version that this ctr must not serve.

    ``newest`` is the highest version known to be published, served or not; -1 when none is.
    """

    @property
    def errors(self) -> int: ...

    @property
    def last_error(self) -> str: ...

    @property
    def newest(self) -> int: ...

    def poll(self, timeout: float) -> Update | None: ...

    def close(self) -> None: ...


def check(manifest: Manifest, nonzero: int, digest: int) -> None:
    """Raise DamagedFileError unless the weights are those that the manifest describes."""
    if (nonzero, hex_digest(digest)) != (manifest.nonzero, manifest.digest):
        raise DamagedFileError(
            f"version {manifest.version} should have {manifest.nonzero} weights with the digest "
            f"{manifest.digest}; assembled were {nonzero} with {hex_digest(digest)}"
        )
