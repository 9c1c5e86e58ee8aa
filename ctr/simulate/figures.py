"""What can be known about a simulated stream: how well any model could do on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import log

import numpy as np
from numpy.typing import NDArray

from ctr.types import Float64


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a stretch of the stream; the difference of two is the stretch between them.

    >>> early = Totals(events=2, clicks=1, entropy=1.2, loss=1.3)
    >>> (Totals(events=10, clicks=2, entropy=4.4, loss=4.0) - early).best_log_loss
    0.4
    """

    events: int = 0
    """Good events."""
    bad: int = 0
    clicks: int = 0
    entropy: float = 0.0
    """Sum of the entropies of the true probabilities, in nats."""
    loss: float = 0.0
    """Sum of -log of the true probability of what happened, in nats."""

    @classmethod
    def of(cls, p: Float64, labels: NDArray[np.int8]) -> Totals:
        """Of events with true probabilities ``p`` (NaN for bad events) and ``labels``."""
        good = ~np.isnan(p)
        p, clicked = p[good], labels[good] == 1
        yes, no = -np.log(p), -np.log1p(-p)
        return cls(
            events=len(p),
            bad=len(good) - len(p),
            clicks=int(clicked.sum()),
            entropy=float((p * yes + (1 - p) * no).sum()),
            loss=float(np.where(clicked, yes, no).sum()),
        )

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def base_rate(self) -> float:
        """Observed share of clicks; NaN before the first event."""
        return self.clicks / self.events if self.events else float("nan")

    @property
    def base_log_loss(self) -> float:
        """Log loss of the best constant prediction, which is the base rate."""
        p = self.base_rate
        return 0.0 if p in (0.0, 1.0) else -p * log(p) - (1 - p) * log(1 - p)

    @property
    def best_log_loss(self) -> float:
        """Expected log loss of the true probabilities: no model is better in the long run."""
        return self.entropy / self.events if self.events else float("nan")

    @property
    def realized_log_loss(self) -> float:
        """Log loss of the true probabilities on the labels that were drawn.

        It has the same chance in it as the log loss of a model on these events.
        """
        return self.loss / self.events if self.events else float("nan")

    def figures(self) -> dict[str, float | int | None]:
        """All of it, fit for JSON: None for what no event has yet given a value."""
        names = ("base_rate", "base_log_loss", "best_log_loss", "realized_log_loss")
        known = {name: getattr(self, name) if self.events else None for name in names}
        return {"events": self.events, "bad": self.bad, "clicks": self.clicks, **known}
