"""The record frames against kafka-python's own builder and reader."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from ctr.kernels.frames import HEADER, HEADER_BYTES, batch_headers, record_spans, varint
from ctr.types import PADDING

from .batches import record_batch

FOREVER = 1 << 62
BYTES = st.none() | st.binary(max_size=200)
RECORDS = st.lists(
    st.tuples(
        st.integers(1_600_000_000_000, 1_800_000_000_000),
        BYTES,
        BYTES,
        st.lists(st.tuples(st.text(max_size=8), BYTES), max_size=3),
    ),
    min_size=1,
    max_size=20,
)


def walked(data: bytes, first: int = 0, last: int = FOREVER) -> list[tuple[int, int, bytes]]:
    """``(offset, timestamp, value)`` of each record of uncompressed batches."""
    headers = batch_headers(np.frombuffer(data, np.uint8))
    buffer = np.frombuffer(data + bytes(PADDING), np.uint8)
    spans = np.stack([headers["start"] + HEADER_BYTES, headers["end"]], axis=1)
    starts, ends, offsets, times = record_spans(buffer, spans, headers, first, last)
    values = [buffer[a:b].tobytes() for a, b in zip(starts, ends, strict=True)]
    return list(zip(offsets.tolist(), times.tolist(), values, strict=True))


def read_by_kafka_python(data: bytes) -> list[tuple[int, int, bytes]]:
    return [
        (record.offset, record.timestamp, record.value or b"")
        for batch in MemoryRecords(data)
        for record in batch
    ]


@given(st.lists(RECORDS, min_size=1, max_size=4), st.integers(0, 1 << 40), st.booleans())
@settings(deadline=None, max_examples=60)
def test_it_reads_what_kafka_python_reads(
    batches: list[list[Any]], offset: int, gaps: bool
) -> None:
    data = b""
    for records in batches:
        data += record_batch(records, offset, gaps=gaps)
        offset += 2 * len(records) + 3
    assert walked(data) == read_by_kafka_python(data)


@given(RECORDS, st.integers(-2, 22), st.integers(-2, 22))
@settings(deadline=None, max_examples=40)
def test_only_the_offsets_asked_for(records: list[Any], first: int, last: int) -> None:
    data = record_batch(records)
    expected = [record for record in read_by_kafka_python(data) if first <= record[0] <= last]
    assert walked(data, first, last) == expected


def test_a_batch_that_is_cut_off_is_left_out() -> None:
    whole, cut = record_batch([(1, None, b"a", [])]), record_batch([(2, None, b"b", [])], 1)
    for length in range(len(cut)):
        assert walked(whole + cut[:length]) == walked(whole)


def test_timestamps_of_the_broker_take_the_place_of_the_producers() -> None:
    data = bytearray(record_batch([(1000, None, b"a", []), (2000, None, b"b", [])]))
    data[22] |= 0x08  # log append time: then the batch's largest timestamp is that of all
    assert [time for _, time, _ in walked(bytes(data))] == [2000, 2000]
    assert walked(bytes(data)) == read_by_kafka_python(bytes(data))


@given(RECORDS, st.integers(0, 1 << 16), st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_broken_frames_raise_or_read_inside_the_buffer(
    records: list[Any], place: int, change: int
) -> None:
    data = bytearray(record_batch(records))
    at = 8 + place % (len(data) - 8)
    data[at] ^= change
    try:
        found = walked(bytes(data))
    except ValueError:
        return
    assert sum(len(value) for _, _, value in found) <= len(data)


@given(st.binary(max_size=400), st.integers(0, 50))
@settings(deadline=None, max_examples=300)
def test_any_bytes_in_place_of_records(payload: bytes, count: int) -> None:
    header = np.zeros(1, HEADER)
    header["count"], header["last_offset"] = count, count
    buffer = np.frombuffer(payload + bytes(PADDING), np.uint8)
    try:
        spans = np.array([[0, len(payload)]], np.int64)
        starts, ends, _, _ = record_spans(buffer, spans, header, 0, FOREVER)
    except ValueError:
        return
    assert len(starts) == count
    assert ((starts >= 0) & (starts <= ends) & (ends <= len(payload))).all()


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_in_place_of_batches(data: bytes) -> None:
    try:
        headers = batch_headers(np.frombuffer(data, np.uint8))
    except ValueError:
        return
    for header in headers[headers["magic"] == 2]:
        assert header["end"] - header["start"] >= HEADER_BYTES
        assert header["end"] <= len(data)


@pytest.mark.parametrize(
    ("count", "message"),
    [(1, "bytes after its last record"), (3, "fewer records"), (-1, "fewer"), (1 << 30, "fewer")],
)
def test_a_count_that_is_not_the_records(count: int, message: str) -> None:
    data = bytearray(record_batch([(1, None, b"a", []), (2, None, b"b", [])]))
    data[57:61] = struct.pack(">i", count)
    with pytest.raises(ValueError, match=message):
        walked(bytes(data))


def test_an_old_format_is_reported_and_not_read() -> None:
    builder = MemoryRecordsBuilder(1, 0, 1 << 20)
    builder.append(1, None, b"old")
    builder.close()
    headers = batch_headers(np.frombuffer(bytes(builder.buffer()), np.uint8))
    assert headers["magic"].tolist() == [1]


@given(st.integers(-(1 << 63), (1 << 63) - 1))
@settings(deadline=None)
def test_varints(number: int) -> None:
    bits = (number << 1) ^ (number >> 63)
    data = bytearray()
    while bits > 0x7F:
        data.append(0x80 | bits & 0x7F)
        bits >>= 7
    data.append(bits)
    buffer = np.frombuffer(bytes(data) + bytes(PADDING), np.uint8)
    assert varint(buffer, 0) == (number, len(data))


def test_a_varint_that_never_ends() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        varint(np.frombuffer(b"\xff" * 11 + bytes(PADDING), np.uint8), 0)
