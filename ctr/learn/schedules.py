"""Learning-rate schedules: how alpha decays with t, the number of events learned.

A schedule is text in every setting and a small object in Python::

    constant                      alpha
    power(r=1e6,c=0.1)            alpha (1 + t/r)^-c
    exponential(r=1e6)            alpha 10^(-t/r)
    piecewise(1e6:0.5,1e7:0.1)    alpha, from event 1e6 on half of it, from 1e7 on a tenth
    performance(window=1e5,factor=0.5)    alpha, halved whenever the progressive log loss of a
                                  window of 1e5 events is above the best window's

None may rise, and none falls below 1e-6 of alpha (see Senior et al. 2013, "An empirical study of
learning rates in deep neural networks for speech recognition", for the names). All but the last
are functions of t; the last goes by what it saw, and its state is part of the learner's.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np

from ctr.errors import SettingError
from ctr.kernels import schedules as kernels
from ctr.types import Float64

FLOOR = kernels.RATE_FLOOR
KEY = "learner.schedule"
_TEXT = re.compile(r"\s*(?P<name>[a-z]+)\s*(?:\((?P<arguments>[^()]*)\))?\s*")


class Schedule(ABC):
    """A learning rate that never rises.

    ``str(schedule)`` is its canonical text, which ``parse`` reads; equal schedules have equal
    texts. ``code`` and ``parameters()`` (float64) are its form for ``ctr.kernels.schedules``.
    """

    code: int
    stateful = False
    """Whether what it saw decides the rate; the kernel keeps it in ``parameters()`` then."""

    @abstractmethod
    def share(self, t: float, state: Float64) -> float:
        """The undamped share of alpha for the event before which ``t`` events were learned."""

    @abstractmethod
    def parameters(self) -> Float64:
        """What the kernel needs beside ``code``; a new array."""

    def rate(self, alpha: float, t: float, state: Float64 | None = None) -> float:
        """The learning rate of the event before which ``t`` events were learned.

        ``state`` is the learner's copy of ``parameters()``; None stands for a new one.

        >>> Power(r=100, c=0.5).rate(0.1, 300)
        0.05
        """
        return alpha * max(self.share(t, self.parameters() if state is None else state), FLOOR)


@dataclass(frozen=True)
class Constant(Schedule):
    """alpha for ever."""

    code = kernels.CONSTANT

    def share(self, t: float, state: Float64) -> float:
        return 1.0

    def parameters(self) -> Float64:
        return np.empty(0)

    def __str__(self) -> str:
        return "constant"


@dataclass(frozen=True)
class Power(Schedule):
    """alpha (1 + t/r)^-c, with r > 0 events and c >= 0."""

    r: float
    c: float
    code = kernels.POWER

    def __post_init__(self) -> None:
        _require(self, self.r > 0 and self.c >= 0, "power(r=R,c=C) with R > 0 and C >= 0")

    def share(self, t: float, state: Float64) -> float:
        return float((1.0 + t / self.r) ** -self.c)

    def parameters(self) -> Float64:
        return np.array([self.r, self.c], np.float64)

    def __str__(self) -> str:
        return f"power(r={_number(self.r)},c={_number(self.c)})"


@dataclass(frozen=True)
class Exponential(Schedule):
    """alpha 10^(-t/r), with r > 0 events."""

    r: float
    code = kernels.EXPONENTIAL

    def __post_init__(self) -> None:
        _require(self, self.r > 0, "exponential(r=R) with R > 0")

    def share(self, t: float, state: Float64) -> float:
        return float(10.0 ** (-t / self.r))

    def parameters(self) -> Float64:
        return np.array([self.r], np.float64)

    def __str__(self) -> str:
        return f"exponential(r={_number(self.r)})"


@dataclass(frozen=True, init=False)
class Piecewise(Schedule):
    """alpha at first, and from event ``t`` on ``share`` of it, for each (t, share) of ``steps``.

    >>> Piecewise((1000, 0.5), (5000, 0.1)).rate(1.0, 1000)
    0.5
    """

    steps: tuple[tuple[float, float], ...]
    code = kernels.PIECEWISE

    def __init__(self, *steps: tuple[float, float]) -> None:
        object.__setattr__(self, "steps", tuple((float(t), float(share)) for t, share in steps))
        falling = all(a[0] < b[0] and a[1] >= b[1] for a, b in pairwise(((0.0, 1.0), *self.steps)))
        _require(
            self,
            bool(steps) and falling and self.steps[-1][1] > 0,
            "piecewise(T:SHARE,...) with rising T > 0 and falling shares of alpha, 1 to above 0",
        )

    def share(self, t: float, state: Float64) -> float:
        return next((share for start, share in reversed(self.steps) if t >= start), 1.0)

    def parameters(self) -> Float64:
        return np.array(self.steps, np.float64).reshape(-1)

    def __str__(self) -> str:
        return f"piecewise({','.join(f'{_number(t)}:{_number(s)}' for t, s in self.steps)})"


@dataclass(frozen=True)
class Performance(Schedule):
    """alpha, times ``factor`` whenever progressive log loss stops falling.

    The loss is the weighted mean over each ``window`` (whole, >= 1) events; a window has not
    fallen when it is above the best one before it less the share ``tolerance``.

    >>> Performance(window=1000, factor=0.5).rate(0.1, 300)
    0.1
    """

    window: float
    factor: float
    tolerance: float = 0.0
    code = kernels.PERFORMANCE
    stateful = True

    def __post_init__(self) -> None:
        _require(
            self,
            self.window >= 1
            and float(self.window).is_integer()
            and 0 < self.factor <= 1
            and 0 <= self.tolerance < 1,
            "performance(window=W,factor=F,tolerance=T) with whole W >= 1, 0 < F <= 1 and "
            "0 <= T < 1",
        )

    def share(self, t: float, state: Float64) -> float:
        return float(state[kernels.SHARE])

    def parameters(self) -> Float64:
        state = np.zeros(kernels.BEST + 1)
        state[kernels.WINDOW], state[kernels.FACTOR] = self.window, self.factor
        state[kernels.TOLERANCE], state[kernels.SHARE] = self.tolerance, 1.0
        return state

    def __str__(self) -> str:
        more = f",tolerance={_number(self.tolerance)}" if self.tolerance else ""
        return f"performance(window={_number(self.window)},factor={_number(self.factor)}{more})"


def _constant(arguments: list[str]) -> Schedule:
    if arguments:
        raise ValueError
    return Constant()


def _named(kind: Callable[..., Schedule]) -> Callable[[list[str]], Schedule]:
    def read(arguments: list[str]) -> Schedule:
        pairs = [argument.split("=") for argument in arguments]
        given = {name.strip(): float(value) for name, value in pairs}
        if len(given) != len(pairs):
            raise ValueError
        return kind(**given)

    return read


def _piecewise(arguments: list[str]) -> Schedule:
    pairs = [argument.split(":") for argument in arguments]
    return Piecewise(*((float(t), float(share)) for t, share in pairs))


REGISTRY: dict[str, tuple[Callable[[list[str]], Schedule], str]] = {
    "constant": (_constant, "constant"),
    "power": (_named(Power), "power(r=1e6,c=0.1)"),
    "exponential": (_named(Exponential), "exponential(r=1e6)"),
    "piecewise": (_piecewise, "piecewise(1e6:0.5,1e7:0.1)"),
    "performance": (_named(Performance), "performance(window=1e5,factor=0.5)"),
}
"""Schedule by name: from the texts of its arguments to the schedule, and how it is written."""


def parse(text: str | Schedule) -> Schedule:
    """The schedule that ``text`` names; SettingError for ``learner.schedule`` if there is none.

    A schedule is returned as it is.

    >>> parse("power(r=1e6, c=0.1)")
    Power(r=1000000.0, c=0.1)
    >>> parse("power(r=1e6,c=-0.1)")
    Traceback (most recent call last):
    ctr.errors.SettingError: learner.schedule must be power(r=R,c=C) with R > 0 and C >= 0; got
    'power(r=1e6,c=-0.1)'
    """
    if isinstance(text, Schedule):
        return text
    match = _TEXT.fullmatch(str(text))
    if match is None or match["name"] not in REGISTRY:
        wanted = "one of " + ", ".join(example for _, example in REGISTRY.values())
        raise SettingError(KEY, text, wanted)
    read, example = REGISTRY[match["name"]]
    arguments = [part for part in (match["arguments"] or "").split(",") if part.strip()]
    try:
        return read(arguments)
    except SettingError as error:
        raise SettingError(KEY, text, error.wanted) from None
    except (ValueError, TypeError):
        raise SettingError(KEY, text, f"written as {example}") from None


def _require(schedule: Schedule, good: bool, wanted: str) -> None:
    numbers = np.array(astuple(schedule), np.float64)  # type: ignore[call-overload]
    if not (good and np.isfinite(numbers).all()):
        raise SettingError(KEY, str(schedule), wanted)


def _number(x: float) -> str:
    """The shortest text that is read back as the same number, without a trailing ``.0``."""
    text = repr(float(x))
    return text.removesuffix(".0") if math.isfinite(x) else text
