"""What a trainer says of its gate, and what an operator says to it: plain data, as JSON.

On a model topic both are records of a kind that followers pass over, ``gate`` and ``override``;
beside a directory of snapshots they are files. ``docs/model-format.md`` specifies them.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from ctr.errors import DamagedFileError
from ctr.model.manifest import Manifest
from ctr.model.records import GATE, OVERRIDE, Key, Record

Milliseconds = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
"""Since the epoch, until the year 9999: what any clock can show."""

SECTION = "gate"
"""The manifest's section with the status of the gate that let the version out."""


class Order(Struct, frozen=True):
    """An operator's order: ``override`` the gate until a time, or ``restore`` it.

    ``time`` and ``until`` are milliseconds since the epoch; ``id`` tells orders apart.
    """

    action: Literal["override", "restore"]
    id: str
    time: Milliseconds = 0
    until: Milliseconds = 0
    reason: str = ""
    by: str = ""

    @classmethod
    def override(cls, now: float, seconds: float, reason: str = "", by: str = "") -> Order:
        """Let models out for so many seconds from ``now`` (Unix time), whatever the gate says."""
        time, until = int(1000 * now), int(1000 * (now + seconds))
        return cls("override", uuid.uuid4().hex, time, until, reason, by)

    @classmethod
    def restore(cls, now: float, reason: str = "", by: str = "") -> Order:
        """Let the gate decide again."""
        return cls("restore", uuid.uuid4().hex, int(1000 * now), 0, reason, by)


class Status(Struct, frozen=True, kw_only=True):
    """The gate's state, and what it judges by.

    ``open``: models are let out now, because nothing is wrong, the gate is not ``enabled`` or an
    order has ``overridden`` it. ``since_event`` and ``since`` (event time, milliseconds) are
    where in the stream it closed or opened last by its own judgement, 0 when it never did.
    ``events`` were seen in all. ``figures`` are those of the last full ``window``, ``bounds`` the
    least and the most that those of the next may be; ``violated`` names what the last look found
    outside. ``good`` windows in a row have been seen, and ``needed`` open it. ``order`` is the
    operator's last that was obeyed. ``time`` (wall clock, milliseconds) is when this was said.
    """

    open: bool
    enabled: bool = True
    overridden: bool = False
    reason: str = ""
    violated: list[str] = field(default_factory=list)
    since_event: int = 0
    since: int = 0
    events: int = 0
    window: int = 0
    figures: dict[str, float | None] = field(default_factory=dict)
    bounds: dict[str, list[float | None]] = field(default_factory=dict)
    good: int = 0
    needed: int = 0
    order: Order | None = None
    time: Milliseconds = 0


def order_record(order: Order) -> Record:
    return Key(OVERRIDE).to_bytes(), msgspec.json.encode(order)


def status_record(status: Status) -> Record:
    return Key(GATE).to_bytes(), msgspec.json.encode(status)


def order_from(data: bytes) -> Order:
    """An order from JSON. Raises DamagedFileError."""
    order: Order = _from(data, Order)
    return order


def status_from(data: bytes) -> Status:
    """A status from JSON. Raises DamagedFileError."""
    status: Status = _from(data, Status)
    return status


def status_in(manifest: Manifest | None) -> Status | None:
    """The status that a manifest carries; None when there is none that can be read."""
    section = manifest.sections.get(SECTION) if manifest else None
    try:
        return None if section is None else msgspec.convert(section, Status)
    except msgspec.ValidationError:
        return None


def later(*said: Status | None) -> Status | None:
    """What was said last."""
    return max((status for status in said if status), key=lambda s: s.time, default=None)


def _from(data: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"the gate's {kind.__name__.lower()} is damaged: {error}") from None
