"""What every learner promises, run over every learner there is (``ctr.learn.LEARNERS``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr import settings
from ctr.errors import IncompatibleError, SettingError
from ctr.learn import LEARNERS, Learner, make
from ctr.learn.table import PAGE
from ctr.types import Batch
from tests.learn.streams import SCHEDULES, batch, events, random_batch, split
from tests.learn.variants import EXACT_ZEROS, dense, same_bits

Make = Callable[..., Learner]
BITS = 12
STREAM = random_batch(rows=600, features=7, keys=3000, seed=11)


@pytest.fixture(params=sorted(LEARNERS), scope="module")
def new(request: pytest.FixtureRequest) -> Make:
    """Makes the learner under test, with the bias unpenalised.

    ogd-count counts two occurrences, unless ``min_count`` says otherwise.
    """

    def make_one(bits: int = BITS, seed: int = 3, **learner: Any) -> Learner:
        learner = {"l1": 0.1, "min_count": 2} | learner
        return make(settings.Learner(name=request.param, **learner), bits=bits, seed=seed)

    return make_one


def test_learn_returns_the_prediction_made_before_each_event(new: Make) -> None:
    whole, one_by_one = new(), new()
    p = whole.learn(STREAM)
    assert p.dtype == np.float32
    for i, row in enumerate(split(STREAM, range(1, len(STREAM)))):
        before = one_by_one.predict(row)
        assert before[0] == p[i]
        assert one_by_one.learn(row)[0] == p[i]
    assert same_bits(whole, one_by_one)
    assert p[0] == 0.5
    assert p[300:].std() > 0.01


def test_prediction_is_the_logistic_of_the_score_and_learns_nothing(new: Make) -> None:
    learner, undisturbed = new(), new()
    learner.learn(STREAM)
    undisturbed.learn(STREAM)
    score, p = learner.score(STREAM), learner.predict(STREAM)
    assert score.dtype == p.dtype == np.float32
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-score.astype(float))), rtol=1e-6)
    assert same_bits(learner, undisturbed)
    coordinates, values = learner.weights()
    weights = dict(zip(coordinates.tolist(), values.tolist(), strict=True))
    keys = STREAM.keys[STREAM.indptr[7] : STREAM.indptr[8]]
    by_hand = sum(weights.get(int(key) % 2**BITS, 0.0) for key in keys)
    assert score[7] == pytest.approx(by_hand, abs=1e-5)


@given(data=st.data())
def test_no_split_into_batches_changes_a_bit(new: Make, data: st.DataObject) -> None:
    rows = data.draw(events(st.integers(0, 60)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    schedule = data.draw(st.sampled_from(sorted(SCHEDULES)))
    whole, parts = new(bits=5, schedule=schedule), new(bits=5, schedule=schedule)
    p = whole.learn(batch(rows))
    pieces = [parts.learn(piece) for piece in split(batch(rows), cuts)]
    assert np.array_equal(np.concatenate(pieces), p)
    assert same_bits(whole, parts)


def test_counts_are_what_a_recount_finds(new: Make) -> None:
    learner = new(l1=0.5)
    seen: set[int] = set()
    for piece in split(STREAM, [1, 2, 50, 200, 201]):
        learner.learn(piece)
        seen |= {int(key) % 2**BITS for key in piece.keys}
        weights = dense(learner)
        coordinates, values = learner.weights()
        assert learner.touched == len(seen)
        assert learner.nonzero == np.count_nonzero(weights) == len(coordinates)
        assert np.array_equal(coordinates, np.flatnonzero(weights))
        assert np.array_equal(values, weights[weights != 0])
        assert learner.touched_pages().tolist() == sorted({c // PAGE for c in seen})
    assert 0 < learner.nonzero <= learner.touched
    assert learner.nonzero < learner.touched or learner.name == "ogd"
    assert learner.events_learned == len(STREAM)


@given(data=st.data())
def test_counts_hold_when_coordinates_repeat_within_an_event(
    new: Make, data: st.DataObject
) -> None:
    learner = new(bits=3, l1=0.05)
    rows = data.draw(events(st.integers(0, 20)))
    learner.learn(batch(rows))
    seen = {0 if key == 0 else key % 8 or 1 for row in rows for key, _ in row.features}
    assert learner.touched == len(seen)
    assert learner.nonzero == np.count_nonzero(dense(learner)) == len(learner.weights()[0])


def test_changed_pages_are_those_of_the_events_since_last_asked(new: Make) -> None:
    learner = new()
    for piece in split(STREAM, [3, 4, 100, 300]):
        learner.learn(piece)
        learner.predict(STREAM)
        pages = {int(key) % 2**BITS // PAGE for key in piece.keys}
        changed = learner.take_changed_pages()
        assert changed.dtype == np.int64
        assert changed.tolist() == sorted(pages)
        assert learner.take_changed_pages().tolist() == []


def test_restore_goes_on_as_if_never_interrupted(new: Make) -> None:
    schedule = {"schedule": "power(r=100,c=0.5)"}
    uninterrupted, before = new(**schedule), new(**schedule)
    uninterrupted.learn(STREAM)
    first, second = split(STREAM, [333])
    before.learn(first)
    meta, arrays = before.state()
    before.learn(second)  # the state is a copy: this does not reach it
    after = new(**schedule)
    after.learn(STREAM)  # and what was there before a restore is gone after it
    after.restore(meta, arrays)
    assert after.take_changed_pages().tolist() == after.touched_pages().tolist()
    after.learn(second)
    assert same_bits(after, uninterrupted)
    assert (after.nonzero, after.touched) == (uninterrupted.nonzero, uninterrupted.touched)
    assert after.learning_rate == uninterrupted.learning_rate


def test_the_state_holds_the_touched_pages_alone(new: Make) -> None:
    learner = new(bits=22)
    learner.learn(next(split(STREAM, [2])))
    _, arrays = learner.state()
    assert sum(array.nbytes for array in arrays.values()) < 40_000
    empty_meta, empty = new(bits=22).state()
    learner.restore(empty_meta, empty)
    assert (learner.nonzero, learner.touched, learner.events_learned) == (0, 0, 0)


def test_a_state_of_another_kind_is_refused_by_both_names(new: Make) -> None:
    learner = new(bits=BITS)
    learner.learn(STREAM)
    meta, arrays = learner.state()
    with pytest.raises(IncompatibleError, match=r"bits = 12.*bits = 13"):
        new(bits=13).restore(meta, arrays)
    with pytest.raises(IncompatibleError, match=f"'other'.*{learner.name!r}"):
        new(bits=BITS).restore({**meta, "learner": "other"}, arrays)
    with pytest.raises(IncompatibleError, match="page 64"):
        new(bits=BITS).restore(meta, {**arrays, "pages": arrays["pages"] + 1})


def test_flipping_all_labels_flips_all_weights(new: Make) -> None:
    learner, mirror = new(), new()
    learner.learn(STREAM)
    mirror.learn(Batch(STREAM.indptr, STREAM.keys, STREAM.values, 1 - STREAM.labels))
    assert np.count_nonzero(dense(learner)) > 20
    np.testing.assert_allclose(dense(mirror), -dense(learner), atol=1e-6)


def test_what_an_event_weighs_matters(new: Make) -> None:
    light, heavy = new(), new()
    rows = STREAM.indptr, STREAM.keys, STREAM.values, STREAM.labels
    light.learn(Batch(*rows, weights=np.full(len(STREAM), 0.25)))
    heavy.learn(Batch(*rows, weights=np.full(len(STREAM), 4)))
    assert np.abs(dense(heavy)).sum() > 1.2 * np.abs(dense(light)).sum()
    plain, ones = new(), new()
    plain.learn(STREAM)
    ones.learn(Batch(*rows, weights=np.ones(len(STREAM))))
    assert same_bits(plain, ones)


def test_the_bias_is_never_penalised(new: Make) -> None:
    # the subgradient of l1 would throw a weight about, and l2 alone brings none to zero
    exact = new().name in EXACT_ZEROS
    learner = new(l1=1e6 if exact else 0.0, l2=1e6)
    rows = 2000
    bias_and_one_more = np.tile(np.array([0, 77], np.uint64), rows)
    clicks = np.arange(rows) % 10 == 0
    learner.learn(
        Batch(np.arange(0, 2 * rows + 1, 2), bias_and_one_more, np.ones(2 * rows), clicks)
    )
    weights = dense(learner)
    # rda holds every weight near zero, the longer the nearer
    low = -1.4 if learner.name == "rda" else -1.8
    assert np.log(0.1 / 0.9) - 0.4 < weights[0] < low
    assert abs(weights[77]) <= (0 if exact else 1e-3)


def test_keys_collide_by_their_low_bits_and_zero_is_the_bias_alone(new: Make) -> None:
    learner = new(bits=8, l1=0, min_count=0)
    learner.learn(Batch([0, 1], [5 << 8], [1], [1]))
    assert learner.weights()[0].tolist() == [1]
    one, same, other = (learner.score(Batch([0, 1], [key], [1], [0]))[0] for key in (1, 3 << 8, 0))
    assert one == same > 0
    assert other == 0


def test_both_of_two_features_on_one_coordinate_count(new: Make) -> None:
    learner = new(bits=8, l1=0, min_count=0)
    learner.learn(Batch([0, 1], [9], [1], [1]))
    once = learner.score(Batch([0, 1], [9], [1], [0]))[0]
    twice = learner.score(Batch([0, 3], [9, 9 + 256, 10], [1, 1, 1], [0]))[0]
    assert once > 0
    assert twice == pytest.approx(2 * once, rel=1e-6)


def test_nothing_is_a_batch_too(new: Make) -> None:
    learner = new()
    assert learner.learn(Batch([0], [], [], [])).shape == (0,)
    assert learner.learn(Batch([0, 0, 0], [], [], [1, 0])).tolist() == [0.5, 0.5]
    assert (learner.events_learned, learner.touched, learner.nonzero) == (2, 0, 0)
    assert learner.page_weights(np.empty(0, np.int64)).shape == (0, PAGE)
    assert len(learner.touched_pages()) == len(learner.take_changed_pages()) == 0


def test_warm_start_gives_the_weights_and_the_first_steps_keep_them(new: Make) -> None:
    trained = new()
    trained.learn(STREAM)
    coordinates, values = trained.weights()
    learner = new()
    learner.warm_start(coordinates, values, n0=20.0)
    assert np.array_equal(learner.weights()[0], coordinates)
    assert np.array_equal(learner.weights()[1], values)
    assert learner.nonzero == len(values)
    assert learner.take_changed_pages().tolist() == sorted(set((coordinates // PAGE).tolist()))
    np.testing.assert_allclose(learner.predict(STREAM), trained.predict(STREAM), atol=1e-6)
    learner.learn(next(split(STREAM, [5])))
    kept = learner.page_weights(np.arange(2**BITS // PAGE)).reshape(-1)[coordinates]
    assert np.abs(kept - values).max() < 0.2 * np.abs(values).max()
    assert learner.events_learned == 5


def test_warm_start_says_what_is_wrong(new: Make) -> None:
    learner = new()
    with pytest.raises(SettingError, match=r"coordinates must be whole numbers from 0 to 2\^12"):
        learner.warm_start([2**BITS], [1.0])
    with pytest.raises(SettingError, match="values must be 2 finite numbers"):
        learner.warm_start([1, 2], [1.0, np.nan])
    with pytest.raises(SettingError, match="n0 must be >= 0; got -1"):
        learner.warm_start([1], [1.0], n0=-1)


def test_the_learning_rate_follows_the_schedule(new: Make) -> None:
    learner = new(alpha=0.2, schedule="power(r=200,c=1)")
    assert learner.learning_rate == 0.2
    learner.learn(STREAM)
    assert learner.learning_rate == pytest.approx(0.2 / (1 + 600 / 200))


def test_weights_of_pages_that_are_not_there_are_refused(new: Make) -> None:
    with pytest.raises(IncompatibleError, match="pages 0 to 63"):
        new().page_weights(np.array([64]))
