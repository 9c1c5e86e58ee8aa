"""Whether the brokers answer, told once when that changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Health:
    """Keeps ``healthy`` and counts ``outages`` of what ``name`` is read from.

    Silence counts after ``patience`` seconds, for connections come and go.

    >>> now = 0.0
    >>> health = Health("events", clock=lambda: now)
    >>> health.notice(False); now = 0.9; health.notice(False); health.healthy
    True
    >>> now = 1.1; health.notice(False); health.healthy, health.outages
    (False, 1)
    >>> health.notice(True); health.healthy
    True
    """

    def __init__(
        self, name: str, patience: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.patience, self._clock = name, patience, clock
        self.healthy, self.outages = True, 0
        self._silent_since: float | None = None

    def notice(self, answers: bool) -> None:
        """Whether it answers now."""
        now = self._clock()
        if answers:
            self._silent_since = None
            if not self.healthy:
                self.healthy = True
                _log.info("%s: the brokers answer again", self.name)
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > self.patience:
            self.failed("a broker does not answer")

    def failed(self, why: str) -> None:
        """It certainly does not work now."""
        if self.healthy:
            self.healthy = False
            self.outages += 1
            _log.warning("%s: %s; trying until it comes back", self.name, why)
