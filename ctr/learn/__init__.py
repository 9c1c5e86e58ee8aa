"""Learners, their tables and their learning-rate schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from numpy.typing import ArrayLike, NDArray

from ctr import settings
from ctr.errors import SettingError
from ctr.learn.ftrl import FTRLProximal
from ctr.types import Batch, Float32, Int64, UInt64

__all__ = ["LEARNERS", "FTRLProximal", "Learner", "make"]


class Learner(Protocol):
    """What every learner does; ``FTRLProximal`` says it in full, ``tests/learn`` holds it to it."""

    name: str
    events_learned: int

    @property
    def bits(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def nonzero(self) -> int: ...
    @property
    def touched(self) -> int: ...

    def learn(self, batch: Batch) -> Float32: ...
    def predict(self, batch: Batch) -> Float32: ...
    def score(self, batch: Batch) -> Float32: ...
    def weights(self) -> tuple[UInt64, Float32]: ...
    def page_weights(self, pages: Int64) -> Float32: ...
    def take_changed_pages(self) -> Int64: ...
    def touched_pages(self) -> Int64: ...
    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]: ...
    def restore(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None: ...
    def warm_start(self, coordinates: ArrayLike, values: ArrayLike, n0: float = 0.0) -> None: ...


def _ftrl(
    settings: settings.Learner, bits: int, seed: int, unpenalised: Iterable[int]
) -> FTRLProximal:
    return FTRLProximal(
        bits=bits,
        alpha=settings.alpha,
        beta=settings.beta,
        l1=settings.l1,
        l2=settings.l2,
        power=settings.power,
        schedule=settings.schedule,
        unpenalised=unpenalised,
        seed=seed,
    )


LEARNERS: dict[str, Callable[[settings.Learner, int, int, Iterable[int]], Learner]] = {
    "ftrl": _ftrl
}
"""From ``learner.name`` to what makes it."""


def make(
    settings: settings.Learner, bits: int, seed: int, unpenalised: Iterable[int] = ()
) -> Learner:
    """The learner that ``settings.name`` names; the bias (coordinate 0) is never penalised.

    >>> from ctr.settings import Learner
    >>> make(Learner(alpha=0.05), bits=20, seed=0).learning_rate
    0.05
    """
    if settings.name not in LEARNERS:
        raise SettingError("learner.name", settings.name, f"one of {', '.join(LEARNERS)}")
    return LEARNERS[settings.name](settings, bits, seed, (0, *unpenalised))
