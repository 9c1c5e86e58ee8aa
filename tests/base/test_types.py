"""Positions and batches: what they hold and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.types import Batch, Position

GOOD = {
    "indptr": [0, 2, 2, 3],
    "keys": [1, 2**64 - 1, 3],
    "values": [1.0, -0.5, 2.0],
    "labels": [0, 1, 1],
    "weights": [1.0, 0.5, 3.0],
}


@given(st.text(max_size=30), st.integers(0, 2**62))
def test_position_survives_json(segment, offset):
    position = Position(segment, offset)
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


def test_positions_are_ordered_by_segment_then_offset():
    positions = [Position("b", 1), Position("a", 9), Position("a", 10)]
    assert sorted(positions) == [Position("a", 9), Position("a", 10), Position("b", 1)]


def test_batch_converts_what_it_is_given():
    batch = Batch(**GOOD)
    assert len(batch) == 3
    dtypes = [getattr(batch, name).dtype.name for name in GOOD]
    assert dtypes == ["int64", "uint64", "float32", "float32", "float32"]
    assert batch.keys[1] == 2**64 - 1


def test_batch_takes_strided_arrays():
    values = np.arange(12, dtype=np.float32)[::4]
    assert Batch(**GOOD | {"values": values}).values.flags.c_contiguous


def test_an_empty_batch_is_a_batch():
    assert len(Batch([0], [], [], [])) == 0


def test_weights_may_be_absent():
    assert Batch(**GOOD | {"weights": None}).weights is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("indptr", [0, 2, 3]),
        ("indptr", [1, 2, 2, 3]),
        ("indptr", [0, 2, 2, 4]),
        ("indptr", [0, 3, 2, 3]),
        ("indptr", []),
        ("values", [1.0, 2.0]),
        ("values", [1.0, np.nan, 2.0]),
        ("values", [1.0, np.inf, 2.0]),
        ("labels", [0, 1, 0.5]),
        ("labels", [0, 1, np.nan]),
        ("labels", [0, 1, 2]),
        ("weights", [1.0, 1.0]),
        ("weights", [1.0, 0.0, 1.0]),
        ("weights", [1.0, -1.0, 1.0]),
        ("weights", [1.0, np.inf, 1.0]),
    ],
)
def test_batch_refuses(name, value):
    with pytest.raises(SettingError, match=f"^{name} must be ") as caught:
        Batch(**GOOD | {name: value})
    assert caught.value.key == name
