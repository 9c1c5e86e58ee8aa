"""Time zones as arrays: from which second on which offset holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from ctr.errors import SettingError
from ctr.types import Int64

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=8)
def zone_offsets(name: str) -> tuple[Int64, Int64]:
    """``(starts, offsets)`` in seconds, 1970 to 2100: ``offsets[i]`` holds from ``starts[i]`` on.

    Raises SettingError for a zone that nobody knows.

    >>> starts, offsets = zone_offsets("Europe/Paris")
    >>> int(offsets[0]), sorted(set(offsets.tolist()))
    (3600, [3600, 7200])
    """
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingError("features.time_zone", name, "a zone such as Europe/Paris") from None
    starts, offsets = [int(_FIRST.timestamp())], [_offset(zone, _FIRST)]
    day = timedelta(days=1)
    at = _FIRST
    while at < _LAST and name != "UTC":
        if _offset(zone, at + day) != offsets[-1]:
            change = _change(zone, at, at + day)
            starts.append(int(change.timestamp()))
            offsets.append(_offset(zone, change))
        at += day
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def _offset(zone: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second in (before, after] that has another offset than ``before``."""
    old = _offset(zone, before)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after
