"""Learners, their tables and their learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from numpy.typing import ArrayLike, NDArray

from ctr import settings
from ctr.errors import SettingError
from ctr.learn.fobos import FOBOS
from ctr.learn.ftrl import FTRLProximal
from ctr.learn.linear import Linear
from ctr.learn.ogd import OGD
from ctr.learn.ogd_count import OGDCount
from ctr.learn.rda import RDA
from ctr.types import Batch, Float32, Int64, UInt64

__all__ = ["FOBOS", "LEARNERS", "OGD", "RDA", "FTRLProximal", "Learner", "OGDCount", "make"]

_COMMON = ["alpha", "beta", "l1", "l2", "power", "schedule", "rates", "n", "state"]


class Learner(Protocol):
    """What every learner does; ``Linear`` says it in full, ``tests/learn`` holds each to it."""

    name: ClassVar[str]
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


LEARNERS: dict[str, type[Linear]] = {
    learner.name: learner for learner in (FTRLProximal, RDA, FOBOS, OGD, OGDCount)
}
"""Learner by ``learner.name``."""


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
    learner = LEARNERS[settings.name]
    common: dict[str, Any] = {name: getattr(settings, name) for name in _COMMON}
    own: dict[str, Any] = {}
    if issubclass(learner, OGDCount):
        own["min_count"] = settings.min_count
    if issubclass(learner, OGD):
        own["momentum"] = settings.momentum
    elif settings.momentum:
        raise SettingError("learner.momentum", settings.momentum, "0 unless learner.name is ogd")
    return learner(bits, unpenalised=(0, *unpenalised), seed=seed, **common, **own)
