"""The precision of a learner's state: float64, float32, q2.13 with randomized rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ctr.learn import LEARNERS
from ctr.learn.linear import Linear
from ctr.types import Batch
from tests import naive_learners
from tests.learn.streams import long_stream
from tests.learn.variants import dense, near

STEP = 2.0**-13
FREE = (0, 5)


def new(name: str, state: str, bits: int = 12, **settings: Any) -> Linear:
    if name == "ogd-count":
        settings = {"min_count": 0} | settings
    settings = {"l1": 0.02, "l2": 0.05, "unpenalised": FREE, "seed": 4} | settings
    return LEARNERS[name](bits, state=state, **settings)


def column(learner: Linear, name: str) -> Any:
    """z, n, d or w of the touched pages, as it is stored."""
    return learner.state()[1]["cells"][name].reshape(-1)


def on_the_grid(weights: Any) -> Any:
    return weights == np.round(weights / STEP) * STEP


@pytest.fixture(params=LEARNERS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_float32_keeps_nothing_that_is_not_a_float32_and_float64_does(name: str) -> None:
    rows, _ = long_stream(3000)
    learners = {state: new(name, state) for state in ("float32", "float64")}
    for state, learner in learners.items():
        learner.learn(rows)
        for part in ("z", "n", "d", "w"):
            numbers = column(learner, part)
            exact = np.array_equal(numbers, numbers.astype(np.float32))
            # z is a number of occurrences to ogd-count, and nothing to some
            assert exact == (state == "float32") or (exact and part == "z"), part


def test_fewer_bits_change_weights_and_predictions_by_little(name: str) -> None:
    rows, _ = long_stream(20_000)
    exact = new(name, "float64")
    p = exact.learn(rows)
    for state, bound, mean in (("float32", 1e-4, 1e-5), ("q2.13", 2e-2, 5e-4)):
        learner = new(name, state)
        difference = np.abs(learner.learn(rows) - p)
        assert 0 < difference.max() < bound
        assert difference.mean() < mean
        assert near(dense(learner), dense(exact), 40 * mean)


def test_q2_13_holds_multiples_of_its_step_but_where_nothing_is_penalised(name: str) -> None:
    rows, _ = long_stream(3000)
    learner = new(name, "q2.13")
    learner.learn(rows)
    weights = dense(learner).astype(float)
    penalised = np.ones(len(weights), bool)
    penalised[list(FREE)] = False
    assert on_the_grid(weights[penalised]).all()
    assert len(np.unique(weights[penalised])) > 100
    assert not on_the_grid(weights[0])


def test_a_weight_beyond_q2_13_is_kept_as_float32(name: str) -> None:
    settings = {"alpha": 10.0, "l1": 0.0, "l2": 0.0}
    twin = naive_learners.LEARNERS[name](8, **settings, **no_counting(name))
    row = naive_learners.Event([(7, 3.3000001907348633)], 1)
    learner = new(name, "q2.13", bits=8, **settings)
    learner.learn(Batch([0, 1], [7], [row.features[0][1]], [1]))
    twin.learn(row)
    assert twin.weight(7) > 4
    assert dense(learner)[7] == np.float32(twin.weight(7))
    assert not on_the_grid(float(dense(learner)[7]))


@pytest.mark.parametrize("label", [0, 1])
def test_q2_13_rounds_to_a_neighbour_and_is_right_on_average(name: str, label: int) -> None:
    """4,000 coordinates take the same step, each of them rounded by chance of its own."""
    rows, settings = 4000, {"l1": 0.1, "l2": 0.3}
    learner = new(name, "q2.13", **settings, unpenalised=[])
    keys = np.arange(64, 64 + rows)  # pages that nothing else is on
    learner.learn(Batch(np.arange(rows + 1), keys, np.ones(rows), np.full(rows, label)))
    twin = naive_learners.LEARNERS[name](12, **settings, **no_counting(name))
    twin.learn(naive_learners.Event([(64, 1.0)], label))
    exact = twin.weight(64)
    assert 0.01 < abs(exact) < 1
    weights = dense(learner)[keys].astype(float)
    below = math.floor(exact / STEP) * STEP
    assert set(weights.tolist()) == {below, below + STEP}
    # six standard deviations of the mean
    assert abs(weights.mean() - exact) < 6 * STEP / 2 / math.sqrt(rows)
    again = new(name, "q2.13", **settings, unpenalised=[], seed=5)
    again.learn(Batch(np.arange(rows + 1), keys, np.ones(rows), np.full(rows, label)))
    assert 0.3 < (dense(again)[keys] == dense(learner)[keys]).mean() < 0.9


@pytest.mark.parametrize("state", ["float32", "q2.13"])
def test_z_is_that_of_the_rounded_weight(state: str) -> None:
    rows, _ = long_stream(3000)
    for name in ("ftrl", "rda"):
        learner = new(name, state, unpenalised=[])
        learner.learn(rows)
        z, d, w = (column(learner, part) for part in ("z", "d", "w"))
        held = w != 0
        found = -(z - np.sign(z) * 0.02) / (np.abs(d) + 0.05)
        assert near(found[held], w[held], 1e-6)
        assert held.sum() > 100


def test_n_stalls_in_32_bits_and_not_in_64(name: str) -> None:
    """The paper's round-off: at n = 2^24 what an event adds is lost, and no rate falls again."""
    events = 1000
    one = Batch([0, 1], [7], [2.0**13], [1])
    more = Batch(np.arange(events + 1), np.full(events, 7), np.ones(events), [1, 0] * (events // 2))
    grown = {}
    for state in ("default", "float64", "float32"):
        # so slow that every probability stays a half, and n grows by a quarter
        learner = new(name, state, alpha=1e-9, l1=0.0)
        learner.learn(one)
        assert column(learner, "n").max() == 2.0**24
        learner.learn(more)
        grown[state] = float(column(learner, "n").max()) - 2.0**24
    assert grown["float32"] == 0
    assert grown["float64"] == pytest.approx(events / 4, rel=1e-4)
    # FTRL-Proximal's own cell has n in 32 bits, rounded by chance
    assert 150 < grown["default"] < 350


def test_occurrences_are_counted_past_the_whole_numbers_of_32_bits() -> None:
    for state in ("default", "float32", "q2.13"):
        before = LEARNERS["ogd-count"](8, min_count=2**24 + 2, state=state, l1=0.0)
        one = Batch([0, 1], [7], [1], [1])
        before.learn(one)
        meta, arrays = before.state()
        # a day's worth of occurrences
        arrays["cells"]["z"][0, 7] = 2**24
        learner = LEARNERS["ogd-count"](8, min_count=2**24 + 2, state=state, l1=0.0)
        learner.restore(meta, arrays)
        nonzero = []
        for _ in range(4):
            learner.learn(one)
            nonzero.append(learner.nonzero)
        assert nonzero == [0, 0, 1, 1], state


def no_counting(name: str) -> dict[str, int]:
    return {"min_count": 0} if name == "ogd-count" else {}
