"""Rounding to q2.13 and the bytes of pages, against plain Python."""

from __future__ import annotations

import math
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.kernels import encoding

# the first call compiles
relaxed = settings(deadline=None)

GRID = 2.0**-13
seeds = st.integers(0, 2**64 - 1)
coordinates = st.integers(0, 2**32 - 1)
small = st.floats(-4, 4, width=32, exclude_min=True, exclude_max=True)


def mix64_twin(x: int) -> int:
    """SplitMix64, from its description: add the golden gamma, then two multiply-xorshifts."""
    ones = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & ones
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & ones
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & ones
    return x ^ (x >> 31)


def round_twin(w: float, coordinate: int, seed: int) -> float:
    if abs(w) >= 4:
        return w
    (bits,) = struct.unpack("<I", struct.pack("<f", w))
    draw = (mix64_twin(mix64_twin(seed) ^ (coordinate << 32 | bits)) >> 11) / 2**53
    below = math.floor(w / GRID)
    return (below + (draw < w / GRID - below)) * GRID


def structure_twin(pages: dict[int, list[int]]) -> bytes:
    out, previous = bytearray(), -1
    for page, listed in sorted(pages.items()):
        gap, previous = page - previous - 1, page
        while gap >= 128:
            out.append(gap % 128 + 128)
            gap //= 128
        out += bytes([gap, len(listed)])
        if len(listed) < 8:
            out += bytes(sorted(listed))
        else:
            out += sum(1 << j for j in listed).to_bytes(8, "little")
    return bytes(out)


def rounded(w: float, coordinate: int, seed: int) -> float:
    return float(encoding.round_weight(np.float32(w), np.uint64(coordinate), np.uint64(seed)))


def structure(pages: dict[int, list[int]]) -> np.ndarray:
    ids = np.array(sorted(pages), np.int64)
    masks = np.array([sum(1 << j for j in pages[i]) for i in sorted(pages)], np.uint64)
    bound = np.empty(len(ids), np.int64)
    encoding.structure_bound(masks, bound)
    out = np.zeros(int(bound.sum()), np.uint8)
    return out[: encoding.encode_structure(ids, masks, out)]


def decode(data: np.ndarray, pages: int, limit: int = 2**26):
    ids, masks = np.zeros(pages, np.int64), np.zeros(pages, np.uint64)
    found = encoding.decode_structure(data, 0, -1, limit, ids, masks, True)
    return found[:2], ids, masks


page_sets = st.dictionaries(
    st.integers(0, 2**26 - 1), st.lists(st.integers(0, 63), unique=True), max_size=12
)


@relaxed
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), coordinates, seeds)
def test_rounding_is_the_specified_one(w, coordinate, seed):
    assert rounded(w, coordinate, seed) == round_twin(w, coordinate, seed)


@relaxed
@given(small, coordinates, seeds)
def test_a_rounded_weight_is_a_neighbour_on_the_grid(w, coordinate, seed):
    got = rounded(w, coordinate, seed)
    assert abs(got - w) < GRID
    assert (got / GRID).is_integer()


@relaxed
@given(st.integers(-32767, 32767), coordinates, seeds)
def test_a_weight_on_the_grid_stays(n, coordinate, seed):
    assert rounded(n * GRID, coordinate, seed) == n * GRID


@relaxed
@given(st.floats(4, 2.0**100, width=32), st.sampled_from([-1, 1]), coordinates, seeds)
def test_nothing_is_clipped(size, sign, coordinate, seed):
    assert rounded(sign * size, coordinate, seed) == sign * size


@pytest.mark.parametrize("w", [0.3 * GRID, -0.71 * GRID, 1.23456, -3.99993, 2.5 * GRID])
def test_rounding_is_unbiased(w):
    w = float(np.float32(w))
    draws = [rounded(w, 17, seed) for seed in range(20_000)]
    share = w / GRID - math.floor(w / GRID)
    deviation = GRID * math.sqrt(share * (1 - share) / len(draws))
    assert abs(np.mean(draws) - w) < 5 * deviation + 1e-12


def test_coordinates_round_independently():
    up = np.array([[rounded(0.5 * GRID, c, s) > 0 for c in range(200)] for s in range(200)])
    assert abs(up.mean() - 0.5) < 0.02
    assert abs(up.mean(axis=0) - 0.5).max() < 0.25
    assert abs(up.mean(axis=1) - 0.5).max() < 0.25


def test_round_pages_drops_zeros_and_keeps_what_is_exact():
    weights = np.zeros((2, 64), np.float32)
    weights[0, 0], weights[0, 5], weights[1, 63] = 0.1, -0.0, -7.3
    exact = np.array([1, 0], np.uint64)
    ids = np.array([0, 9], np.int64)
    masks, values, finite = encoding.round_pages(ids, weights, exact, True, np.uint64(1))
    assert finite
    assert masks.tolist() == [1, 1 << 63]
    assert values.tolist() == [np.float32(0.1), np.float32(-7.3)]
    weights[1, 1] = np.nan
    assert not encoding.round_pages(ids, weights, exact, True, np.uint64(1))[2]


@relaxed
@given(page_sets)
def test_structure_is_the_specified_one_and_comes_back(pages):
    data = structure(pages)
    assert data.tobytes() == structure_twin(pages)
    (wrong, entries), ids, masks = decode(data, len(pages))
    assert (wrong, entries) == (0, sum(map(len, pages.values())))
    assert ids.tolist() == sorted(pages)
    assert masks.tolist() == [sum(1 << j for j in pages[i]) for i in sorted(pages)]


@relaxed
@given(st.binary(max_size=80), st.integers(0, 40))
def test_any_bytes_are_read_or_refused(data, pages):
    # a guard behind the bytes: a kernel that read past them would take these for pages
    guarded = np.frombuffer(data + bytes(64), np.uint8)[: len(data)]
    (wrong, entries), ids, masks = decode(guarded, pages, limit=1000)
    if wrong:
        assert entries == 0
    else:
        assert (np.diff(ids) > 0).all()
        assert pages == 0 or (ids[0] >= 0 and ids[-1] < 1000)
        assert entries == sum(int(mask).bit_count() for mask in masks)


@relaxed
@given(page_sets.filter(bool), st.randoms(use_true_random=False))
def test_a_cut_structure_is_refused(pages, randomly: random.Random):
    data = structure(pages)
    (wrong, _), _, _ = decode(data[: randomly.randrange(len(data))], len(pages))
    assert wrong == encoding.TRUNCATED
    (wrong, _), _, _ = decode(np.append(data, np.uint8(0)), len(pages))
    assert wrong == encoding.TRAILING


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ([0, 65], encoding.BAD_COUNT),
        ([0, 2, 5, 5], encoding.NOT_ASCENDING),
        ([0, 2, 9, 5], encoding.NOT_ASCENDING),
        ([0, 1, 64], encoding.NOT_ASCENDING),
        ([0, 9, 255, 1, 1, 0, 0, 0, 0, 0], encoding.NOT_ASCENDING),
        ([0xE8, 0x07, 0], encoding.TOO_LARGE),
        ([255, 255, 255, 255, 255, 255, 0], encoding.TRUNCATED),
        ([255, 255, 255, 255, 127, 0], encoding.TOO_LARGE),
    ],
)
def test_what_is_wrong_is_said(data, wrong):
    assert decode(np.array(data, np.uint8), 1, limit=1000)[0][0] == wrong
