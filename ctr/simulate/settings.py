"""The settings of the simulator."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ctr.errors import SettingError
from ctr.simulate.bad import KINDS

FIELDS = (
    "user",
    "segment",
    "country",
    "device",
    "browser",
    "session",
    "visits",
    "site",
    "page",
    "placement",
    "dwell",
    "ad",
    "campaign",
    "category",
    "price",
    "video",
    "tags",
    "new",
)
"""The names inside ``features``, in the order in which events have them."""

_BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "users": (1, 10**12),
    "ads": (1, 10**7),
    "sites": (1, 10**9),
    "bad_share": (0, 1),
    "drift": (0, 100),
    "new_ads_every": (0, 10**12),
    "label_delay_ms": (0, 10**9),
    "disorder_ms": (0, 10**9),
    "start_ts_ms": (10**12, 10**13 - 1),
    "events_per_second": (0.001, 10**9),
    "max_features": (1, 65_536),
    "max_event_bytes": (64, 2**28),
}


@dataclass(frozen=True)
class SimulatorSettings:
    """What stream the simulator makes; times are milliseconds, counts are events.

    Raises SettingError when a value is out of bounds.

    >>> SimulatorSettings(base_rate=2)
    Traceback (most recent call last):
    ctr.errors.SettingError: simulate.base_rate must be in (0, 1); got 2
    """

    seed: int = 1
    """The same seed and settings are the same stream, byte for byte."""
    users: int = 1_000_000
    """Users, of power-law popularity: most are seen once or never."""
    ads: int = 1_000
    """Ads running at one time."""
    sites: int = 2_000
    """Sites, each with 100,000 pages."""
    base_rate: float = 0.1
    """Share of clicks at the start, averaged over a day."""
    bad_share: float = 0.0
    """Share of events that are bad, in the ways of ``bad_kinds``."""
    bad_kinds: tuple[str, ...] = KINDS
    """Which bad events; see ``ctr.simulate.bad``."""
    drift: float = 0.2
    """How far a true weight walks in a million events, in its own standard deviations."""
    new_ads_every: int = 20_000
    """A new ad takes the place of an old one every so many events; 0: never."""
    label_delay_ms: float = 30_000.0
    """Mean time from an impression (``ts``) until its label is known and the event is sent."""
    disorder_ms: float = 2_000.0
    """Events of different partitions are out of time order by up to this."""
    vanish_after: int | None = None
    """From this event on, ``vanish_field`` is missing from the features."""
    vanish_field: str = "site"
    """The feature that vanishes; it still has its true effect, only nobody is told."""
    start_ts_ms: int = 1_700_000_000_000
    """Time at which the first event is sent."""
    events_per_second: float = 100.0
    """Pace of the events' own time (how fast they are made is another matter)."""
    max_features: int = 1024
    """The reader's limit, which ``too_many_features`` goes over."""
    max_event_bytes: int = 1_048_576
    """The reader's limit, which ``too_long`` goes over."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "int":
                self._check(field.name, type(getattr(self, field.name)) is int, "a whole number")
        for name, (low, high) in _BOUNDS.items():
            self._check(name, low <= getattr(self, name) <= high, f"in [{low}, {high}]")
        self._check("base_rate", 0 < self.base_rate < 1, "in (0, 1)")
        known = len(self.bad_kinds) > 0 and set(self.bad_kinds) <= set(KINDS)
        self._check("bad_kinds", known, f"some of {', '.join(KINDS)}")
        self._check("vanish_after", self.vanish_after is None or self.vanish_after >= 0, ">= 0")
        self._check("vanish_field", self.vanish_field in FIELDS, f"one of {', '.join(FIELDS)}")

    def _check(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise SettingError(f"simulate.{name}", getattr(self, name), wanted)
