"""Keys of a model topic, and what a publish consists of."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.errors import ModelTopicError
from ctr.model.encoding import decode
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.records import PART_BYTES, Key, Layout, publish_records
from ctr.settings import Features

numbers = st.integers(0, 10**9)


@given(st.sampled_from(["Block", "Delta", "Held"]), numbers, numbers, numbers)
def test_keys_come_back(kind, table, number, part):
    key = Key(kind, table, number, part)
    assert key.to_bytes() == f"{kind}/{table}/{number}/{part}".encode()
    assert Key.parse(key.to_bytes()) == key


@given(st.binary(max_size=12))
def test_any_key_is_read_passed_over_or_refused(key):
    try:
        parsed = Key.parse(key)
    except ModelTopicError:
        assert key.decode("utf-8", "replace")[0].isupper()
    else:
        assert parsed is None or parsed.to_bytes() == key


@pytest.mark.parametrize("key", [None, b"", b"block/0/1/0", b"claim/1", b"x", b"1", b"\xe9"])
def test_passed_over(key):
    assert Key.parse(key) is None


@pytest.mark.parametrize(
    "key", [b"Block", b"Block/0/1", b"Block/0/-1/0", b"Block/0/1/x", b"Block/0/99999999999/0"]
)
def test_a_known_kind_with_other_numbers_is_refused(key):
    with pytest.raises(ModelTopicError, match="records of kind 'Block'"):
        Key.parse(key)


@pytest.mark.parametrize("ring", [1, 3, 32])
@pytest.mark.parametrize("bits", [8, 14, 22])
def test_any_ring_of_versions_rewrites_every_block(bits, ring):
    layout = Layout.of(bits, ring=ring)
    for first in (1, 7):
        turns = [block for v in range(first, first + ring) for block in layout.turn(v)]
        assert sorted(turns) == list(range(layout.blocks))
    ends = [layout.block_range(block) for block in range(layout.blocks)]
    assert ends[0][0] == 0
    assert ends[-1][1] == 2**bits // 64
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))


def test_a_publish_is_its_delta_its_blocks_in_turn_and_the_manifest():
    image = Image(14, "float32")
    image.update(range(256), np.ones((256, 64)))
    manifest = Manifest(version=5, spec=Features(bits=14), blocks=256, ring=32, whole=False)
    image.take_changes()
    image.update([17], np.full((1, 64), 2.0))
    records = list(publish_records(manifest, image.model, image.take_changes()))
    keys = [key.decode() for key, _ in records]
    assert keys[0] == "Delta/0/5/0"
    assert keys[1:-1] == [f"Block/0/{b}/0" for b in range(5, 256, 32)]
    assert keys[-1] == "Manifest"
    assert decode(records[0][1], 256)[1].ids.tolist() == [17]


def test_a_large_version_is_written_in_parts_of_bounded_size():
    image = Image(22, "float32")
    pages = 2**22 // 64
    image.update(range(pages), np.full((pages, 64), 4.5))
    changes = image.take_changes()
    manifest = Manifest(version=5, spec=Features(bits=22), blocks=4, ring=2, encoding="float32")
    for whole in (True, False):
        described = manifest.describing(image.model, whole=whole)
        records = list(publish_records(described, image.model, changes))
        assert max(len(value) for _, value in records) <= PART_BYTES
        assert sum(len(value) for _, value in records) > 2**22 * 4
        assert any(key.endswith(b"/3") for key, _ in records)
    assert isinstance(changes, Pages)
