"""The gate before publishing: a model that went bad is learned on, but not served."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ctr import settings
from ctr.kernels.gate import add_events
from ctr.model.gate import Order, Status
from ctr.types import Float32, Int64

_CHECKS = 8
"""A window is looked at this often for a collapsed event rate, before it is full."""

_TIMES = 1024
"""Event times of a window that are kept, evenly spaced, to tell how long it lasted."""

_LEAST_SECONDS = 1.0
"""A shorter window (replays, bulk loads) counts as this long when the next is compared to it."""


class Window(NamedTuple):
    """The figures of one full window; the clicks are weighted, a ratio to nothing is infinite."""

    events: int
    calibration: float
    normalized_entropy: float
    log_loss: float
    seconds: float


class Since(NamedTuple):
    """A place in the stream: after how many events, and at which event time (milliseconds)."""

    event: int
    time: int


class Gate:
    """Judges the progressive metrics of tumbling windows of ``window`` events.

    A window is good when calibration (predicted / observed clicks) is within its bounds,
    normalized entropy (log loss / entropy of the window's own click rate) is below its bound,
    and it did not last ``max_rate_drop`` times as long, in event time, as the one before. A bad
    window closes the gate, ``reopen_after`` good ones in a row open it; a rate that collapses
    closes it before its window is full. The first ``grace`` events belong to no window.

    Windows are counted in events: no split into batches changes anything. How long a window
    lasted is the span of the middle nine tenths of its event times, so a few wrong clocks do not
    matter. It judges also while ``enabled`` is false, but is open then.

    An operator's override lets models out whatever the gate says, until its time is up, it is
    restored, or the gate, having closed, opens by itself.

    >>> gate = Gate(settings.Gate(window=100, grace=0, max_normalized_entropy=2))
    >>> labels = np.tile(np.float32([0, 1]), 50)
    >>> gate.observe(np.full(100, 0.7, np.float32), labels, None, np.arange(100))
    >>> gate.open, gate.reason, gate.violated
    (False, 'calibration 1.4 is outside [0.8, 1.25] over 100 events', ('calibration',))
    """

    def __init__(self, settings: settings.Gate) -> None:
        self.settings = settings
        self.events = 0
        """Events seen, the grace included."""
        self.last: Window | None = None
        """The last full window."""
        self.violated: tuple[str, ...] = ()
        """The bounds that the last look broke: calibration, normalized_entropy, event_rate."""
        self.order: Order | None = None
        """The operator's last order that was obeyed."""
        self.overridden = False
        """Whether it is an override that stands."""
        self.since = Since(0, 0)
        """Where it last closed or opened by itself."""
        self._closed_by = ""
        self._good = 0
        self._stride = -(-settings.window // _TIMES)
        self._times = np.empty(-(-settings.window // self._stride), np.int64)
        self._new_window()

    @property
    def open(self) -> bool:
        """Whether the model may be published."""
        return self.overridden or not (self.settings.enabled and self._closed_by)

    @property
    def reason(self) -> str:
        """Why it is closed, as a sentence; empty when nothing is wrong."""
        if not self._closed_by:
            return ""
        if not self.settings.enabled:
            return f"disabled (gate.enabled = false); it would be closed: {self._closed_by}"
        before = "overridden; it would be closed: " if self.overridden else ""
        since = f"; good windows since: {self._good} of {self._needed}" if self._good else ""
        return f"{before}{self._closed_by}{since}"

    def observe(self, p: Float32, labels: Float32, weights: Float32 | None, times: Int64) -> None:
        """Take in events in their order; float32[N] each, ``times`` int64[N] milliseconds.

        ``p`` is each event's probability before it was learned; ``weights`` None means 1. The
        arrays are only read.
        """
        if weights is None:
            weights = np.ones(len(p), np.float32)
        start = min(len(p), max(0, self.settings.grace - self.events))
        while start < len(p):
            check = self._next_check()
            stop = min(len(p), start + check - self._seen)
            add_events(p, labels, weights, start, stop, self._sums)
            self._take_times(times[start:stop])
            self._seen += stop - start
            at = self.events + stop
            if self._seen == self.settings.window:
                self._end_window(at)
            elif self._seen == check and (slow := self._slow(self._seconds())):
                self._judge({"event_rate": slow}, at)
            start = stop
        self.events += len(p)

    def obey(self, order: Order | None, now: float) -> bool:
        """Do as an operator's last order says, at the Unix time ``now``; whether that changed
        anything. To be called again and again: an order counts once, and an override ends.
        """
        before = self.order, self.overridden
        if order is not None and (self.order is None or order.id != self.order.id):
            self.order, self.overridden = order, order.action == "override"
        if self.overridden and self.order and 1000 * now >= self.order.until:
            self.overridden = False
        return before != (self.order, self.overridden)

    def status(self) -> Status:
        """All of this in plain numbers, for whoever asks."""
        chosen, window = self.settings, self.last
        figures: dict[str, float | None] = {}
        least = None
        if window is not None:
            figures = {**window._asdict(), "event_rate": _rate(window)}
            least = chosen.window / (chosen.max_rate_drop * self._usual(window))
        return Status(
            open=self.open,
            enabled=chosen.enabled,
            overridden=self.overridden,
            reason=self.reason,
            violated=list(self.violated),
            since_event=self.since.event,
            since=self.since.time,
            events=self.events,
            window=chosen.window,
            figures=figures,
            bounds={
                "calibration": [chosen.min_calibration, chosen.max_calibration],
                "normalized_entropy": [None, chosen.max_normalized_entropy],
                "event_rate": [least, None],
            },
            good=min(self._good, self._needed),
            needed=self._needed,
            order=self.order,
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What ``restore`` needs to go on, as JSON and arrays; copies."""
        meta = {
            "window": self.settings.window,
            "events": self.events,
            "seen": self._seen,
            "good": self._good,
            "closed_by": self._closed_by,
            "violated": list(self.violated),
            "since": list(self.since),
            "order": msgspec.to_builtins(self.order),
            "overridden": self.overridden,
        }
        arrays = {
            "sums": self._sums.copy(),
            "times": self._times[: self._kept].copy(),
            "last": np.array(self.last or (), np.float64),
        }
        return meta, arrays

    def restore(self, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from ``state()``; with another ``window`` setting a new window begins."""
        self.events, self._good = meta["events"], meta["good"]
        self._closed_by, self.violated = meta["closed_by"], tuple(meta["violated"])
        # not in the first checkpoints
        self.since = Since(*meta.get("since", (0, 0)))
        self.order = msgspec.convert(meta.get("order"), Order | None)
        self.overridden = bool(meta.get("overridden"))
        self.last = None
        if len(arrays["last"]):
            events, *figures = arrays["last"].tolist()
            self.last = Window(int(events), *figures)
        self._new_window()
        if meta["window"] == self.settings.window:
            self._seen, self._sums = int(meta["seen"]), arrays["sums"].copy()
            self._times[: self._kept] = arrays["times"]

    @property
    def _needed(self) -> int:
        return self.settings.reopen_after

    @property
    def _kept(self) -> int:
        return -(-self._seen // self._stride)

    def _new_window(self) -> None:
        self._seen = 0
        self._sums = np.zeros(4)

    def _next_check(self) -> int:
        """The number of events of the window after which it is looked at next."""
        window = self.settings.window
        eighth = self._seen * _CHECKS // window + 1
        return -(-eighth * window // _CHECKS)

    def _take_times(self, times: Int64) -> None:
        kept, first = self._kept, -self._seen % self._stride
        taken = times[first :: self._stride]
        self._times[kept : kept + len(taken)] = taken

    def _middle(self) -> Int64:
        """The middle nine tenths of the window's event times so far, sorted."""
        # the same count is cut off while the window fills, so that this only ever grows: a window
        # that has lasted too long is known to be bad before it is full
        cut = len(self._times) // 20
        return np.sort(self._times[: self._kept])[cut : max(self._kept - cut, 0)]

    def _seconds(self) -> float:
        times = self._middle()
        return (int(times[-1]) - int(times[0])) / 1000 if len(times) else 0.0

    def _end_window(self, at: int) -> None:
        weight, clicks, predicted, loss = self._sums.tolist()
        entropy = _entropy(clicks / weight)
        window = Window(
            events=self._seen,
            calibration=predicted / clicks if clicks else math.inf,
            normalized_entropy=loss / weight / entropy if entropy else math.inf,
            log_loss=loss / weight,
            seconds=self._seconds(),
        )
        self._judge(self._faults(window), at)
        self.last = window
        self._new_window()

    def _judge(self, faults: dict[str, str], at: int) -> None:
        """Close or open, ``at`` that many events of the stream."""
        was_closed = bool(self._closed_by)
        self.violated = tuple(faults)
        self._good = 0 if faults else self._good + 1
        if faults:
            self._closed_by = f"{'; '.join(faults.values())} over {self._seen:,} events"
        if not faults and self._good >= self._needed:
            self._closed_by = ""
        if was_closed != bool(self._closed_by):
            times = self._middle()
            self.since = Since(at, int(times[-1]) if len(times) else 0)
            self.overridden &= not was_closed

    def _faults(self, window: Window) -> dict[str, str]:
        """The bounds that a full window breaks, each with what to say. NaN is never within."""
        low, high = self.settings.min_calibration, self.settings.max_calibration
        most = self.settings.max_normalized_entropy
        _, calibration, entropy, _, seconds = window
        faults = {}
        if not low <= calibration <= high:
            why = " (there is no click)" if calibration == math.inf else ""
            faults["calibration"] = f"calibration {calibration:.4g}{why} is outside [{low}, {high}]"
        if not entropy < most:
            faults["normalized_entropy"] = f"normalized entropy {entropy:.4g} is not below {most}"
        if slow := self._slow(seconds):
            faults["event_rate"] = slow
        return faults

    def _slow(self, seconds: float) -> str:
        """What to say when this window so far lasted too long; empty when it did not."""
        if self.last is None:
            return ""
        drop, before = self.settings.max_rate_drop, _rate(self.last)
        if seconds <= drop * self._usual(self.last):
            return ""
        rates = f"from {_round(before)} to {_round(self._seen / seconds)} a second"
        return f"event rate fell more than {drop:g}-fold, {rates},"

    def _usual(self, window: Window) -> float:
        """Seconds that a window lasts at the rate of this one."""
        return max(self.settings.window / _rate(window), _LEAST_SECONDS)


def _rate(window: Window) -> float:
    """Events a second."""
    return window.events / max(window.seconds, 0.001)


def _entropy(rate: float) -> float:
    """Log loss of predicting ``rate`` for events of which that share are clicks."""
    if not 0 < rate < 1:
        return 0.0
    return -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)


def _round(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
