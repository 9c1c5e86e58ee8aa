"""Progressive validation: each event is judged by the prediction made before it was learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctr.errors import IncompatibleError, SettingError
from ctr.kernels import metrics as kernels

PARTS = 10
"""The window moves on by about this part of itself."""

_NO_WEIGHTS = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the predictions for some events were worth; NaN where the events do not say.

    ``events``: their number; everything else counts each with its weight. ``log_loss``: mean of
    -ln of the probability given to what happened (nats). ``base_log_loss``: that of always
    saying ``base_rate``, the share of clicks. ``normalized_entropy``: the one over the other (He
    et al. 2014, section 3). ``auc``: area under the ROC curve. ``predicted_clicks`` and
    ``observed_clicks``: sums of p and of labels; ``calibration``: the one over the other.
    """

    events: int
    log_loss: float
    base_log_loss: float
    normalized_entropy: float
    auc: float
    predicted_clicks: float
    observed_clicks: float
    calibration: float
    base_rate: float


class Progressive:
    """Figures since the start and over a window of the last ``window`` events.

    The window is a ring of parts of window // 10 events each: when a part is full the oldest is
    emptied for the next, so the figures are those of the last 90% to 100% of ``window`` events.
    Everything is a sum event by event: the figures do not depend on how the stream is cut up.

    p is clipped to [2^-24, 1 - 2^-24] (a float32 has nothing nearer to 1), so a log loss stays
    below 16.7. The AUC is that of p put into 4096 equal bins of the logit, 0.0081 wide: a click
    and a non-click in one bin count as a tie, so it is off by at most half the share of such
    pairs (0.0014 when logits have a standard deviation of 0.8), and by chance that is about
    a half of this over the root of the number of clicks.

    >>> progressive = Progressive(window=1000)
    >>> progressive.update([0.9, 0.2, 0.4], [1, 0, 1])
    >>> figures = progressive.total
    >>> figures.events, round(figures.log_loss, 4), figures.auc
    (3, 0.4149, 1.0)
    """

    def __init__(self, window: int) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise SettingError("metrics.window", window, "a whole number > 0")
        self._size = window
        self._part = max(1, window // PARTS)
        rows = 1 + window // self._part
        self._events = np.zeros(rows, np.int64)
        self._sums = np.zeros((rows, 4), np.float64)
        self._histograms = np.zeros((rows, 2, kernels.BINS), np.float64)

    def update(self, p: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Add N events: ``p`` and ``labels`` (0 or 1) and ``weights`` (> 0, None is 1), float32[N].

        Raises SettingError for lengths that do not fit.
        """
        p, labels = np.ascontiguousarray(p, np.float32), np.ascontiguousarray(labels, np.float32)
        given = _NO_WEIGHTS if weights is None else np.ascontiguousarray(weights, np.float32)
        if len(p) != len(labels) or (weights is not None and len(given) != len(p)):
            lengths = len(p), len(labels), len(given)
            raise SettingError("lengths of p, labels and weights", lengths, "the same")
        kernels.update(self._events, self._sums, self._histograms, self._part, p, labels, given)

    @property
    def total(self) -> Figures:
        """Figures of all events since the start."""
        row = kernels.TOTAL
        return _figures(int(self._events[row]), self._sums[row], self._histograms[row])

    @property
    def window(self) -> Figures:
        """Figures of the last events."""
        parts = slice(kernels.TOTAL + 1, None)
        return _figures(
            int(self._events[parts].sum()),
            self._sums[parts].sum(axis=0),
            self._histograms[parts].sum(axis=0),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that ``restore`` needs, as JSON and arrays (copies)."""
        arrays = {"events": self._events, "sums": self._sums, "histograms": self._histograms}
        return {"window": self._size}, {name: array.copy() for name, array in arrays.items()}

    def restore(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state()``; under another ``window`` the window starts empty.

        Raises IncompatibleError for histograms of another resolution.
        """
        if arrays["histograms"].shape[1:] != self._histograms.shape[1:]:
            raise IncompatibleError(
                f"the saved metrics have {arrays['histograms'].shape[-1]} bins, "
                f"these have {kernels.BINS}"
            )
        mine = {"events": self._events, "sums": self._sums, "histograms": self._histograms}
        same = meta["window"] == self._size
        for name, array in mine.items():
            array[:] = arrays[name] if same else 0
            array[kernels.TOTAL] = arrays[name][kernels.TOTAL]


def _figures(events: int, sums: NDArray[np.float64], histogram: NDArray[np.float64]) -> Figures:
    weight, loss, predicted, observed = (float(x) for x in sums)
    rate = _ratio(observed, weight)
    base = _entropy(rate)
    log_loss = _ratio(loss, weight)
    return Figures(
        events=events,
        log_loss=log_loss,
        base_log_loss=base,
        normalized_entropy=_ratio(log_loss, base),
        auc=float(kernels.auc(histogram)),
        predicted_clicks=predicted,
        observed_clicks=observed,
        calibration=_ratio(predicted, observed),
        base_rate=rate,
    )


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan


def _entropy(rate: float) -> float:
    if not 0 < rate < 1:
        return rate * 0.0
    return -rate * math.log(rate) - (1.0 - rate) * math.log1p(-rate)
