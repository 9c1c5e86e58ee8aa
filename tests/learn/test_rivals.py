"""What makes each of FTRL-Proximal's rivals what it is, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ctr import config, settings
from ctr.errors import SettingError, UnknownSettingError
from ctr.learn import FOBOS, LEARNERS, OGD, RDA, OGDCount, make
from ctr.learn.linear import Linear
from ctr.types import Batch
from tests.learn.variants import EXACT_ZEROS, dense

STATES = ("default", "float64", "float32", "q2.13")


def one(key: int, label: int, x: float = 1.0) -> Batch:
    return Batch([0, 1], [key], [x], [label])


def course(learner: Linear, labels: list[int], x: float = 1.0) -> list[float]:
    """The weight of a coordinate that is alone in every event, after each."""
    weights = []
    for label in labels:
        learner.learn(one(7, label, x))
        weights.append(float(dense(learner)[7]))
    return weights


# ---- zeros


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", EXACT_ZEROS)
def test_a_weight_leaves_zero_and_returns_to_it_exactly(name: str, state: str) -> None:
    learner = LEARNERS[name](8, alpha=0.5, l1=0.3, state=state)
    risen = course(learner, [1] * 10)
    assert risen[-1] > 0.1
    assert learner.nonzero == 1
    fallen = course(learner, [0] * 60, x=0.5)
    assert 0.0 in fallen
    assert fallen[: fallen.index(0.0)] == sorted(fallen[: fallen.index(0.0)], reverse=True)


def test_fobos_stays_at_zero_under_gradients_within_l1() -> None:
    learner = FOBOS(8, alpha=0.5, l1=0.5)
    assert course(learner, [1, 0, 1, 1, 0, 1]) == [0.0] * 6
    assert (learner.nonzero, learner.touched) == (0, 1)
    # a single gradient beyond it is enough, where FTRL-Proximal and RDA go by their sum
    learner.learn(one(7, 1, x=1.5))
    assert learner.nonzero == 1


def test_fobos_forgets_what_ftrl_and_rda_add_up() -> None:
    """Many gradients, each within l1, whose sum is not: the paper's reason for FTRL-Proximal."""
    risen = {name: course(LEARNERS[name](8, l1=0.6), [1] * 20)[-1] for name in EXACT_ZEROS}
    assert risen["fobos"] == 0.0
    assert risen["ftrl"] > 0.1
    assert risen["rda"] > 0.1


def test_rda_gathers_around_zero_and_ftrl_around_where_it_was() -> None:
    """After the same steps RDA's weight is the smaller, the more so the smaller the rate."""
    schedule = "power(r=5,c=1)"
    risen = {
        name: course(LEARNERS[name](8, l1=0.0, l2=0.0, schedule=schedule), [1] * 50)
        for name in ("ftrl", "rda")
    }
    assert all(np.diff(risen["ftrl"]) > 0)
    assert risen["rda"][-1] < max(risen["rda"])
    assert risen["rda"][-1] < 0.5 * risen["ftrl"][-1]


def test_xiao_s_own_rate_is_a_global_one_with_a_schedule() -> None:
    """w = -z / (gamma sqrt(t)), with gamma = 1/alpha."""
    learner = RDA(8, alpha=0.5, l1=0.0, l2=0.0, rates="global", schedule="power(r=1,c=0.5)")
    weights = course(learner, [1] * 9)
    z = -sum(1 / (1 + math.exp(w)) for w in [0.0, *weights[:-1]])
    assert weights[-1] == pytest.approx(-z / (math.sqrt(9) / 0.5), rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"rates": "global"}, {"n": "counts"}], ids=str)
def test_ogd_under_the_subgradient_of_l1_does_not_stay_at_zero(settings: dict[str, Any]) -> None:
    learner = OGD(8, alpha=0.1, l1=2.0, l2=0.0, **settings)
    weights = course(learner, [1, 0] * 200)
    # it is driven to and fro across zero by l1, further than a gradient would take it
    assert sum(w == 0.0 for w in weights) <= 1
    assert len({math.copysign(1, w) for w in weights[-20:]}) == 2
    assert learner.nonzero == 1
    assert {
        name: course(LEARNERS[name](8, alpha=0.1, l1=2.0), [1, 0] * 200)[-1] for name in EXACT_ZEROS
    } == dict.fromkeys(EXACT_ZEROS, 0.0)


