"""What holds for every learner however it is set up: rates, counts, momentum, fewer bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ctr.errors import IncompatibleError
from ctr.learn import LEARNERS
from ctr.learn.linear import Linear
from ctr.types import Batch
from tests.learn.streams import SCHEDULES, batch, events, random_batch, split
from tests.learn.variants import (
    EXACT_ZEROS,
    ROUNDED,
    VARIANTS,
    dense,
    learner_and_twin,
    near,
    same_bits,
)
from tests.naive import Event
from tests.naive_learners import Cell

ALL = VARIANTS | ROUNDED
STREAM = random_batch(rows=600, features=7, keys=3000, seed=11)
BITS = 12


def new(variant: str, **settings: Any) -> Linear:
    """A small learner with the bias unpenalised."""
    name, own = ALL[variant]
    if name == "ogd-count":
        settings = {"min_count": 2} | settings
    return LEARNERS[name](
        **{"bits": BITS, "l1": 0.1, "unpenalised": [0], "seed": 3, **settings, **own}
    )


@pytest.mark.parametrize("variant", ALL)
@hypothesis_settings(max_examples=25)
@given(data=st.data())
def test_no_split_into_batches_changes_a_bit(variant: str, data: st.DataObject) -> None:
    rows = data.draw(events(st.integers(0, 60)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    schedule = data.draw(st.sampled_from(sorted(SCHEDULES)))
    whole, parts = (new(variant, bits=5, schedule=schedule) for _ in range(2))
    p = whole.learn(batch(rows))
    pieces = [parts.learn(piece) for piece in split(batch(rows), cuts)]
    assert np.array_equal(np.concatenate(pieces), p)
    assert same_bits(whole, parts)


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("schedule", ["power(r=100,c=0.5)", "performance(window=90,factor=0.5)"])
def test_restore_goes_on_as_if_never_interrupted(variant: str, schedule: str) -> None:
    uninterrupted, before, after = (new(variant, schedule=schedule) for _ in range(3))
    p = uninterrupted.learn(STREAM)
    first, second = split(STREAM, [333])
    before.learn(first)
    state = before.state()
    before.learn(second)  # the state is a copy: this does not reach it
    after.learn(STREAM)  # and what was there before a restore is gone after it
    after.restore(*state)
    assert after.learning_rate < after.alpha
    assert np.array_equal(after.learn(second), p[333:])
    assert same_bits(after, uninterrupted)
    assert after.learning_rate == uninterrupted.learning_rate < 0.09


@pytest.mark.parametrize("name", LEARNERS)
def test_a_performance_schedule_goes_on_and_another_starts_afresh(name: str) -> None:
    mine = "performance(window=50,factor=0.5)"
    learner = new(name, schedule=mine)
    learner.learn(STREAM)
    assert learner.learning_rate <= 0.05
    again = new(name, schedule=" performance( factor=.5, window=5e1 ) ")
    again.restore(*learner.state())
    assert again.learning_rate == learner.learning_rate
    for other in ("performance(window=51,factor=0.5)", "performance(window=50,factor=0.4)"):
        afresh = new(name, schedule=other)
        afresh.learn(STREAM)
        afresh.restore(*learner.state())
        assert afresh.learning_rate == afresh.alpha
    constant = new(name)
    constant.restore(*learner.state())
    assert constant.learning_rate == constant.alpha
    learner.restore(*constant.state())
    assert learner.learning_rate == learner.alpha


@pytest.mark.parametrize("variant", VARIANTS)
def test_flipping_all_labels_flips_all_weights(variant: str) -> None:
    learner, mirror = new(variant), new(variant)
    learner.learn(STREAM)
    mirror.learn(Batch(STREAM.indptr, STREAM.keys, STREAM.values, 1 - STREAM.labels))
    assert np.count_nonzero(dense(learner)) > 20
    np.testing.assert_allclose(dense(mirror), -dense(learner), atol=1e-6)


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"constant"}))
def test_an_idle_weight_keeps_every_bit_while_the_rate_decays(variant: str, schedule: str) -> None:
    learner = new(variant, bits=8, l1=0.01, schedule=schedule)
    rows = 60
    learner.learn(
        Batch(np.arange(rows + 1), np.arange(rows) % 3 + 70, np.ones(rows), np.ones(rows))
    )
    before, start = learner.page_weights(np.array([1])).tobytes(), learner.learning_rate
    learner.learn(Batch(np.arange(501), np.full(500, 5), np.ones(500), [1, 0] * 250))
    assert learner.learning_rate <= start
    assert learner.learning_rate < learner.alpha
    assert learner.page_weights(np.array([1])).tobytes() == before
    assert np.count_nonzero(learner.page_weights(np.array([1]))) == 3


@pytest.mark.parametrize("variant", ALL)
def test_an_event_costs_its_own_features_and_touches_no_other(variant: str) -> None:
    learner = new(variant, bits=20)
    learner.learn(STREAM)
    learner.take_changed_pages()
    weights = dense(learner)
    row = next(split(STREAM, [1]))
    learner.learn(row)
    own = row.keys.astype(int) % 2**20
    assert set(np.flatnonzero(dense(learner) != weights)) <= set(own)
    assert learner.take_changed_pages().tolist() == sorted(set(own // 64))


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize(("alpha", "power"), [(0.1, 0.5), (1e6, 1.0), (1e-6, 1.0)])
def test_no_finite_event_makes_the_state_anything_but_finite(
    variant: str, alpha: float, power: float
) -> None:
    largest = float(np.finfo(np.float32).max)
    values = [largest, -largest, 1e30, 1e-30, 1e-45, -1.0, 1e6, 1.0] * 25
    random = np.random.default_rng(0)
    random.shuffle(values)
    rows = len(values) // 2
    wild = Batch(
        indptr=np.arange(0, 2 * rows + 1, 2),
        keys=random.integers(0, 4, 2 * rows),
        values=values,
        labels=random.integers(0, 2, rows),
        weights=random.choice([1e-6, 1.0, 1e6, largest], rows),
    )
    for penalty in (0.0, 1.0, 1e9):
        settings = {"alpha": alpha, "power": power, "l1": penalty, "l2": penalty}
        learner = new(variant, **settings, schedule="performance(window=3,factor=0.1)")
        p = learner.learn(wild)
        assert ((p >= 0) & (p <= 1)).all()
        for array in learner.state()[1].values():
            for column in array.dtype.names or [...]:
                assert np.isfinite(array[column]).all()
        assert np.isfinite(learner.predict(STREAM)).all()


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize(
    "changed",
    [
        {"alpha": 0.01},
        {"alpha": 5.0},
        {"beta": 9.0},
        {"power": 0.25},
        {"schedule": "power(r=10,c=1)"},
        {"l1": 0.0},
        {"l1": 0.5, "l2": 7.0},
        {"unpenalised": []},
    ],
    ids=str,
)
def test_restore_under_other_settings_leaves_every_weight(
    variant: str, changed: dict[str, Any]
) -> None:
    learner, other = new(variant), new(variant, **changed)
    learner.learn(STREAM)
    other.restore(*learner.state())
    np.testing.assert_allclose(dense(other), dense(learner), rtol=1e-6)
    assert np.array_equal(dense(other) == 0, dense(learner) == 0)
    assert (other.nonzero, other.touched) == (learner.nonzero, learner.touched)
    if learner.rates == "global" and changed.keys() & {"alpha", "beta", "power"}:
        return  # no rate goes up again, and the global one has neither beta nor power
    other.learn(STREAM)
    learner.learn(STREAM)
    assert not np.allclose(dense(other), dense(learner), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "counts" not in name])
@hypothesis_settings(max_examples=25)
@given(rows=events(st.integers(0, 6), most=10), n0=st.sampled_from([0.0, 3.0, 50.0]))
def test_warm_start_stands_for_what_was_learned(variant: str, rows: list[Event], n0: float) -> None:
    """The weights are those given, and n0 and d as if so much had been learned to get there."""
    planted = {0: -0.75, 3: 0.5, 4: 1.25}
    settings = {"l1": 0.05, "unpenalised": [0]}
    learner, twin = learner_and_twin(variant, 8, "constant", ("constant",), **settings)
    learner.warm_start(list(planted), list(planted.values()), n0)
    for c, w in planted.items():
        cell = twin.cells.setdefault(c, Cell())
        l1, l2 = (0, 0) if c == 0 else (0.05, 1.0)
        cell.w, cell.n, cell.d = w, n0, twin.least_d(n0, 0.1)
        cell.z = -w * (cell.d + l2) - math.copysign(l1, w)
    if variant.startswith("ogd-count"):
        for c in planted:
            twin.cells[c].occurrences = twin.min_count
    p = learner.learn(batch(rows))
    assert near(p, [twin.learn(row) for row in rows])
    assert near(dense(learner), [twin.weight(c) for c in range(256)])


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(
    ("saved", "mine", "message"),
    [
        ({"state": "float64"}, {"state": "float32"}, "float64.*float32"),
        ({"state": "q2.13"}, {"state": "float64"}, r"q2\.13.*float64"),
        ({"state": "float32"}, {"state": "q2.13"}, r"float32.*q2\.13"),
        ({"n": "counts"}, {"n": "squares"}, "counts.*squares"),
    ],
    ids=str,
)
def test_a_state_of_another_precision_is_refused_by_both_names(
    name: str, saved: dict[str, str], mine: dict[str, str], message: str
) -> None:
    learner = LEARNERS[name](BITS, **saved)
    learner.learn(STREAM)
    with pytest.raises(IncompatibleError, match=message):
        LEARNERS[name](BITS, **mine).restore(*learner.state())


def test_the_default_precision_has_a_name_too() -> None:
    with pytest.raises(IncompatibleError, match=r"default.*float64"):
        LEARNERS["ftrl"](BITS, state="float64").restore(*LEARNERS["ftrl"](BITS).state())
    # for the others the default is float64
    for name in set(LEARNERS) - {"ftrl"}:
        learner, named = LEARNERS[name](BITS, l1=0.1), LEARNERS[name](BITS, l1=0.1, state="float64")
        learner.learn(STREAM)
        named.restore(*learner.state())
        assert same_bits(learner, named)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("other", LEARNERS)
def test_a_state_of_another_learner_is_refused(name: str, other: str) -> None:
    learner, mine = LEARNERS[name](BITS, l1=0.1), LEARNERS[other](BITS, l1=0.1)
    learner.learn(STREAM)
    if name == other:
        mine.restore(*learner.state())
        assert same_bits(learner, mine)
    else:
        with pytest.raises(IncompatibleError, match=f"'{name}'.*'{other}'"):
            mine.restore(*learner.state())


@pytest.mark.parametrize("name", EXACT_ZEROS)
def test_l1_alone_decides_how_many_weights_there_are(name: str) -> None:
    nonzero = []
    for l1 in (0.0, 0.01, 0.3, 1e3):
        learner = LEARNERS[name](BITS, l1=l1)
        learner.learn(STREAM)
        nonzero.append(learner.nonzero)
    assert nonzero == sorted(nonzero, reverse=True)
    assert nonzero[0] == learner.touched
    assert len(set(nonzero)) == 4
    assert nonzero[-1] == 0
