"""Looking up and scoring in sparse pages, against dictionaries and Python floats."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.kernels import pages, scoring, staging

# the first call compiles
relaxed = settings(deadline=None)

BITS = 9
finite = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-50, max_value=50)
on_grid = st.integers(-32767, 32767).map(lambda n: n / 8192)
models = st.dictionaries(
    st.integers(0, 2**BITS - 1), st.one_of(on_grid, finite).filter(bool), max_size=80
)
keys = st.integers(0, 2**64 - 1)
rows = st.lists(st.lists(st.tuples(keys, finite), max_size=6), max_size=12)


def build(weights: dict[int, float]):
    """The arrays of a model: everything placed into an empty one."""
    count = 2**BITS // 64
    directory = np.zeros(count, pages.ENTRY)
    arena = np.zeros(2**BITS, np.float32)
    ids = np.arange(count)
    masks, values = np.zeros(count, np.uint64), []
    for coordinate, value in sorted(weights.items()):
        masks[coordinate // 64] |= np.uint64(1 << coordinate % 64)
        values.append(value)
    listed = (ids, masks, np.array(values, np.float32), False)
    model = (directory, arena.view(np.int16), arena)
    new = np.empty(count, pages.ENTRY)
    staging.plan(*model, *listed, new)
    staging.place(*model, *listed, new, *model[1:], 0)
    staging.commit(directory, ids, new)
    return model


def coordinate_twin(key: int) -> int:
    """Design: a key's low bits; 0 belongs to the bias, any other key on 0 moves to 1."""
    low = key % 2**BITS
    return 1 if low == 0 and key != 0 else low


@relaxed
@given(st.integers(0, 2**64 - 1))
def test_popcount(word):
    assert pages.popcount(np.uint64(word)) == word.bit_count()


@relaxed
@given(st.floats(width=32, allow_nan=False))
def test_narrow_is_what_int16_holds(value):
    scaled = value * 8192
    fits = math.isfinite(scaled) and scaled.is_integer() and abs(scaled) <= 32767
    assert pages.is_narrow(np.float32(value)) == fits


@relaxed
@given(models)
def test_every_coordinate_is_found(weights):
    model = build(weights)
    for coordinate in range(2**BITS):
        got = pages.weight_at(*model, np.uint64(coordinate))
        assert got == np.float32(weights.get(coordinate, 0.0))


@relaxed
@given(models, rows)
def test_score_is_the_sum_of_products(weights, rows):
    indptr = np.cumsum([0] + [len(row) for row in rows])
    flat = [pair for row in rows for pair in row]
    out = np.empty(len(rows), np.float32)
    scoring.score(
        indptr,
        np.array([key for key, _ in flat], np.uint64),
        np.array([x for _, x in flat], np.float32),
        np.uint64(2**BITS - 1),
        *build(weights),
        out,
    )
    for got, row in zip(out, rows, strict=True):
        wanted = 0.0
        for key, x in row:
            wanted += float(np.float32(weights.get(coordinate_twin(key), 0.0))) * x
        assert got == np.float32(wanted)


@relaxed
@given(st.lists(finite | st.sampled_from([-1e30, 1e30]), max_size=20))
def test_probabilities(logits):
    got = scoring.probabilities(np.array(logits, np.float32))
    for p, logit in zip(got, logits, strict=True):
        wanted = 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
        assert p == np.float32(wanted)
