"""Schedules: their texts, their rates, and what they refuse."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.kernels.schedules import rate
from ctr.learn.schedules import (
    REGISTRY,
    Constant,
    Exponential,
    Piecewise,
    Power,
    Schedule,
    parse,
)
from tests import naive
from tests.learn.streams import SCHEDULES

above_zero = st.floats(1e-3, 1e12)


@st.composite
def piecewise(draw: st.DrawFn) -> Piecewise:
    starts = sorted(draw(st.sets(st.integers(1, 10**9), min_size=1, max_size=5)))
    shares = draw(st.lists(st.floats(1e-9, 1), min_size=len(starts), max_size=len(starts)))
    return Piecewise(*zip(starts, sorted(shares, reverse=True), strict=True))


schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.just(Constant()),
    st.builds(Power, r=above_zero, c=st.floats(0, 5)),
    st.builds(Exponential, r=above_zero),
    piecewise(),
)


@numba.njit  # not cached: the cache would not see a change of what is called
def compiled_rate(schedule, rates, alpha, t):  # type: ignore[no-untyped-def]
    return rate(schedule, rates, alpha, t)


@given(schedules)
def test_the_text_of_a_schedule_is_read_back_as_the_schedule(schedule: Schedule) -> None:
    assert parse(str(schedule)) == schedule
    assert str(parse(str(schedule))) == str(schedule)
    assert parse(schedule) is schedule


@given(schedules, st.floats(1e-6, 10), st.lists(st.integers(0, 10**12), min_size=2, max_size=9))
def test_no_rate_rises_and_none_falls_below_a_millionth(
    schedule: Schedule, alpha: float, times: list[int]
) -> None:
    rates = [schedule.rate(alpha, t) for t in sorted(times)]
    assert rates == sorted(rates, reverse=True)
    assert all(1e-6 * alpha <= r <= alpha for r in rates)
    assert schedule.rate(alpha, 0) == alpha


@given(schedules, st.floats(1e-6, 10), st.integers(0, 10**12))
def test_the_compiled_rate_is_the_schedule_s(schedule: Schedule, alpha: float, t: int) -> None:
    got = compiled_rate(schedule.code, schedule.parameters(), alpha, t)
    assert got == pytest.approx(schedule.rate(alpha, t), rel=1e-12)


@pytest.mark.parametrize(("text", "twin"), SCHEDULES.items())
def test_rates_are_those_of_the_design(text: str, twin: tuple[object, ...]) -> None:
    schedule = parse(text)
    for t in (0, 1, 4, 5, 11, 12, 1000):
        assert schedule.rate(0.3, t) == pytest.approx(naive.rate(twin, 0.3, t))


def test_texts_may_be_written_freely_and_have_one_canonical_form() -> None:
    assert str(parse("power(r=1e6,c=0.1)")) == "power(r=1000000,c=0.1)"
    assert parse(" power( c = .1 , r=1_000_000 ) ") == Power(1e6, 0.1)
    assert parse("constant()") == Constant()
    assert str(parse("piecewise(1e3:.5, 2e3:0.25)")) == "piecewise(1000:0.5,2000:0.25)"
    assert str(parse("exponential(r=1e30)")) == "exponential(r=1e+30)"


def test_every_registered_schedule_is_written_as_its_example() -> None:
    for name, (_, example) in REGISTRY.items():
        assert str(parse(example)).startswith(name)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("power(r=1e6,c=-0.1)", "power(r=R,c=C) with R > 0 and C >= 0"),
        ("power(r=0,c=1)", "power(r=R,c=C) with R > 0 and C >= 0"),
        ("power(r=nan,c=1)", "power(r=R,c=C) with R > 0 and C >= 0"),
        ("power(r=inf,c=1)", "power(r=R,c=C) with R > 0 and C >= 0"),
        ("exponential(r=-5)", "exponential(r=R) with R > 0"),
        ("piecewise(1e6:0.5,2e6:0.6)", "piecewise(T:SHARE,...) with"),
        ("piecewise(1e6:2)", "piecewise(T:SHARE,...) with"),
        ("piecewise(2e6:0.5,1e6:0.4)", "piecewise(T:SHARE,...) with"),
        ("piecewise(1e6:0)", "piecewise(T:SHARE,...) with"),
        ("piecewise()", "piecewise(T:SHARE,...) with"),
        ("power", "written as power(r=1e6,c=0.1)"),
        ("power(r=1e6)", "written as power(r=1e6,c=0.1)"),
        ("power(1e6,0.1)", "written as power(r=1e6,c=0.1)"),
        ("power(r=1e6,c=0.1,c=0.2)", "written as power(r=1e6,c=0.1)"),
        ("power(r=1e6,c=0.1,d=1)", "written as power(r=1e6,c=0.1)"),
        ("power(r=much,c=0.1)", "written as power(r=1e6,c=0.1)"),
        ("constant(1)", "written as constant"),
        ("piecewise(5)", "written as piecewise(1e6:0.5,1e7:0.1)"),
        ("", "one of constant, power(r=1e6,c=0.1), exponential"),
        ("Power(r=1,c=1)", "one of constant"),
        ("power(r=1,c=1", "one of constant"),
    ],
)
def test_a_bad_schedule_says_what_was_got_and_wanted(text: str, wanted: str) -> None:
    with pytest.raises(SettingError) as error:
        parse(text)
    assert str(error.value).startswith(f"learner.schedule must be {wanted}")
    assert str(error.value).endswith(f"got {text!r}")


def test_an_object_refuses_the_same() -> None:
    with pytest.raises(SettingError, match=r"power\(r=-1,c=1\)"):
        Power(r=-1, c=1)
    assert np.array_equal(Piecewise((10, 0.5)).parameters(), [10, 0.5])
