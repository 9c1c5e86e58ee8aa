"""Whole record batches against kafka-python's own reading of the same fetch response."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from ctr.errors import SourceError
from ctr.stream.batches import OldFormatError, RecordBatches
from ctr.stream.fetch import WholeBatches
from ctr.types import PADDING

from .batches import CODECS, checked, marker, record_batch

FOREVER = 1 << 62
AT = TopicPartition("events", 0)


class Aborted(NamedTuple):
    producer_id: int
    first_offset: int


def nothing(first: int, last: int) -> bool:
    return False


def taken(
    data: bytes,
    aborted: list[Aborted] | None = None,
    first: int = 0,
    last: int = FOREVER,
    most_bytes: int = FOREVER,
) -> tuple[list[tuple[int, int, bytes]], int]:
    """``(offset, timestamp, value)`` of every record taken, and the offset after them."""
    batches = RecordBatches(0, data, [(a.first_offset, a.producer_id) for a in aborted or []])
    found: list[tuple[int, int, bytes]] = []
    while (piece := batches.take(first, last, most_bytes, nothing)) is not None:
        assert piece.next_offset >= first
        first = piece.next_offset
        assert not piece.buffer[-PADDING:].any()
        for start, end, offset, time in zip(*piece[1:5], strict=True):
            assert end <= len(piece.buffer) - PADDING
            found.append((int(offset), int(time), piece.buffer[start:end].tobytes()))
    return found, first


def read_by_kafka_python(
    data: bytes, aborted: list[Aborted], first: int = 0, kind: Any = Fetcher.PartitionRecords
) -> Any:
    return kind(
        first,
        AT,
        MemoryRecords(data),
        isolation_level=IsolationLevel.READ_COMMITTED,
        aborted_transactions=aborted,
    )


PAYLOADS = st.lists(st.none() | st.binary(max_size=80), min_size=1, max_size=6)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["plain", "idempotent", "transaction", "commit", "abort"]),
        st.integers(1, 3),
        PAYLOADS,
        st.sampled_from(list(CODECS.values())),
        st.integers(0, 3),
    ),
    max_size=12,
)


def partition_log(steps: list[Any]) -> tuple[bytes, list[Aborted]]:
    """A partition in which three producers interleave, and what the broker says was aborted."""
    data, offset, aborted = b"", 100, []
    begun: dict[int, int] = {}
    for kind, producer, values, codec, gap in steps:
        offset += gap  # compaction leaves gaps
        if kind in ("commit", "abort"):
            if producer in begun:
                first = begun.pop(producer)
                aborted += [Aborted(producer, first)] if kind == "abort" else []
                data += marker(offset, producer, commit=kind == "commit")
                offset += 1
            continue
        transactional = kind == "transaction"
        if transactional:
            begun.setdefault(producer, offset)
        records = [(1000 + i, None, value, []) for i, value in enumerate(values)]
        identity = -1 if kind == "plain" else producer if transactional else 7
        data += record_batch(
            records, offset, codec=codec, producer=identity, transactional=transactional
        )
        offset += len(values)
    return data, aborted


@given(STEPS, st.integers(90, 140), st.sampled_from([1, 100, FOREVER]))
@settings(deadline=None, max_examples=80)
def test_it_takes_what_kafka_python_takes(steps: list[Any], first: int, most_bytes: int) -> None:
    data, aborted = partition_log(steps)
    theirs = read_by_kafka_python(data, aborted, first)
    expected = [(r.offset, r.timestamp, r.value or b"") for r in theirs.take()]
    found, after = taken(data, aborted, first, most_bytes=most_bytes)
    assert found == [record for record in expected if record[0] >= first]
    assert after == max(first, theirs.next_fetch_offset)


@given(STEPS, st.integers(90, 140))
@settings(deadline=None, max_examples=40)
def test_the_seam_gives_the_same_and_leaves_the_same_behind(steps: list[Any], first: int) -> None:
    data, aborted = partition_log(steps)
    theirs = read_by_kafka_python(data, aborted, first)
    expected = [(r.offset, r.timestamp, r.value or b"") for r in theirs.take()]
    ours = read_by_kafka_python(data, aborted, first, WholeBatches)
    found: list[Any] = []
    for batches in ours.take():
        piece = batches.take(first, FOREVER, FOREVER, nothing)
        for start, end, offset, time in zip(*piece[1:5], strict=True):
            found.append((int(offset), int(time), piece.buffer[start:end].tobytes()))
    assert found == [record for record in expected if record[0] >= first]
    assert (ours.next_fetch_offset, ours.leader_epoch, bool(ours)) == (
        theirs.next_fetch_offset,
        theirs.leader_epoch,
        False,  # drained at once, so that the next fetch does not wait for another poll
    )


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec(codec: str) -> None:
    records = [(i, b"k", b"value %d" % i * 50, [("h", b"x")]) for i in range(200)]
    data = record_batch(records, 5, codec=CODECS[codec])
    found, after = taken(data)
    assert found == [(5 + i, i, b"value %d" % i * 50) for i in range(200)]
    assert after == 205


def test_it_stops_at_the_last_offset_asked_for() -> None:
    data = record_batch([(i, None, b"%d" % i, []) for i in range(10)])
    found, after = taken(data, last=4)
    assert [offset for offset, _, _ in found] == [0, 1, 2, 3, 4]
    assert after == 5


def test_batches_that_are_left_out_are_not_even_decoded() -> None:
    good, broken = (
        record_batch([(1, None, b"a", [])], 10),
        bytearray(record_batch([(1, None, b"b", []), (1, None, b"c", [])], 11)),
    )
    broken[-1] ^= 1
    batches = RecordBatches(0, good + bytes(broken), [])
    piece = batches.take(0, FOREVER, FOREVER, lambda first, last: (first, last) == (11, 12))
    assert (piece.offsets.tolist(), piece.next_offset) == ([10], 13)


def test_what_stands_before_a_broken_batch_is_given() -> None:
    broken = bytearray(record_batch([(1, None, b"b", [])], 11))
    broken[-1] ^= 1
    batches = RecordBatches(0, record_batch([(1, None, b"a", [])], 10) + bytes(broken), [])
    piece = batches.take(0, FOREVER, FOREVER, nothing)
    assert (piece.offsets.tolist(), piece.next_offset) == ([10], 11)
    with pytest.raises(CorruptRecordError, match="offset 11 fails"):
        batches.take(11, FOREVER, FOREVER, nothing)


@given(st.integers(0, 1 << 16), st.integers(1, 255), st.sampled_from(list(CODECS.values())))
@settings(deadline=None, max_examples=100)
def test_a_changed_byte_is_noticed(place: int, change: int, codec: int) -> None:
    data = bytearray(record_batch([(1, None, b"some value" * 9, [])] * 5, codec=codec))
    at = 21 + place % (len(data) - 21)
    data[at] ^= change
    with pytest.raises(CorruptRecordError, match="partition 0: the batch at offset 0 fails its"):
        taken(bytes(data))


@pytest.mark.parametrize("codec", [1, 3, 4, 5, 7])
def test_what_cannot_be_decompressed_is_corrupt(codec: int) -> None:
    data = bytearray(record_batch([(1, None, b"some value", [])]))
    data[22] = codec
    with pytest.raises(CorruptRecordError, match="codec"):
        taken(checked(data))


def test_snappy_without_its_library_says_what_to_install() -> None:
    data = bytearray(record_batch([(1, None, b"some value", [])]))
    data[22] = 2
    with pytest.raises(SourceError, match="pip install python-snappy"):
        taken(checked(data))


def test_frames_that_the_checksum_covers_and_the_header_denies() -> None:
    data = bytearray(record_batch([(1, None, b"a", []), (2, None, b"b", [])], 30))
    data[57:61] = struct.pack(">i", 3)
    with pytest.raises(CorruptRecordError, match=r"offset 30, or one after it"):
        taken(checked(data))


def test_an_old_format_is_told_apart() -> None:
    builder = MemoryRecordsBuilder(1, 0, 1 << 20)
    builder.append(1, None, b"old")
    builder.close()
    old = bytes(builder.buffer())
    with pytest.raises(OldFormatError):
        taken(old)
    with pytest.raises(OldFormatError):
        read_by_kafka_python(old, [], kind=WholeBatches).take()
