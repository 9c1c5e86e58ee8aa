"""The power schedule followed from event to event is the power schedule."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.kernels import schedules


@numba.njit  # not cached: the cache would not see a change of what is called
def followed(rates: Any, alpha: Any, first: Any, out: Any) -> None:
    anchor, anchored = -1, 0.0
    for i in range(len(out)):
        out[i], anchor, anchored = schedules.rate_from(
            schedules.POWER, rates, alpha, first + i, anchor, anchored
        )


@given(
    r=st.sampled_from([1.0, 1e4, 1e6, 1e9]),
    c=st.sampled_from([0.01, 0.1, 0.5, 1.0, 5.0, 40.0]),
    first=st.one_of(st.integers(0, 200_000), st.integers(0, 10**12)),
    cut=st.integers(1, 299),
)
def test_following_the_power_schedule_is_right_wherever_it_begins(
    r: float, c: float, first: int, cut: int
) -> None:
    rates, alpha = np.array([r, c]), 0.1
    whole = np.empty(300)
    followed(rates, alpha, first, whole)
    wanted = [alpha * max((1 + t / r) ** -c, 1e-6) for t in range(first, first + 300)]
    assert whole.tolist() == pytest.approx(wanted, rel=1e-11)
    followed(rates, alpha, first + cut, parts := np.empty(300 - cut))
    assert np.array_equal(parts, whole[cut:])
