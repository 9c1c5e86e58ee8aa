"""Kafka record frames -> spans: message format 2, walked without an object per record.

A fetch response holds record batches: a header of 61 bytes (big-endian), then the records, which
may be compressed as a whole. A record is zig-zag varints: length, attributes (one byte),
timestamp delta, offset delta, key length, key, value length, value, headers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.kernels.options import inline, jit

HEADER_BYTES, MAGIC_END = 61, 17
LEAST_RECORD_BYTES = 7
CODEC, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x07, 0x08, 0x10, 0x20

HEADER = np.dtype(
    [
        ("start", np.int64),
        ("end", np.int64),
        ("magic", np.int64),
        ("epoch", np.int64),
        ("crc", np.int64),
        ("attributes", np.int64),
        ("base_offset", np.int64),
        ("last_offset", np.int64),
        ("first_time", np.int64),
        ("max_time", np.int64),
        ("producer", np.int64),
        ("count", np.int64),
    ]
)
"""One record batch: its bytes are ``[start, end)`` of the response, its records the rest of them
after ``HEADER_BYTES``."""


@inline
def big_endian(buffer: Any, i: int, size: int) -> int:
    """The signed big-endian integer of ``size`` (at most 8) bytes from ``buffer[i]``."""
    value = np.int64(buffer[i])
    if value >= 128:
        value -= 256
    for k in range(1, size):
        value = (value << 8) | np.int64(buffer[i + k])
    return int(value)


@inline
def varint(buffer: Any, i: int) -> tuple[int, int]:
    """A zig-zag varint at ``buffer[i]`` and where the next byte is; at most 10 bytes are read."""
    byte = np.uint64(buffer[i])
    bits, shift = byte & np.uint64(0x7F), np.uint64(7)
    while byte >= np.uint64(0x80):
        i += 1
        if shift > np.uint64(63):
            raise ValueError("a varint is longer than 64 bits")
        byte = np.uint64(buffer[i])
        bits |= (byte & np.uint64(0x7F)) << shift
        shift += np.uint64(7)
    return int(np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1))), i + 1


@jit
def fill_headers(buffer: Any, headers: Any) -> int:
    """Read the headers of the whole batches in ``buffer``; returns how many there are.

    A batch that is cut off at the end of ``buffer`` is left out, as brokers may send one. It ends
    at a batch of another format than 2, whose ``magic`` alone is then filled in.
    """
    size, at, count = len(buffer), 0, 0
    while size - at >= MAGIC_END:
        end = at + 12 + big_endian(buffer, at + 8, 4)
        if end > size:
            break
        row = headers[count]
        row["magic"] = np.int64(buffer[at + MAGIC_END - 1])
        count += 1
        if row["magic"] != 2:
            break
        if end < at + HEADER_BYTES:
            raise ValueError("a record batch is shorter than its header")
        row["start"] = at
        row["end"] = end
        row["base_offset"] = big_endian(buffer, at, 8)
        row["epoch"] = big_endian(buffer, at + 12, 4)
        row["crc"] = big_endian(buffer, at + 17, 4) & 0xFFFFFFFF
        row["attributes"] = big_endian(buffer, at + 21, 2)
        row["last_offset"] = row["base_offset"] + big_endian(buffer, at + 23, 4)
        row["first_time"] = big_endian(buffer, at + 27, 8)
        row["max_time"] = big_endian(buffer, at + 35, 8)
        row["producer"] = big_endian(buffer, at + 43, 8)
        row["count"] = big_endian(buffer, at + 57, 4)
        at = end
    return count


@inline
def value_span(buffer: Any, at: int, end: int) -> tuple[int, int, int, int, int]:
    """``(timestamp delta, offset delta, value start, value end, next)`` of the record at ``at``.

    Every length is held against what is left of the record, so that no frame, however broken,
    leads outside of ``buffer`` (which has 64 bytes after ``end``).
    """
    length, at = varint(buffer, at)
    if length < 0 or length > end - at:
        raise ValueError("a record is longer than its batch")
    stop = at + length
    time_delta, at = varint(buffer, at + 1)
    offset_delta, at = varint(buffer, at)
    key, at = varint(buffer, at)
    at += max(key, 0)
    if key > length or at > stop:
        raise ValueError("a key is longer than its record")
    value, at = varint(buffer, at)
    start = at
    at += max(value, 0)
    if value > length or at > stop:
        raise ValueError("a value is longer than its record")
    return time_delta, offset_delta, start, at, skip_headers(buffer, at, stop)


@inline
def skip_headers(buffer: Any, at: int, stop: int) -> int:
    """Where the record ends, which must be ``stop``."""
    count, at = varint(buffer, at)
    for _ in range(count):
        name, at = varint(buffer, at)
        if name < 0 or name > stop - at:
            raise ValueError("a header's name is longer than its record")
        value, at = varint(buffer, at + name)
        if value > stop - at:
            raise ValueError("a header's value is longer than its record")
        at += max(value, 0)
    if count < 0 or at != stop:
        raise ValueError("a record is not as long as it says")
    return at


@jit
def fill_spans(
    buffer: Any,
    spans: Any,
    headers: Any,
    first: int,
    last: int,
    starts: Any,
    ends: Any,
    offsets: Any,
    timestamps: Any,
) -> int:
    """Fill the four arrays with the records of offsets in ``[first, last]``; returns how many."""
    kept = 0
    for b in range(len(spans)):
        at, end, header = spans[b, 0], spans[b, 1], headers[b]
        delta = header["last_offset"] - header["base_offset"]
        for _ in range(header["count"]):
            if at >= end:
                raise ValueError("a record batch has fewer records than it says")
            time_delta, offset_delta, start, stop, at = value_span(buffer, at, end)
            if offset_delta < 0 or offset_delta > delta:
                raise ValueError("a record's offset is not one of its batch's")
            offset = header["base_offset"] + offset_delta
            if first <= offset <= last:
                starts[kept] = start
                ends[kept] = stop
                offsets[kept] = offset
                timestamps[kept] = (
                    header["max_time"]
                    if header["attributes"] & LOG_APPEND_TIME
                    else header["first_time"] + time_delta
                )
                kept += 1
        if at != end:
            raise ValueError("a record batch has bytes after its last record")
    return kept


def batch_headers(response: NDArray[np.uint8]) -> NDArray[np.void]:
    """The ``HEADER`` of every whole record batch in ``response`` (uint8).

    The last one may have a ``magic`` other than 2 and nothing else. Raises ValueError for a batch
    shorter than its header.
    """
    headers = np.empty(len(response) // HEADER_BYTES + 1, HEADER)
    return headers[: fill_headers(response, headers)].copy()


def record_spans(
    buffer: NDArray[np.uint8],
    spans: NDArray[np.int64],
    headers: NDArray[np.void],
    first: int,
    last: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """``(starts, ends, offsets, timestamps)`` of the values with offsets in ``[first, last]``.

    ``buffer`` (uint8, with 64 bytes after its content) has the uncompressed records of batch b at
    ``[spans[b, 0], spans[b, 1])``; ``headers[b]`` is its ``HEADER``. A null value has start ==
    end. Raises ValueError for frames that are not what the headers say.
    """
    counts, lengths = headers["count"], spans[:, 1] - spans[:, 0]
    if (counts < 0).any() or (counts > lengths // LEAST_RECORD_BYTES).any():
        raise ValueError("a record batch has fewer records than it says")
    total = int(counts.sum())
    starts, ends, offsets, timestamps = (np.empty(total, np.int64) for _ in range(4))
    kept = fill_spans(buffer, spans, headers, first, last, starts, ends, offsets, timestamps)
    return starts[:kept], ends[:kept], offsets[:kept], timestamps[:kept]