def test_l2_of_ogd_is_stable_at_any_rate() -> None:
    for l2 in (0.1, 10.0, 1e6):
        weights = np.array(course(OGD(8, alpha=100.0, l1=0.0, l2=l2, rates="global"), [1] * 50))
        assert np.isfinite(weights).all()
        assert (weights >= 0).all()
        assert weights.max() <= 0.5 / l2 + 1e-6 or l2 < 1


# ---- counting


def test_ogd_count_holds_a_weight_at_zero_and_learns_from_the_next_occurrence() -> None:
    for min_count in (0, 1, 4):
        learner = OGDCount(8, min_count=min_count, l1=0.0)
        weights = course(learner, [1] * (min_count + 3))
        assert weights[:min_count] == [0.0] * min_count
        assert all(w > 0 for w in weights[min_count:])
        assert learner.touched == 1


def test_what_ogd_count_held_back_is_as_if_it_had_not_been() -> None:
    late, fresh = OGDCount(8, min_count=5, l1=0.01), OGD(8, l1=0.01)
    course(late, [1, 1, 0, 1, 0])
    labels = [1, 0, 1, 1, 1, 0]
    assert course(late, labels) == course(fresh, labels)


def test_ogd_count_counts_features_and_not_events() -> None:
    learner = OGDCount(8, min_count=3, l1=0.0)
    learner.learn(Batch([0, 4], [7, 7, 7, 7], [1, 1, 1, 1], [1]))
    assert dense(learner)[7] > 0
    single = OGD(8, l1=0.0)
    single.learn(one(7, 1))
    assert dense(learner)[7] == dense(single)[7]


def test_ogd_count_holds_nothing_back_that_is_unpenalised() -> None:
    learner = OGDCount(8, min_count=100, l1=0.0, unpenalised=[0, 7])
    learner.learn(Batch([0, 3], [0, 7, 8], [1, 1, 1], [1]))
    assert np.flatnonzero(dense(learner)).tolist() == [0, 7]


def test_a_count_outlives_a_restore_under_another_min_count() -> None:
    learner = OGDCount(8, min_count=10, l1=0.0)
    course(learner, [1] * 6)
    for min_count, first in ((8, 3), (3, 1), (6, 1), (7, 2)):
        other = OGDCount(8, min_count=min_count, l1=0.0)
        other.restore(*learner.state())
        weights = course(other, [1] * 5)
        assert [w > 0 for w in weights].index(True) + 1 == first


# ---- momentum


def test_momentum_goes_on_in_the_direction_it_came_from() -> None:
    plain, heavy = (
        OGD(8, alpha=0.1, l1=0.0, l2=0.0, rates="global", momentum=m) for m in (0.0, 0.9)
    )
    slow, fast = course(plain, [1] * 10), course(heavy, [1] * 10)
    assert fast[0] == slow[0]
    assert fast[-1] > 2.5 * slow[-1]
    turned_slow, turned_fast = course(plain, [0]), course(heavy, [0])
    assert turned_slow[0] < slow[-1]
    assert turned_fast[0] > fast[-1]


def test_momentum_is_per_coordinate_and_sparse() -> None:
    learner = OGD(8, alpha=0.1, l1=0.0, rates="global", momentum=0.9)
    course(learner, [1] * 10)
    before = dense(learner)[7]
    learner.learn(one(9, 0))
    assert dense(learner)[7] == before


# ---- what is refused

BAD = [
    ("alpha", -0.1, "> 0"),
    ("alpha", 0.0, "> 0"),
    ("alpha", math.nan, "> 0"),
    ("beta", -1.0, "> 0"),
    ("beta", 0.0, "> 0"),
    ("l1", -1.0, ">= 0"),
    ("l2", -0.5, ">= 0"),
    ("rates", "local", "one of 'per-coordinate', 'global'"),
    ("n", "sums", "one of 'squares', 'counts'"),
    ("state", "float16", "one of 'default', 'float64', 'float32', 'q2.13'"),
]
SCHEDULES = [
    ("linear(r=5)", "one of constant, power"),
    ("power(r=1e6,c=-0.1)", "power(r=R,c=C) with R > 0 and C >= 0"),
    ("exponential(r=-5)", "exponential(r=R) with R > 0"),
    ("piecewise(10:0.5,20:0.6)", "piecewise(T:SHARE,...) with rising T > 0 and falling shares"),
    ("performance(window=100,factor=1.5)", "performance(window=W,factor=F,tolerance=T) with"),
    ("performance(window=0,factor=0.5)", "performance(window=W,factor=F,tolerance=T) with"),
]


