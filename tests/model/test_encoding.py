"""Pages as bytes: against a plain-Python encoder, and with bytes that nobody encoded."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.errors import DamagedFileError, IncompatibleError, SettingError
from ctr.model.encoding import decode, encode, read_header, split
from ctr.model.pages import ENCODINGS, Pages, round_pages

from . import twins
from .twins import listed_in, pages_from

relaxed = settings(deadline=None)
encodings = st.sampled_from(ENCODINGS)
LIMIT = 2**twins.BITS // 64
contents = st.dictionaries(twins.coordinate, twins.weight, max_size=150)
patches = st.dictionaries(twins.coordinate, twins.weight | st.just(0.0), max_size=150)


@relaxed
@given(patches, encodings, st.integers(0, 2**40))
def test_bytes_are_the_specified_ones_and_come_back(listed, encoding, version):
    data = encode(pages_from(listed), encoding, version)
    assert data == twins.encode(twins.pages_of(listed), encoding, version)
    header, pages = decode(data, LIMIT)
    assert header.version == version
    assert listed_in(pages) == listed


@relaxed
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(DamagedFileError):
        decode(data, LIMIT)


@relaxed
@given(patches.filter(bool), encodings, st.data())
def test_a_changed_byte_is_read_or_refused(listed, encoding, data):
    encoded = bytearray(encode(pages_from(listed), encoding, 1))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        _, pages = decode(bytes(encoded), LIMIT)
    except (DamagedFileError, IncompatibleError):
        return
    assert (np.diff(pages.ids) > 0).all()
    assert pages.ids.max(initial=0) < LIMIT
    assert len(pages.values) == np.bitwise_count(pages.masks).sum()
    assert np.isfinite(pages.values).all()


@relaxed
@given(patches.filter(bool), encodings, st.data())
def test_a_cut_record_is_refused(listed, encoding, data):
    encoded = encode(pages_from(listed), encoding, 1)
    with pytest.raises(DamagedFileError):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))], LIMIT)


def record(columns: list[tuple[str, str, bytes]], **header) -> bytes:
    """A record with one page that lists the coordinates 1 and 3."""
    structure = bytes([0, 2, 1, 3])
    described = [{"name": n, "encoding": e, "bytes": len(b)} for n, e, b in columns]
    text = json.dumps(
        {"version": 1, "pages": 1, "entries": 2, "structure": 4, "columns": described} | header
    ).encode()
    body = b"".join(data for _, _, data in columns)
    return struct.pack("<I", len(text)) + text + structure + body


W = ("w", "float32", struct.pack("<2f", 0.5, -6))


def test_a_later_writer_may_add_columns_and_fields():
    later = record([("n", "u4.12", b"abcd"), W, ("z", "?", b"")], unit="logit")
    assert decode(later, LIMIT)[1].values.tolist() == [0.5, -6]


def test_an_unknown_encoding_of_weights_is_refused_by_name():
    with pytest.raises(IncompatibleError, match=r"'q1.6'; this version reads q2.13, float32"):
        decode(record([("w", "q1.6", b"ab")]), LIMIT)


@pytest.mark.parametrize(
    "bad",
    [
        record([("n", "float32", bytes(8))]),
        record([("w", "float32", bytes(4))]),
        record([("w", "float32", bytes(12))]),
        record([("w", "float32", struct.pack("<2f", 1, float("nan")))]),
        record([("w", "q2.13", struct.pack("<2h", 1, -32768))]),
        record([("w", "q2.13", struct.pack("<2hf", 1, 2, 3.0))]),
        record([("w", "q2.13", struct.pack("<2hf", 1, -32768, float("inf")))]),
        record([W], entries=3),
        record([W], entries=10**15),
        record([W], pages=10**15),
        record([W], pages=-1),
        record([W], structure=3),
        record([W], part=1, parts=1),
        record([("w", "float32", bytes(8)), ("x", "float32", b"")], version="one"),
        b"\xff\xff\xff\xff{}",
        b"\x01\x00\x00\x00\xff",
    ],
)
def test_damage_is_refused(bad):
    with pytest.raises(DamagedFileError):
        decode(bad, LIMIT)


def test_a_page_outside_the_table_is_refused():
    data = encode(pages_from({64 * LIMIT: 1.0}), "q2.13")
    with pytest.raises(DamagedFileError, match="outside the table"):
        decode(data, LIMIT)


@relaxed
@given(patches, encodings, st.integers(600, 1500))
def test_parts_are_below_the_limit_and_join_again(listed, encoding, limit):
    pages = pages_from(listed)
    parts = split(pages, encoding, limit)
    assert all(len(encode(p, encoding, 2**40, i, len(parts))) < limit for i, p in enumerate(parts))
    assert listed_in(Pages.joined(parts)) == listed
    assert [i for part in parts for i in part.ids] == pages.ids.tolist()


@relaxed
@given(contents)
def test_dense_and_back(weights):
    pages = pages_from(weights)
    again = Pages.from_dense(pages.ids, pages.dense())
    assert listed_in(again) == weights


@relaxed
@given(patches, st.sets(st.integers(0, LIMIT - 1)))
def test_only_some_pages(listed, kept):
    pages = pages_from(listed)
    some = pages.only(np.isin(pages.ids, list(kept)))
    assert listed_in(some) == {c: v for c, v in listed.items() if c // 64 in kept}


def test_rounded_pages_keep_exact_coordinates_and_float32():
    weights = np.full((3, 64), 0.123456789, np.float32)
    weights[1] = 0
    rounded = round_pages([0, 2, 9], weights, "q2.13", seed=3, exact=[0, 64 * 9 + 63, 10**6])
    got = listed_in(rounded)
    off = {c for c, v in got.items() if not (v * 8192).is_integer()}
    assert off == {0, 64 * 9 + 63}
    assert rounded.masks[1] == 0
    assert max(abs(v - 0.123456789) for v in got.values()) < 2**-13
    assert set(listed_in(round_pages([0], weights[:1], "float32")).values()) == {weights[0, 0]}


def test_bad_arguments_say_so():
    with pytest.raises(SettingError, match=r"weights must be of shape \(2, 64\); got \(1, 64\)"):
        Pages.from_dense([0, 1], np.zeros((1, 64)))
    with pytest.raises(SettingError, match=r"encoding must be one of q2\.13, float32; got 'int8'"):
        round_pages([0], np.zeros((1, 64)), "int8")
    with pytest.raises(SettingError, match="finite numbers"):
        Pages.from_dense([0], np.full((1, 64), np.inf))


def test_header_can_be_read_alone():
    data = encode(pages_from({5: 1.0}), "q2.13", 77, 2, 3)
    header, end = read_header(data)
    assert (header.version, header.part, header.parts) == (77, 2, 3)
    assert data[end:] == bytes([0, 1, 5]) + struct.pack("<h", 8192)
