"""The learners as they can be set up: what the tests of all of them run over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.learn import LEARNERS
from ctr.learn.linear import Linear
from ctr.learn.table import PAGE
from tests import naive_learners

Settings = dict[str, Any]

VARIANTS: dict[str, tuple[str, Settings]] = {
    **{name: (name, {}) for name in LEARNERS},
    **{f"{name}, global": (name, {"rates": "global"}) for name in LEARNERS},
    **{f"{name}, counts": (name, {"n": "counts"}) for name in LEARNERS},
    "ogd, momentum": ("ogd", {"rates": "global", "momentum": 0.9}),
    "ogd-count, at once": ("ogd-count", {"min_count": 0}),
    "ftrl, float64": ("ftrl", {"state": "float64"}),
}
"""Learner and settings, of 64 bits but for FTRL-Proximal's own cell, by what they are called."""

ROUNDED: dict[str, tuple[str, Settings]] = {
    f"{name}, {state}": (name, {"state": state})
    for name in LEARNERS
    for state in ("float32", "q2.13")
}
"""Those of fewer bits."""

EXACT_ZEROS = ("ftrl", "rda", "fobos")
"""The learners that bring a weight to zero by l1, and back to it."""


def learner_and_twin(
    variant: str,
    bits: int,
    schedule: str,
    twin_schedule: naive_learners.Schedule,
    **settings: Any,
) -> tuple[Linear, naive_learners.Learner]:
    """One of ``VARIANTS`` and its twin, under the same settings."""
    name, own = VARIANTS[variant]
    learner = LEARNERS[name](bits, **own | settings, schedule=schedule)
    twin_settings = {key: value for key, value in (own | settings).items() if key != "state"}
    return learner, naive_learners.LEARNERS[name](bits, **twin_settings, schedule=twin_schedule)


def dense(learner: Linear) -> NDArray[np.float32]:
    """All weights of a small learner."""
    pages = max(1, (1 << learner.bits) // PAGE)
    return learner.page_weights(np.arange(pages)).reshape(-1)[: 1 << learner.bits]


def same_bits(one: Linear, other: Linear) -> bool:
    """Whether two learners hold the same, to the last bit."""
    (meta, arrays), (other_meta, other_arrays) = one.state(), other.state()
    return meta == other_meta and {k: v.tobytes() for k, v in arrays.items()} == {
        k: v.tobytes() for k, v in other_arrays.items()
    }


def near(a: Iterable[float], b: Iterable[float], bound: float = 1e-5) -> bool:
    """|a - b| <= bound max(1, |b|) for every number."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return a.shape == b.shape and bool((np.abs(a - b) <= bound * np.maximum(1, np.abs(b))).all())
