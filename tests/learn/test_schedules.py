"""Schedules: their texts, their rates, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.kernels.schedules import observe, rate
from ctr.learn.schedules import (
    REGISTRY,
    Constant,
    Exponential,
    Performance,
    Piecewise,
    Power,
    Schedule,
    parse,
)
from ctr.types import Float64
from tests import naive_learners
from tests.learn.streams import FUNCTIONS_OF_T

Floats = Sequence[float]

PERFORMANCE = "performance(window=W,factor=F,tolerance=T) with whole W >= 1, 0 < F <= 1"

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
    st.builds(
        Performance,
        window=st.integers(1, 10**12).map(float),
        factor=st.floats(1e-9, 1),
        tolerance=st.floats(0, 0.99),
    ),
    piecewise(),
)


@numba.njit  # not cached: the cache would not see a change of what is called
def compiled_rate(schedule, rates, alpha, t):  # type: ignore[no-untyped-def]
    return rate(schedule, rates, alpha, t)


@numba.njit
def compiled_course(schedule, state, p, labels, weights, shares):  # type: ignore[no-untyped-def]
    for i in range(len(p)):
        shares[i] = rate(schedule, state, 1.0, i)
        observe(schedule, state, p[i], labels[i], weights[i])


def course(
    schedule: Schedule, state: Float64, p: Floats, labels: Floats, weights: Floats
) -> Float64:
    """The share of alpha at each of these events; ``state`` is the learner's, and goes on."""
    shares = np.empty(len(p))
    columns = (np.array(column, np.float64) for column in (p, labels, weights))
    compiled_course(schedule.code, state, *columns, shares)
    return shares


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


@pytest.mark.parametrize(("text", "twin"), FUNCTIONS_OF_T.items())
def test_rates_are_those_of_the_design(text: str, twin: tuple[object, ...]) -> None:
    schedule = parse(text)
    for t in (0, 1, 4, 5, 11, 12, 1000):
        assert schedule.rate(0.3, t) == pytest.approx(naive_learners.rate(twin, 0.3, t))


@given(
    window=st.integers(1, 6),
    factor=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    tolerance=st.sampled_from([0.0, 0.05, 0.5]),
    rows=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 1), st.sampled_from([0.25, 1.0, 3.0])),
        max_size=60,
    ),
    cut=st.integers(0, 60),
)
def test_performance_is_its_twin_however_its_windows_are_cut(
    window: int, factor: float, tolerance: float, rows: list[tuple[float, int, float]], cut: int
) -> None:
    twin = naive_learners.Performance(window, factor, tolerance)
    wanted = []
    for row in rows:
        wanted.append(twin.share)
        twin.saw(*row)
    assume(twin.closest > 1e-9)
    schedule = Performance(window, factor, tolerance)
    for pieces in ([rows], [rows[:cut], rows[cut:]]):
        state = schedule.parameters()
        got = [s for piece in pieces if piece for s in course(schedule, state, *zip(*piece))]  # noqa: B905
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
        assert schedule.rate(0.3, 7, state) == pytest.approx(0.3 * twin.share)
    assert all(np.diff(wanted) <= 0)


def test_performance_divides_the_rate_once_a_window_when_the_loss_stops_falling() -> None:
    """Four windows of two events, with mean losses of -ln p: falls, falls, rises, as the best."""
    p = [0.5, 0.5, 0.6, 0.6, 0.55, 0.55, 0.6, 0.6, 0.7, 0.5]
    clicks, ones = [1.0] * 10, [1.0] * 10
    schedule = parse("performance(window=2,factor=0.5)")
    shares = course(schedule, schedule.parameters(), p, clicks, ones)
    assert shares.tolist() == [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    # with a tolerance, falling by less is not falling; the best is that of all windows before
    demanding = parse("performance(window=2,factor=0.5,tolerance=0.2)")
    shares = course(demanding, demanding.parameters(), p, clicks, ones)
    assert shares.tolist() == [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_performance_stops_at_a_millionth_and_bears_certain_mistakes() -> None:
    schedule = parse("performance(window=1,factor=0.01)")
    # ever more wrong, then as wrong as can be
    p = [0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0, 1.0]
    shares = course(schedule, schedule.parameters(), p, [1.0] * 8, [1.0] * 8)
    np.testing.assert_allclose(shares, [1, 1, 1e-2, 1e-4, 1e-6, 1e-6, 1e-6, 1e-6])


def test_texts_may_be_written_freely_and_have_one_canonical_form() -> None:
    assert str(parse("power(r=1e6,c=0.1)")) == "power(r=1000000,c=0.1)"
    assert parse(" power( c = .1 , r=1_000_000 ) ") == Power(1e6, 0.1)
    assert parse("constant()") == Constant()
    assert str(parse("piecewise(1e3:.5, 2e3:0.25)")) == "piecewise(1000:0.5,2000:0.25)"
    assert parse("performance(window=1e5,factor=.5)") == Performance(100_000, 0.5)
    assert str(parse("performance(window=1e5,factor=.5)")) == (
        "performance(window=100000,factor=0.5)"
    )
    assert str(parse("performance(tolerance=1e-3,factor=1,window=7)")) == (
        "performance(window=7,factor=1,tolerance=0.001)"
    )
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
        ("performance(window=0,factor=0.5)", PERFORMANCE),
        ("performance(window=-10,factor=0.5)", PERFORMANCE),
        ("performance(window=2.5,factor=0.5)", PERFORMANCE),
        ("performance(window=inf,factor=0.5)", PERFORMANCE),
        ("performance(window=10,factor=0)", PERFORMANCE),
        ("performance(window=10,factor=-0.5)", PERFORMANCE),
        ("performance(window=10,factor=1.01)", PERFORMANCE),
        ("performance(window=10,factor=nan)", PERFORMANCE),
        ("performance(window=10,factor=0.5,tolerance=-0.1)", PERFORMANCE),
        ("performance(window=10,factor=0.5,tolerance=1)", PERFORMANCE),
        ("performance(window=10)", "written as performance(window=1e5,factor=0.5)"),
        ("performance", "written as performance(window=1e5,factor=0.5)"),
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
