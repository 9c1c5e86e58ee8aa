"""What is said about one version of a model: its place in the stream, how it was made, its sums."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from ctr.errors import DamagedFileError, IncompatibleError
from ctr.model.sparse import SparseModel
from ctr.settings import Features, Learner
from ctr.types import Position, Positions

FORMAT = 1
"""Of topic records and snapshots; a reader refuses a higher one."""


class Manifest(Struct, frozen=True, kw_only=True):
    """One version of a model. A trainer fills in the upper half, the writer the lower.

    ``event_time`` is the latest event's time and ``published`` the wall clock, in milliseconds
    since the epoch. ``positions`` are the source positions that the weights reflect, as
    ``{uri: [segment, offset]}``. ``metrics`` are numbers by name at that time (None: not known).
    ``sections`` is for what a reader may pass over, ``requires`` names what it must know.

    ``digest`` (16 hex digits) and ``nonzero`` are sums over all weights, see
    ``docs/model-format.md``. On a topic, ``blocks`` and ``ring`` are its layout, and ``whole``
    says that this version rewrote every block and has no delta.
    """

    version: int
    event_time: int = 0
    events_learned: int = 0
    model: str = ""
    positions: dict[str, list[str | int]] = field(default_factory=dict)
    spec: Features = field(default_factory=Features)
    learner: Learner = field(default_factory=Learner)
    encoding: str = "q2.13"
    seed: int = 0
    metrics: dict[str, float | None] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    requires: list[str] = field(default_factory=list)

    format: int = FORMAT
    session: str = ""
    published: int = 0
    nonzero: int = 0
    digest: str = "0" * 16
    blocks: int = 0
    ring: int = 0
    whole: bool = True

    @property
    def bits(self) -> int:
        return self.spec.bits

    def source_positions(self) -> Positions:
        return {uri: Position.from_json(value) for uri, value in self.positions.items()}

    def to_bytes(self) -> bytes:
        """As JSON. Numbers that are not finite become null."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """A manifest from JSON; fields that this version does not know are passed over.

        Raises DamagedFileError for what is no manifest, and IncompatibleError for one that this
        version must not follow: a later format, something required, a setting of features that it
        does not know (weights under other keys would be served).

        >>> Manifest.from_bytes(Manifest(version=7).to_bytes()).version
        7
        >>> Manifest.from_bytes(b'{"version": 7, "requires": ["experts"]}')
        Traceback (most recent call last):
        ctr.errors.IncompatibleError: version 7 requires 'experts', which this ctr does not know
        """
        try:
            basic = msgspec.json.decode(data, type=_Basic)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DamagedFileError(f"a manifest is damaged: {error}") from None
        if basic.format > FORMAT:
            raise IncompatibleError(
                f"version {basic.version} is of format {basic.format}; {FORMAT} is the last that "
                f"this ctr knows"
            )
        for name in basic.requires:
            raise IncompatibleError(
                f"version {basic.version} requires {name!r}, which this ctr does not know"
            )
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.ValidationError as error:
            raise IncompatibleError(
                f"version {basic.version} has settings this ctr does not know: {error}"
            ) from None

    def describing(self, model: SparseModel, **changes: Any) -> Manifest:
        """This manifest with the sums of ``model`` and other changes."""
        sums: dict[str, Any] = {"nonzero": model.nonzero, "digest": hex_digest(model.digest)}
        return msgspec.structs.replace(self, **(sums | changes))


class _Basic(Struct):
    """What decides whether the rest may be read."""

    version: int
    format: int = FORMAT
    requires: list[str] = field(default_factory=list)


def hex_digest(digest: int) -> str:
    """A digest as it stands in a manifest: 16 hex digits, as JSON numbers end at 2^53."""
    return f"{digest:016x}"
