"""Times and durations as a person reads and writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ctr.errors import SettingError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST = 30 * 86_400


def utc(milliseconds: int) -> str:
    """Milliseconds since the epoch as a date and time.

    >>> utc(1_700_000_000_000), utc(10**18)
    ('2023-11-14 22:13:20 UTC', '1000000000000000000 ms')
    """
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # no year that a calendar has
        return f"{milliseconds} ms"


def ago(milliseconds: int, now: float) -> str:
    """How long a time is past at ``now`` (Unix time).

    >>> ago(1_700_000_000_000, 1_700_000_090), ago(1_700_000_000_000, 1_700_090_000)
    ('90 s ago', '25 h ago')
    """
    seconds = max(0.0, now - milliseconds / 1000)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def seconds_of(text: str, key: str) -> float:
    """A duration such as ``90s``, ``15m``, ``2h`` or ``1d``. Raises SettingError, naming ``key``.

    >>> seconds_of("1.5h", "--for")
    5400.0
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _MOST:
        raise SettingError(key, text, "a duration up to 30d, as 90s, 15m, 2h or 1d")
    return seconds
