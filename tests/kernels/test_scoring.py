"""Looking up and scoring in sparse pages, against dictionaries and Python floats."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.kernels import pages, scoring, staging
from tests.model.twins import digest, is_q213, pages_from, stored

# the first call compiles
relaxed = settings(deadline=None)

BITS = 9
finite = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-50, max_value=50)
on_grid = st.integers(-32767, 32767).map(lambda n: n / 8192)
models = st.dictionaries(
    st.integers(0, 2**BITS - 1), st.one_of(on_grid, finite).filter(bool), max_size=80
)
"""Of coordinates to weights, wide and narrow."""

keys = st.integers(0, 2**64 - 1)
rows = st.lists(st.lists(st.tuples(keys, finite), max_size=6), max_size=12)


shifts = st.integers(2, BITS)


def empty(shift: int, bits: int = BITS, lines: int = 200) -> pages.Arrays:
    """The arrays of a model without weights, in stored pages of 2^shift coordinates."""
    layout = np.zeros(8, np.uint64)
    layout[pages.SHIFT] = shift
    memory = np.zeros(64 * (lines + 1), np.uint8)
    start = -memory.ctypes.data % 64
    octets = memory[start : start + 64 * lines]
    return pages.Arrays(
        layout, np.zeros(2 ** (bits - shift), np.uint32), octets, octets.view(np.int16)
    )


def packing() -> np.ndarray:
    return np.array([staging.LINE] + staging.OPEN * [0])


def listing(weights: dict[int, float]) -> tuple:
    travelling = pages_from(weights)
    return travelling.ids, travelling.masks, travelling.values, False


def build(weights: dict[int, float], shift: int = 7) -> pages.Arrays:
    """The arrays of a model: everything placed into an empty one."""
    model, nothing = empty(shift), (np.empty(0, np.int64), np.empty(0, np.uint32))
    made = empty(shift)
    staging.lay(model, *listing(weights), made, packing(), *nothing, True, True)
    return made


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
@given(models, shifts)
def test_every_coordinate_is_found(weights, shift):
    model = build(weights, shift)
    assert stored(model) == weights
    for coordinate in range(2**BITS):
        got = scoring.weight_at(model, np.uint64(coordinate))
        assert got == np.float32(weights.get(coordinate, 0.0))


@relaxed
@given(models, models, shifts, shifts)
def test_pages_of_one_size_become_pages_of_another(weights, changes, shift, other):
    """With a patch applied on the way, and its effect on count and digest told."""
    model, made = build(weights, shift), empty(other)
    nothing = np.empty(0, np.int64), np.empty(0, np.uint32)
    cleared = dict.fromkeys(list(weights)[::2], 0.0) | changes
    patch = listing(cleared)
    measured = packing()
    told = staging.lay(model, *patch, empty(other), measured, *nothing, True, False)
    again = packing()
    assert staging.lay(model, *patch, made, again, *nothing, True, True) == told
    assert again.tolist() == measured.tolist()
    after = {c: v for c, v in (weights | cleared).items() if v}
    assert stored(made) == after
    wide = sum(not is_q213(v) for v in after.values()) - sum(map(is_wide, weights.values()))
    change = (digest(after) - digest(weights)) % 2**64
    assert told[:3] == (len(after) - len(weights), wide, change)


def is_wide(value: float) -> bool:
    return not is_q213(value)


@relaxed
@given(models, rows, shifts, finite)
def test_score_is_the_sum_of_products(weights, rows, shift, base):
    indptr = np.cumsum([0] + [len(row) for row in rows])
    flat = [pair for row in rows for pair in row]
    keys = np.array([key for key, _ in flat], np.uint64)
    values = np.array([x for _, x in flat], np.float32)
    mask, model = np.uint64(2**BITS - 1), build(weights, shift)
    out, shifted = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    scoring.score(indptr, keys, values, mask, model, out)
    scoring.score_rows(indptr, keys, values, float(base), mask, model, shifted)
    for got, more, row in zip(out, shifted, rows, strict=True):
        wanted, based = 0.0, float(base)
        for key, x in row:
            product = float(np.float32(weights.get(coordinate_twin(key), 0.0))) * x
            wanted, based = wanted + product, based + product
        assert got == np.float32(wanted)
        assert more == np.float32(based)
    each = np.empty(len(keys), np.float32)
    scoring.weights_at(keys, mask, model, each)
    assert each.tolist() == [
        float(np.float32(weights.get(coordinate_twin(int(key)), 0.0))) for key in keys
    ]


@pytest.mark.parametrize("shift", [9, 14])
@pytest.mark.parametrize("count", [1, 3, 64, 65, 66, 127, 300, 512])
def test_a_page_with_far_too_many_weights(shift, count):
    """A cluster, which hashing does not make: found by halving, in more lines than two."""
    rng = np.random.default_rng(count)
    weights = {int(c): 0.5 for c in rng.choice(512, count, replace=False)}
    nothing = np.empty(0, np.int64), np.empty(0, np.uint32)
    model = empty(shift, bits=14)
    staging.lay(empty(shift, 14), *listing(weights), model, packing(), *nothing, True, True)
    assert stored(model) == weights
    for c in range(600):
        assert scoring.weight_at(model, np.uint64(c)) == weights.get(c, 0.0)


def test_the_kernels_say_the_same_as_plain_python():
    """The same lookups with the JIT off, in a process of its own."""
    program = """
import numpy as np
from ctr.kernels import scoring
from ctr.model.sparse import SparseModel
total = 0.0
for bits, step in ((6, 1), (8, 3), (12, 40), (14, 900)):
    model = SparseModel(bits)
    for k in (2, 1):
        dense = np.zeros(2**bits, np.float32)
        dense[:: k * step] = np.arange(len(dense[:: k * step]), dtype=np.float32) / 64
        model.apply(np.arange(2**bits // 64), dense.reshape(-1, 64))
    keys = np.arange(2**bits, dtype=np.uint64)
    assert model.weights_at(keys).tolist() == dense.tolist(), bits
    assert model.pages().dense().sum() == dense.sum()
    total += float(model.weights_at(keys).sum()) + model.digest % 1000
print(total)
"""
    said = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for disabled in ("0", "1")
    ]
    assert said[0] == said[1] != ""


@relaxed
@given(st.lists(finite | st.sampled_from([-1e30, 1e30]), max_size=20))
def test_probabilities(logits):
    got = scoring.probabilities(np.array(logits, np.float32))
    for p, logit in zip(got, logits, strict=True):
        wanted = 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
        assert p == np.float32(wanted)