@pytest.mark.parametrize(("key", "value", "wanted"), BAD)
@pytest.mark.parametrize("name", LEARNERS)
def test_a_bad_setting_is_named_with_what_was_got_and_wanted(
    name: str, key: str, value: Any, wanted: str
) -> None:
    message = f"learner.{key} must be {wanted}; got {value!r}"
    overrides = {"learner.name": name, f"learner.{key}": value}
    with pytest.raises(SettingError) as error:
        config.load(environment={}, overrides=overrides)
    assert str(error.value) == message
    with pytest.raises(SettingError) as error:
        LEARNERS[name](8, **{key: value})
    assert str(error.value).replace("'", "") == message.replace("'", "")


@pytest.mark.parametrize(("schedule", "wanted"), SCHEDULES)
@pytest.mark.parametrize("name", LEARNERS)
def test_a_bad_schedule_is_named_with_what_was_got_and_wanted(
    name: str, schedule: str, wanted: str
) -> None:
    for build in (
        lambda: LEARNERS[name](8, schedule=schedule),
        lambda: make(settings.Learner(name=name, schedule=schedule), bits=8, seed=0),
    ):
        with pytest.raises(SettingError) as error:
            build()
        assert str(error.value).startswith(f"learner.schedule must be {wanted}")
        assert str(error.value).endswith(f"got {schedule!r}")


def test_an_unknown_learner_is_named_with_those_there_are() -> None:
    with pytest.raises(
        SettingError, match=r"learner\.name must be one of .*'ogd-count'; got 'sgd'"
    ):
        config.load(environment={}, overrides={"learner.name": "sgd"})
    with pytest.raises(SettingError, match=r"learner\.name must be one of .*ogd-count; got 'sgd'"):
        make(settings.Learner(name="sgd"), bits=8, seed=0)
    with pytest.raises(UnknownSettingError, match=r"learner\.eta is not a setting"):
        config.load(environment={}, overrides={"learner.eta": 0.1})


@pytest.mark.parametrize(
    ("name", "rates", "momentum", "wanted"),
    [
        ("ogd", "per-coordinate", 0.5, "0 unless"),
        ("ogd-count", "global", 0.5, "0 unless"),
        ("ftrl", "global", 0.5, "0 unless"),
        ("rda", "per-coordinate", 0.5, "0 unless"),
        ("ogd", "global", -0.1, ">= 0"),
        ("ogd", "global", 1.0, "< 1"),
        ("ogd", "global", 2.5, "< 1"),
    ],
)
def test_momentum_is_for_ogd_with_a_global_rate_and_below_1(
    name: str, rates: str, momentum: float, wanted: str
) -> None:
    overrides = {"name": name, "rates": rates, "momentum": momentum}
    with pytest.raises(SettingError) as error:
        config.load(
            environment={}, overrides={f"learner.{key}": value for key, value in overrides.items()}
        )
    assert str(error.value).startswith(f"learner.momentum must be {wanted}")
    assert str(error.value).endswith(f"got {momentum!r}")
    with pytest.raises(SettingError, match=r"learner\.momentum must be .*; got"):
        make(settings.Learner(**overrides), bits=8, seed=0)


@pytest.mark.parametrize("min_count", [-1, 2.5, True, "ten", None])
def test_min_count_is_a_whole_number(min_count: Any) -> None:
    overrides = {"learner.name": "ogd-count", "learner.min_count": min_count}
    with pytest.raises(SettingError, match=r"learner\.min_count must be .*; got"):
        config.load(environment={}, overrides=overrides)
    with pytest.raises(SettingError, match=r"learner\.min_count must be a whole number >= 0; got"):
        OGDCount(8, min_count=min_count)
