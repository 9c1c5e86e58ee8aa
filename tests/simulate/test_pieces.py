"""Lines are put together as plain Python would."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.kernels.simulation import join_pieces
from ctr.simulate.draws import mix, wheel, zipf
from ctr.simulate.lines import _FIELDS, Pieces
from ctr.simulate.settings import FIELDS
from ctr.simulate.words import Choices


def plain_join(pool, starts, lengths):
    data = pool.tobytes()
    rows = [
        b"".join(data[a : a + n] for a, n in zip(*row, strict=True))
        for row in zip(starts, lengths, strict=True)
    ]
    return b"".join(rows), [0, *np.cumsum([len(row) for row in rows]).tolist()]


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(0, 12), st.integers(1, 6))
def test_join_pieces(data, rows, pieces):
    pool = np.frombuffer(data.draw(st.binary(min_size=1, max_size=80)), np.uint8).copy()
    spans = st.tuples(st.integers(0, len(pool)), st.integers(0, len(pool))).map(sorted)
    drawn = np.array(
        [[data.draw(spans) for _ in range(pieces)] for _ in range(rows)], np.int64
    ).reshape(rows, pieces, 2)
    starts = np.ascontiguousarray(drawn[..., 0])
    lengths = np.ascontiguousarray(drawn[..., 1] - drawn[..., 0])
    content, offsets = join_pieces(pool, starts, lengths)
    assert (content.tobytes(), offsets.tolist()) == plain_join(pool, starts, lengths)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**16 - 1), st.integers(0, 2**64 - 1)), min_size=1))
def test_numbers_and_texts(pairs):
    values = np.array([value for value, _ in pairs], np.int64)
    hashes = np.array([h for _, h in pairs], np.uint64)
    line = Pieces(len(pairs))
    line.choice(Choices(["", "é", "three"]), values % 3)
    line.number(values)
    before = len(line)
    line.text(" ")
    line.hexadecimal(hashes)
    line.drop(before, values % 2 == 0)
    content, offsets = line.join()
    rows = [content[a:b].tobytes() for a, b in pairwise(offsets)]
    for row, (value, h) in zip(rows, pairs, strict=True):
        tail = " " + h.to_bytes(8, "little").hex() if value % 2 else ""
        assert row.decode() == ["", "é", "three"][value % 3] + str(value) + tail


def test_every_field_can_be_written():
    assert tuple(_FIELDS) == FIELDS


def test_zipf_follows_its_law():
    ranks = zipf(np.random.default_rng(1).random(400_000), 10_000, 1.3, 2.0)
    assert ranks.min() == 0
    assert ranks.max() < 10_000
    counts = np.bincount(ranks, minlength=10_000)
    for low, high in ((10, 100), (100, 1000)):
        share = counts[low : low + low // 2].sum() / counts[high : high + high // 2].sum()
        law = np.arange(1, 10_001) + 2.0
        law = law**-1.3
        expected = law[low : low + low // 2].sum() / law[high : high + high // 2].sum()
        assert abs(share / expected - 1) < 0.1


def test_mix_differs_by_seed_and_is_even():
    values = np.arange(20_000)
    assert (mix(values, 1) != mix(values, 2)).all()
    counts = np.bincount((mix(values, 1) % np.uint64(16)).astype(np.int64))
    assert counts.min() > 0.9 * 20_000 / 16


def test_wheel_gives_each_its_share():
    np.testing.assert_array_equal(np.bincount(wheel([1, 2, 1], 100)), [25, 50, 25])
