"""What the publishing side remembers: changes since last asked, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.model.image import Image

from . import twins
from .twins import listed_in

updates = st.lists(
    st.dictionaries(twins.coordinate, twins.weight | st.just(0.0), max_size=40), max_size=6
)


def dense(weights: twins.Weights, pages: list[int]) -> np.ndarray:
    return np.array([[weights.get(64 * p + j, 0.0) for j in range(64)] for p in pages], np.float32)


@settings(deadline=None)
@given(updates, st.lists(st.booleans(), min_size=6, max_size=6))
def test_changes_are_the_difference_since_last_taken(updates, taken):
    image = Image(twins.BITS, "float32")
    now: twins.Weights = {}
    before: twins.Weights = {}
    touched: set[int] = set()
    for changes, take in zip(updates, taken, strict=False):
        now = {c: v for c, v in (now | changes).items() if v}
        pages = sorted({c // 64 for c in changes})
        image.update(pages, dense(now, pages).reshape(-1, 64))
        touched |= set(changes)
        assert listed_in(image.model.pages()) == now
        if take:
            patch = listed_in(image.take_changes())
            differ = {c: now.get(c, 0.0) for c in now | before if now.get(c) != before.get(c)}
            assert patch.items() >= differ.items()
            assert set(patch) <= touched
            assert all(patch[c] == now.get(c, 0.0) for c in patch)
            before, touched = now, set()
    assert image.model.digest == twins.digest(now)


def test_an_idle_weight_is_no_change_although_it_was_rounded():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (4, 64)).astype(np.float32)
    image = Image(twins.BITS, "q2.13", seed=5, exact=[0])
    image.update([0, 1, 2, 3], weights)
    assert len(image.take_changes().values) == 256
    image.update([0, 1, 2, 3], weights)
    assert len(image.take_changes()) == 0
    weights[2, 7] += 1
    image.update([2], weights[2:3])
    assert image.take_changes().coordinates().tolist() == [2 * 64 + 7]
    assert image.model.weights()[1][0] == weights[0, 0]
    assert np.abs(image.model.pages().dense() - weights).max() < 2**-13


def test_a_weight_that_is_no_number_is_refused_and_changes_nothing():
    image = Image(twins.BITS)
    image.update([1], np.full((1, 64), 0.5))
    digest = image.model.digest
    with pytest.raises(SettingError, match="weights must be finite numbers"):
        image.update([1], np.full((1, 64), np.nan))
    assert image.model.digest == digest
    assert len(image.take_changes()) == 1
