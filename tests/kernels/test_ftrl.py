"""The scalar functions below FTRL-Proximal: cells, weights, coordinates, randomized rounding."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from ctr.kernels import ftrl, ftrl_rows, table
from tests import naive

floats32 = st.floats(0, float(np.finfo(np.float32).max), width=32)
bits64 = st.integers(0, 2**64 - 1)


@given(floats32, floats32, st.booleans())
def test_a_cell_s_second_word_keeps_n_and_d_and_the_sign(n: float, d: float, free: bool) -> None:
    signed = math.copysign(d, -1.0 if free else 1.0)
    word = np.uint64(ftrl.pack(np.float32(n), np.float32(signed)))
    assert ftrl.n_of(word) == n
    assert ftrl.d_of(word) == signed
    assert math.copysign(1, ftrl.d_of(word)) == math.copysign(1, signed)
    cell = np.zeros(1, ftrl.CELL)
    cell.view(np.uint64)[1] = word
    assert (cell["n"][0], cell["d"][0]) == (n, signed)


@given(
    w=st.floats(-50, 50).filter(lambda w: abs(w) > 1e-3),
    d=st.floats(0.1, 1e6),
    l1=st.floats(0, 10),
    l2=st.floats(0, 10),
    free=st.booleans(),
)
def test_z_of_weight_undoes_weight(w: float, d: float, l1: float, l2: float, free: bool) -> None:
    d = -d if free else d
    z = ftrl.z_of_weight(w, 123.0, d, l1, l2)
    assert abs(ftrl.weight(z, d, l1, l2) - w) <= 1e-9 * abs(w)
    if free:
        assert z == -w * -d


@given(z=st.floats(-20, 20), d=st.floats(0, 1e6), l1=st.floats(0, 10), l2=st.floats(0, 10))
def test_z_of_no_weight_stays_within_l1(z: float, d: float, l1: float, l2: float) -> None:
    found = ftrl.z_of_weight(0.0, z, d, l1, l2)
    assert ftrl.weight(found, d, l1, l2) == 0
    assert found == (z if abs(z) <= l1 else math.copysign(l1, z))


@given(key=bits64, bits=st.integers(1, 32))
def test_coordinates_are_low_bits_and_0_is_the_bias_alone(key: int, bits: int) -> None:
    mask = np.uint64(2**bits - 1)
    assert table.coordinate(np.uint64(key), mask) == naive.coordinate(key, bits)
    high = np.uint64(key >> bits << bits)
    assert table.coordinate(high, mask) == (0 if high == 0 else 1)
    assert table.coordinate(np.uint64(0), mask) == 0


@numba.njit  # not cached: the cache would not see a change of what is called
def roundings(x: Any, seed: Any, repeats: Any, out: Any) -> None:
    for t in range(len(out)):
        noise = table.event_noise(seed, t // repeats)
        noise_j = table.feature_noise(noise, np.uint64(t % repeats))
        out[t] = table.round_randomly(x, noise_j)


@given(
    x=st.floats(2**-100, 1e30),
    seed=bits64,
    repeats=st.sampled_from([1, 1, 7]),
)
def test_rounding_goes_to_a_neighbour_and_is_right_on_average(
    x: float, seed: int, repeats: int
) -> None:
    out = np.empty(7000, np.float32)
    roundings(x, np.uint64(seed), repeats, out)
    below = np.float32(x)
    if float(below) > x:
        below = np.nextafter(below, np.float32(0))
    above = np.nextafter(below, np.float32(np.inf))
    assert set(out.tolist()) <= {float(below), float(above)}
    share = (x - float(below)) / (float(above) - float(below))
    # six standard deviations of a mean of 7000 draws
    assert abs((out == above).mean() - share) < 6 * 0.5 / math.sqrt(7000)


@given(n=floats32, seed=bits64)
def test_a_float32_is_not_rounded(n: float, seed: int) -> None:
    assume(n == 0 or n >= float(np.finfo(np.float32).tiny))
    assert table.round_randomly(float(n), np.uint64(seed)) == n


@given(st.floats(-1e308, 1e308))
def test_the_logistic_function_is_defined_everywhere(score: float) -> None:
    p = ftrl_rows.logistic(score)
    assert 0 <= p <= 1
    assert abs(p - naive.logistic(score)) < 1e-15


@given(st.lists(st.integers(0, 255), max_size=50))
def test_marking_notes_each_page_and_no_other(numbers: list[int]) -> None:
    arrays = table.Pages(
        words=np.zeros((256 * 64, 2), np.uint64),
        mask=np.uint64(2**14 - 1),
        changed=np.zeros(4, np.uint64),
        counts=np.zeros(2, np.int64),
    )
    table.mark_pages(arrays, np.array(numbers, np.int64))
    noted = np.unpackbits(arrays.changed.view(np.uint8), bitorder="little")
    assert set(np.flatnonzero(noted).tolist()) == set(numbers)
    for page in range(256):
        found = table.is_changed(arrays.changed, np.uint64(page * 64 + 63))
        assert found == (page in numbers)
