"""FTRL-Proximal: its cell against the twin's, and what it alone promises."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctr
from ctr.errors import SettingError
from ctr.learn.schedules import Power
from ctr.types import Batch
from tests import naive_learners
from tests.learn.streams import FUNCTIONS_OF_T, batch, events, random_batch, settings, split
from tests.naive import Event

KEYS = st.integers(0, 40)
FREE = (0, 5)


def cells(learner: ctr.FTRLProximal) -> dict[int, Any]:
    """(z, n, |d|) of every coordinate of the touched pages."""
    _, arrays = learner.state()
    flat = arrays["cells"].reshape(-1)
    coordinates = (arrays["pages"][:, None] * 64 + np.arange(64)).reshape(-1)
    return {
        int(c): (float(cell["z"]), float(cell["n"]), abs(float(cell["d"])))
        for c, cell in zip(coordinates, flat, strict=True)
    }


def near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-5 * max(1.0, abs(b))


@given(
    rows=events(KEYS),
    given_settings=settings(),
    schedule=st.sampled_from(sorted(FUNCTIONS_OF_T)),
    bits=st.sampled_from([3, 8]),
)
def test_it_is_algorithm_1(
    rows: list[Event], given_settings: dict[str, float], schedule: str, bits: int
) -> None:
    learner = ctr.FTRLProximal(bits, **given_settings, schedule=schedule, unpenalised=FREE)
    twin = naive_learners.FTRL(
        bits, **given_settings, schedule=FUNCTIONS_OF_T[schedule], unpenalised=FREE
    )
    p = learner.learn(batch(rows))
    for i, row in enumerate(rows):
        assert near(p[i], twin.learn(row))
    weights = learner.page_weights(np.arange(max(1, 2**bits // 64))).reshape(-1)
    found = cells(learner)
    for c in range(2**bits):
        assert near(weights[c], twin.weight(c))
        if c in twin.cells:
            cell = twin.cells[c]
            assert all(map(near, found[c], (cell.z, cell.n, cell.d)))
    scores = learner.score(batch(rows))
    assert all(near(s, twin.score(row.features)) for s, row in zip(scores, rows, strict=True))


def test_it_is_algorithm_1_over_a_longer_stream() -> None:
    stream = random_batch(rows=3000, features=9, keys=500, seed=5)
    learner = ctr.FTRLProximal(10, l1=0.3, schedule="power(r=300,c=0.4)", unpenalised=[0], seed=9)
    twin = naive_learners.FTRL(10, l1=0.3, schedule=("power", 300, 0.4), unpenalised=[0])
    p = learner.learn(stream)
    for i, row in enumerate(split(stream, range(1, len(stream)))):
        features = [(int(key), 1.0) for key in row.keys]
        assert near(p[i], twin.learn(Event(features, int(row.labels[0]))))
    weights = learner.page_weights(np.arange(16)).reshape(-1)
    assert all(near(weights[c], twin.weight(c)) for c in range(1024))
    assert 50 < learner.nonzero < learner.touched


@given(rows=events(KEYS), given_settings=settings())
def test_a_weight_is_zero_exactly_when_z_is_within_l1(
    rows: list[Event], given_settings: dict[str, float]
) -> None:
    learner = ctr.FTRLProximal(8, **given_settings, unpenalised=FREE)
    learner.learn(batch(rows))
    nonzero = set(learner.weights()[0].tolist())
    for c, (z, _, _) in cells(learner).items():
        l1 = 0.0 if c in FREE else given_settings["l1"]
        assert (abs(z) <= l1) == (c not in nonzero)


def test_a_weight_returns_to_exactly_zero() -> None:
    learner = ctr.FTRLProximal(8, alpha=0.5, l1=1.0)
    one = {label: Batch([0, 1], [7], [1], [label]) for label in (0, 1)}
    course = []
    for label in [1] * 10 + [0] * 30:
        learner.learn(one[label])
        course.append(float(learner.page_weights(np.array([0]))[0, 7]))
    risen = course.index(max(course))
    zeros = [i for i, w in enumerate(course) if w == 0.0 and i > risen]
    assert max(course) > 0.3
    assert zeros
    assert all(w < 0 for w in course[zeros[-1] + 1 :])
    assert course[-1] < 0
    assert learner.nonzero == 1


def test_an_event_of_twice_the_weight_has_twice_the_gradient() -> None:
    single, double = (ctr.FTRLProximal(8, l1=0, l2=0) for _ in range(2))
    single.learn(Batch([0, 1], [3], [2.0], [1], weights=[1.5]))
    double.learn(Batch([0, 1], [3], [1.0], [1], weights=[3.0]))
    assert cells(single) == cells(double)
    assert cells(single)[3][:2] == (-1.5, 2.25)


class TestRestoreUnderOtherSettings:
    stream = random_batch(rows=800, features=6, keys=400, seed=2)

    def trained(self) -> ctr.FTRLProximal:
        learner = ctr.FTRLProximal(11, l1=0.4, l2=0.7, unpenalised=[0])
        learner.learn(self.stream)
        assert 30 < learner.nonzero < learner.touched
        return learner

    @pytest.mark.parametrize(
        "changed",
        [{"alpha": 0.01}, {"alpha": 5.0}, {"beta": 9.0}, {"schedule": "power(r=10,c=1)"},
         {"power": 0.25}, {"seed": 4}],
    )  # fmt: skip
    def test_the_rate_leaves_every_bit(self, changed: dict[str, Any]) -> None:
        learner = self.trained()
        other = ctr.FTRLProximal(
            11, **{"l1": 0.4, "l2": 0.7, "unpenalised": [0], "seed": 0} | changed
        )
        other.restore(*learner.state())
        pages = np.arange(32)
        assert other.page_weights(pages).tobytes() == learner.page_weights(pages).tobytes()
        assert (other.nonzero, other.touched) == (learner.nonzero, learner.touched)
        assert cells(other) == cells(learner)

    @pytest.mark.parametrize(
        "changed",
        [{"l1": 0.0}, {"l1": 0.1}, {"l1": 3.0}, {"l2": 0.0}, {"l2": 50.0},
         {"l1": 2.0, "l2": 0.1}, {"unpenalised": []}, {"unpenalised": range(0, 2048, 2)}],
    )  # fmt: skip
    def test_penalties_leave_every_weight_and_act_from_there_on(
        self, changed: dict[str, Any]
    ) -> None:
        learner = self.trained()
        settings = {"l1": 0.4, "l2": 0.7, "unpenalised": [0]} | changed
        other = ctr.FTRLProximal(11, **settings)
        other.restore(*learner.state())
        pages = np.arange(32)
        before = learner.page_weights(pages)
        np.testing.assert_allclose(other.page_weights(pages), before, rtol=1e-6)
        assert np.array_equal(other.page_weights(pages) == 0, before == 0)
        assert (other.nonzero, other.touched) == (learner.nonzero, learner.touched)
        free = set(settings["unpenalised"])
        weights = before.reshape(-1)
        for c, (z, _, d) in cells(other).items():
            l1, l2 = (0, 0) if c in free else (settings["l1"], settings["l2"])
            w = float(weights[c])
            wanted = -w * (d + l2) - math.copysign(l1, w) if w else z
            assert z == pytest.approx(wanted, rel=1e-6)
            assert w != 0 or abs(z) <= l1
        other.learn(self.stream)
        learner.learn(self.stream)
        assert not np.allclose(other.page_weights(pages), learner.page_weights(pages))


def test_a_larger_alpha_acts_only_when_the_gradients_have_caught_up() -> None:
    learner, faster = ctr.FTRLProximal(8, alpha=0.1), ctr.FTRLProximal(8, alpha=0.5)
    row = Batch([0, 1], [3], [1], [1])
    for _ in range(20):
        learner.learn(row)
    faster.restore(*learner.state())
    z, n, d = cells(faster)[3]
    p = float(faster.learn(row)[0])
    z_after, n_after, d_after = cells(faster)[3]
    assert d_after == d
    assert z_after == pytest.approx(z + p - 1, rel=1e-6)
    assert n_after == pytest.approx(n + (1 - p) ** 2, rel=1e-6)


def test_warm_start_is_the_design_s() -> None:
    learner = ctr.FTRLProximal(10, alpha=0.2, beta=2.0, l1=0.5, l2=3.0, unpenalised=[0])
    learner.warm_start([0, 8, 9, 10], [-5.0, 0.25, -0.5, 0.0], n0=16.0)
    d = (2.0 + 4.0) / 0.2
    found = cells(learner)
    assert found[0] == pytest.approx((5.0 * d, 16, d))
    assert found[8] == pytest.approx((-0.25 * (d + 3) - 0.5, 16, d))
    assert found[9] == pytest.approx((0.5 * (d + 3) + 0.5, 16, d))
    assert found[10] == pytest.approx((0, 16, d))
    assert (learner.touched, learner.nonzero) == (4, 3)
    learner.warm_start([9], [0.0])
    assert (learner.touched, learner.nonzero) == (4, 2)


def test_the_first_step_after_a_warm_start_is_a_step_and_not_a_restart() -> None:
    learner = ctr.FTRLProximal(10, l1=1.0, l2=1.0)
    learner.warm_start([4], [-2.0])
    p = learner.learn(Batch([0, 1], [4], [1], [0]))[0]
    assert p == pytest.approx(1 / (1 + math.exp(2)), rel=1e-5)
    g, d = float(p), 1 / 0.1
    d_after = (1 + g) / 0.1
    z = 2.0 * (d + 1) + 1 + g - (d_after - d) * -2.0
    assert learner.weights()[1][0] == pytest.approx(-(z - 1) / (d_after + 1), rel=1e-5)
    assert learner.weights()[1][0] < -1.9


@numba.njit
def reference(z, n, d, labels, repeats, alpha, beta, l1, l2):  # type: ignore[no-untyped-def]
    """Algorithm 1 in 64 bits for one coordinate that is in every event ``repeats`` times."""
    for y in labels:
        w = 0.0 if abs(z) <= l1 else -(z - math.copysign(l1, z)) / (d + l2)
        p = 1 / (1 + math.exp(-repeats * w))
        for _ in range(repeats):
            w = 0.0 if abs(z) <= l1 else -(z - math.copysign(l1, z)) / (d + l2)
            g = p - y
            n += g * g
            d_before, d = d, max(d, (beta + math.sqrt(n)) / alpha)
            z += g - (d - d_before) * w
    return z, n, d


@pytest.mark.parametrize(("updates", "repeats"), [(20_000_000, 1), (100_000_000, 8)])
def test_updates_by_the_million_stay_near_64_bits(updates: int, repeats: int) -> None:
    """The paper's round-off: in float32 n stalls at 8 of 25 million, and |error| is 1.6."""
    random = np.random.default_rng(17)
    learner = ctr.FTRLProximal(8, alpha=0.1, beta=1.0, l1=1.0, l2=1.0, seed=1)
    z = n = d = 0.0
    rows = 500_000
    indptr = np.arange(0, rows * repeats + 1, repeats)
    keys, values = np.full(rows * repeats, 3, np.uint64), np.ones(rows * repeats, np.float32)
    for _ in range(updates // (rows * repeats)):
        labels = (random.random(rows) < 0.2).astype(np.float32)
        learner.learn(Batch.trusted(indptr, keys, values, labels, np.ones(rows, np.float32)))
        z, n, d = reference(z, n, d, labels, repeats, 0.1, 1.0, 1.0, 1.0)
    w = -(z - math.copysign(1, z)) / (d + 1)
    found = (*cells(learner)[3], float(learner.weights()[1][0]))
    for got, wanted in zip(found, (z, n, d, w), strict=True):
        assert abs(got - wanted) <= 1e-3 * max(1, abs(wanted))
    assert n > 0.1 * updates


def test_a_table_of_2_to_the_32_costs_what_is_learned() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    small = random_batch(rows=100, features=5, keys=10_000, seed=1)
    ctr.FTRLProximal(10).learn(small)
    before = resident()
    learner = ctr.FTRLProximal(32, l1=0, unpenalised=[0, 2**32 - 1])
    learner.learn(small)
    assert learner.touched == len(set((small.keys % 2**32).tolist()))
    assert int(learner.weights()[0].max()) > 2**31
    meta, arrays = learner.state()
    learner.restore(meta, arrays)
    assert resident() - before < 200 << 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 0}, "learner.alpha must be > 0; got 0"),
        ({"alpha": -0.1}, "learner.alpha must be > 0; got -0.1"),
        ({"alpha": math.nan}, "learner.alpha must be > 0; got nan"),
        ({"alpha": "fast"}, "learner.alpha must be > 0; got 'fast'"),
        ({"alpha": None}, "learner.alpha must be > 0; got None"),
        ({"beta": 0}, "learner.beta must be > 0; got 0"),
        ({"l1": -1}, "learner.l1 must be >= 0; got -1"),
        ({"l2": math.inf}, "learner.l2 must be >= 0; got inf"),
        ({"power": 1.5}, "learner.power must be from 0 to 1; got 1.5"),
        ({"bits": 33}, "features.bits must be a whole number from 1 to 32; got 33"),
        ({"bits": 10.0}, "features.bits must be a whole number from 1 to 32; got 10.0"),
        ({"seed": -1}, "model.seed must be a whole number >= 0; got -1"),
        ({"unpenalised": [1024]}, "learner.unpenalised must be whole numbers from 0 to 2^10 - 1"),
        ({"unpenalised": [-1]}, "learner.unpenalised must be whole numbers from 0 to 2^10 - 1"),
        ({"unpenalised": [0.5]}, "learner.unpenalised must be whole numbers from 0 to 2^10 - 1"),
        ({"schedule": "slow"}, "learner.schedule must be one of constant, power"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_got_and_wanted(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError) as error:
        ctr.FTRLProximal(**{"bits": 10} | wrong)
    assert str(error.value).startswith(message)


def test_a_schedule_may_be_an_object() -> None:
    learner = ctr.FTRLProximal(8, alpha=0.4, schedule=Power(r=10, c=0.5))
    learner.learn(Batch(np.zeros(31), [], [], np.zeros(30)))
    assert learner.learning_rate == pytest.approx(0.2)
    assert learner.state()[0]["schedule"] == "power(r=10,c=0.5)"
