"""Eight cells at a time do, bit by bit, what one at a time do."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ctr.kernels import cells, ftrl, ftrl_rows, lanes, table

RULES = {"alpha": 0.1, "beta": 1.0, "power": 0.5, "schedule": 0, "rates": np.zeros(0)}


# compiled here and not cached: a cache would not see a change of what is called
@numba.njit
def together(words: Any, places: Any, x: Any, slope: Any, pace: Any, noise: Any, rules: Any) -> Any:
    noises = lanes.numbers() * table.feature_noise(np.uint64(0), np.uint64(1)) + noise
    g, beta, single = lanes.load(x, 0) * slope, np.float32(rules.beta), ftrl.single(pace)
    return ftrl_rows.update_lanes(words, places, 0, g, beta, single, noises, rules)


@numba.njit
def in_turn(words: Any, places: Any, x: Any, slope: Any, pace: Any, noise: Any, rules: Any) -> Any:
    touched = nonzero = 0
    for j in range(len(places)):
        noise_j = table.feature_noise(noise, np.uint64(j))
        more = ftrl_rows.update(words, places[j], slope * x[j], pace, noise_j, rules)
        touched += more[0]
        nonzero += more[1]
    return touched, nonzero


@numba.njit
def weights(words: Any, places: Any, l1: Any, l2: Any, out: Any) -> None:
    z, nd = cells.load_cells(words, places, 0)
    w, _ = ftrl_rows.weights_of(lanes.floats_of(z), nd, l1, l2)
    lanes.store(out, 0, w)


@numba.njit
def has_repeated(words: Any) -> Any:
    return lanes.repeated(lanes.load(words, 0))


@numba.njit
def sum_of(numbers: Any) -> Any:
    return lanes.total(lanes.load(numbers, 0))


@numba.njit
def changed(bits: Any, places: Any) -> Any:
    return cells.all_changed(bits, places, 0)


def some_cells(rng: np.random.Generator, size: float) -> Any:
    """16 cells: new ones, ones free of penalties, and others."""
    made = np.zeros(16, ftrl.CELL)
    made["z"] = rng.normal(0, size, 16) * rng.integers(0, 2, 16)
    made["n"] = rng.exponential(size, 16)
    made["d"] = (1 + rng.exponential(size, 16)) * rng.choice([-1, 1], 16)
    made[rng.random(16) < 0.3] = np.zeros((), ftrl.CELL)
    made["d"][rng.random(16) < 0.1] *= -1
    return made


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([1e-30, 1e-3, 1.0, 50.0, 1e30]),
    l1=st.sampled_from([0.0, 0.5, 3.0]),
    l2=st.sampled_from([0.0, 1.0]),
    slope=st.floats(-100, 100),
    pace=st.sampled_from([1e-3, 10.0, 1e7, 1e60]),
)
def test_eight_updates_at_once_are_eight_in_turn(
    seed: int, size: float, l1: float, l2: float, slope: float, pace: float
) -> None:
    rng = np.random.default_rng(seed)
    rules = ftrl.Rules(**RULES, l1=l1, l2=l2, seed=np.uint64(0))
    at_once = some_cells(rng, size).view(np.uint64)
    one_by_one = at_once.copy()
    places = 2 * rng.permutation(16)[:8].astype(np.uint64)
    x = rng.normal(0, 1, 8).astype(np.float32)
    noise = np.uint64(rng.integers(1 << 63))
    counts = together(at_once, places, x, slope, pace, noise, rules)
    assert counts == in_turn(one_by_one, places, x, slope, pace, noise, rules)
    assert np.array_equal(at_once, one_by_one)
    assert np.isfinite(at_once.view(ftrl.CELL)["d"]).all()


@given(seed=st.integers(0, 2**32), l1=st.sampled_from([0.0, 0.5]), l2=st.sampled_from([0.5, 1.0]))
def test_eight_weights_at_once_are_the_eight_weights(seed: int, l1: float, l2: float) -> None:
    rng = np.random.default_rng(seed)
    made, out = some_cells(rng, 1.0), np.empty(8)
    picked = rng.integers(0, 16, 8)
    weights(made.view(np.uint64), 2 * picked.astype(np.uint64), l1, l2, out)
    signed = made["d"][picked].astype(np.float64)
    wanted = [ftrl.weight(z, d, l1, l2) for z, d in zip(made["z"][picked], signed, strict=True)]
    assert out.tolist() == wanted


@given(st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8), st.integers(0, 63))
def test_a_repeated_coordinate_is_found_wherever_it_is(words: list[int], pair: int) -> None:
    assert has_repeated(np.array(words, np.uint64)) == (len(set(words)) < 8)
    words[pair % 8] = words[pair // 8]
    assert has_repeated(np.array(words, np.uint64)) == (len(set(words)) < 8)


def test_the_sum_is_added_by_halves() -> None:
    numbers = np.array([1e16, 1.0, -1e16, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert sum_of(numbers) == ((1e16 + 2.0) + (-1e16 + 4.0)) + ((1.0 + 3.0) + (1.0 + 5.0))


@given(st.lists(st.integers(0, 255), min_size=8, max_size=8), st.sets(st.integers(0, 7)))
def test_pages_are_changed_only_if_all_are(pages: list[int], missing: set[int]) -> None:
    bits = [True] * 256
    for k in missing:
        bits[pages[k]] = False
    packed = np.packbits(bits, bitorder="little").view(np.uint64)
    places = np.array(pages, np.uint64) * np.uint64(2 * table.PAGE)
    assert changed(packed, places) == int(not missing)
