"""Plain-Python twins of the learners and their schedules, in 64 bits, written from the papers.

A dictionary of cells for the table, and nothing kept that can be found again. Each twin's ``step``
is the learner; ``Learner`` around it is what they share: the gradient, the rate, the penalties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.naive import Event, Feature, coordinate, log_loss, logistic

Schedule = tuple[object, ...]
"""A schedule's name and its numbers, as ``("power", r, c)``; see ``rate`` and ``Performance``."""

Update = tuple[float, float, float]
"""g, the weight that it was found at, and d after the update."""


def sign(x: float) -> float:
    return float((x > 0) - (x < 0))


def rate(schedule: Schedule, alpha: float, t: int) -> float:
    """alpha(t) of ``("constant",)``, ``("power", r, c)``, ``("exponential", r)`` or
    ``("piecewise", (t, share), ...)``."""
    name, *numbers = schedule
    share = 1.0
    if name == "power":
        r, c = numbers
        share = (1 + t / r) ** -c
    elif name == "exponential":
        (r,) = numbers
        share = 10 ** (-t / r)
    elif name == "piecewise":
        for start, value in numbers:
            share = value if t >= start else share
    return max(alpha * share, alpha * 1e-6)


class Performance:
    """``("performance", window, factor, tolerance)``: a smaller share of alpha after every window
    of events whose mean log loss did not fall below the best one's."""

    def __init__(self, window: int, factor: float, tolerance: float = 0.0) -> None:
        self.window, self.factor, self.tolerance = window, factor, tolerance
        self.share, self.best = 1.0, math.inf
        self.losses: list[tuple[float, float]] = []
        self.closest = math.inf
        """How near, as a share, a window came to being judged the other way."""

    def saw(self, p: float, label: int, weight: float) -> None:
        self.losses.append((log_loss(p, label) * weight, weight))
        if len(self.losses) < self.window:
            return
        mean = sum(loss for loss, _ in self.losses) / sum(weight for _, weight in self.losses)
        self.losses = []
        if self.best < math.inf:
            bar = self.best * (1 - self.tolerance)
            self.closest = min(self.closest, abs(mean - bar) / self.best)
            if mean > bar:
                self.share = max(self.share * self.factor, 1e-6)
        self.best = min(self.best, mean)


@dataclass(slots=True)
class Cell:
    """What any learner keeps of one coordinate. ``clicks`` and ``others`` are P and N."""

    w: float = 0.0
    z: float = 0.0
    v: float = 0.0
    n: float = 0.0
    d: float = 0.0
    clicks: float = 0.0
    others: float = 0.0
    occurrences: int = 0


class Learner:
    """What the learners share; the settings are those of the configuration."""

    def __init__(
        self,
        bits: int,
        alpha: float = 0.1,
        beta: float = 1.0,
        l1: float = 1.0,
        l2: float = 1.0,
        power: float = 0.5,
        schedule: Schedule = ("constant",),
        unpenalised: Iterable[int] = (),
        rates: str = "per-coordinate",
        n: str = "squares",
    ) -> None:
        self.bits, self.alpha, self.beta, self.power = bits, alpha, beta, power
        self.l1, self.l2, self.schedule = l1, l2, schedule
        self.unpenalised = set(unpenalised)
        self.rates, self.n = rates, n
        self.t = 0
        self.performance = Performance(*schedule[1:]) if schedule[0] == "performance" else None
        self.cells: dict[int, Cell] = {}

    def step(self, cell: Cell, g: float, d: float, l1: float, l2: float) -> None:
        """Change the cell's weight; ``cell.d`` is still that of the update before."""
        raise NotImplementedError

    def weight(self, c: int) -> float:
        return self.cells[c].w if c in self.cells else 0.0

    def score(self, features: Sequence[Feature]) -> float:
        return sum(self.weight(coordinate(key, self.bits)) * x for key, x in features)

    def learning_rate(self) -> float:
        if self.performance:
            return self.alpha * self.performance.share
        return rate(self.schedule, self.alpha, self.t)

    def learn(self, event: Event) -> float:
        p = logistic(self.score(event.features))
        alpha = self.learning_rate()
        for key, x in event.features:
            c = coordinate(key, self.bits)
            self.update(
                c, self.cells.setdefault(c, Cell()), p, x * event.weight, event.label, alpha
            )
        self.t += 1
        if self.performance:
            self.performance.saw(p, event.label, event.weight)
        return p

    def update(self, c: int, cell: Cell, p: float, x: float, label: int, alpha: float) -> None:
        l1, l2 = (0.0, 0.0) if c in self.unpenalised else (self.l1, self.l2)
        g = (p - label) * x
        if self.n == "squares":
            cell.n += g * g
        else:
            cell.clicks += x * x if label else 0.0
            cell.others += 0.0 if label else x * x
            cell.n = cell.clicks * cell.others / (cell.clicks + cell.others)
        d = max(cell.d, self.least_d(cell.n, alpha))
        self.step(cell, g, d, l1, l2)
        cell.d = d

    def least_d(self, n: float, alpha: float) -> float:
        return 1 / alpha if self.rates == "global" else (self.beta + n**self.power) / alpha


