"""In which share of the recent events each feature occurs: where a vanished field shows."""

from __future__ import annotations

from collections.abc import Mapping

WINDOW = 10_000
"""Events after which a share is computed anew."""


class RecentCoverage:
    """Shares over the last complete window of at least ``window`` events, from growing totals.

    Totals since the beginning would hide a field that vanished after a billion events.

    >>> recent = RecentCoverage(window=100)
    >>> recent.ratios({"user": 100, "ad": 50}, events=100)
    {'user': 1.0, 'ad': 0.5}
    >>> recent.ratios({"user": 120, "ad": 70}, events=150)      # the window is not full yet
    {'user': 1.0, 'ad': 0.5}
    >>> recent.ratios({"user": 200, "ad": 50, "site": 30}, events=200)
    {'user': 1.0, 'ad': 0.0, 'site': 0.3}
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._events = 0
        self._totals: dict[str, int] = {}
        self._ratios: dict[str, float] = {}

    def ratios(self, totals: Mapping[str, int], events: int) -> dict[str, float]:
        """Share by name; until the first window is full, of all events so far."""
        since = events - self._events
        complete = since >= self._window
        if since > 0 and (complete or self._events == 0):
            before = self._totals
            self._ratios = {
                name: (count - before.get(name, 0)) / since for name, count in totals.items()
            }
        if complete:
            self._events, self._totals = events, dict(totals)
        return self._ratios