class FTRL(Learner):
    """McMahan et al. 2013, Algorithm 1, with the schedule of the design, section 4."""

    def step(self, cell: Cell, g: float, d: float, l1: float, l2: float) -> None:
        cell.z += g - (d - cell.d) * cell.w
        cell.w = 0.0 if abs(cell.z) <= l1 else -(cell.z - sign(cell.z) * l1) / (d + l2)


class RDA(Learner):
    """Xiao 2010, Algorithm 1 with l1 and l2: the sum of all gradients, around zero."""

    def step(self, cell: Cell, g: float, d: float, l1: float, l2: float) -> None:
        cell.z += g
        cell.w = 0.0 if abs(cell.z) <= l1 else -(cell.z - sign(cell.z) * l1) / (d + l2)


class FOBOS(Learner):
    """Duchi and Singer 2009, sections 2 and 5: a gradient step, then the proximal step of l1 and
    l2 of the same length."""

    def step(self, cell: Cell, g: float, d: float, l1: float, l2: float) -> None:
        halfway = cell.w - g / d
        cell.w = sign(halfway) * max(0.0, abs(halfway) - l1 / d) / (1 + l2 / d)


class OGD(Learner):
    """Online gradient descent: Zinkevich 2003 with global rates, Duchi et al. 2011 (AdaGrad) per
    coordinate, Polyak 1964 for the momentum; l1 by its subgradient, l2 by its proximal step."""

    def __init__(self, bits: int, momentum: float = 0.0, **settings: object) -> None:
        super().__init__(bits, **settings)
        self.momentum = momentum
        self.closest = math.inf
        """The least |w| but zero that l1 pushed at: a rounding could have turned it."""

    def step(self, cell: Cell, g: float, d: float, l1: float, l2: float) -> None:
        if cell.w and l1:
            self.closest = min(self.closest, abs(cell.w))
        cell.v = self.momentum * cell.v + (g + l1 * sign(cell.w)) / d
        cell.w = (cell.w - cell.v) / (1 + l2 / d)


class OGDCount(OGD):
    """McMahan et al. 2013, section 3.1: a coordinate's first occurrences are only counted."""

    def __init__(self, bits: int, min_count: int = 10, **settings: object) -> None:
        super().__init__(bits, **settings)
        self.min_count = min_count

    def update(self, c: int, cell: Cell, p: float, x: float, label: int, alpha: float) -> None:
        cell.occurrences += 1
        if c in self.unpenalised or cell.occurrences > self.min_count:
            super().update(c, cell, p, x, label, alpha)
        else:
            cell.d = max(cell.d, (1 if self.rates == "global" else self.beta) / alpha)


LEARNERS: dict[str, type[Learner]] = {
    "ftrl": FTRL,
    "rda": RDA,
    "fobos": FOBOS,
    "ogd": OGD,
    "ogd-count": OGDCount,
}
"""The twins by the names in the configuration."""


def ftrl_objective(w: float, history: Sequence[Update], l1: float, l2: float) -> float:
    """What FTRL-Proximal's weight minimises after the updates in ``history``: design, section 4."""
    value, d_before = l1 * abs(w) + l2 / 2 * w * w, 0.0
    for g, w_s, d in history:
        value += g * w + (d - d_before) / 2 * (w - w_s) ** 2
        d_before = d
    return value


def rda_objective(w: float, history: Sequence[Update], l1: float, l2: float) -> float:
    """What RDA's weight minimises: Xiao 2010, equation (8), the sums in place of the means."""
    d = history[-1][2] if history else 0.0
    return sum(g for g, _, _ in history) * w + l1 * abs(w) + (l2 + d) / 2 * w * w


def least(objective: Callable[[float], float], low: float, high: float) -> float:
    """Where a convex function of one number is least, by cutting off thirds."""
    for _ in range(120):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if objective(a) <= objective(b) else (a, high)
    return (low + high) / 2
