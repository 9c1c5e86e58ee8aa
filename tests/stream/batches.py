"""Record batches as a broker would send them, made with kafka-python's builder."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from kafka.record.memory_records import MemoryRecordsBuilder

CODECS = {"none": 0, "gzip": 1, "lz4": 3, "zstd": 4}


def record_batch(
    records: Sequence[Any],
    offset: int = 0,
    *,
    codec: int = 0,
    producer: int = -1,
    transactional: bool = False,
    gaps: bool = False,
) -> bytes:
    """One batch; a record is (timestamp, key, value, headers). ``gaps``: every other offset."""
    builder = MemoryRecordsBuilder(
        2,
        codec,
        1 << 30,
        transactional=transactional,
        producer_id=producer,
        producer_epoch=0 if producer >= 0 else -1,
        base_sequence=0 if producer >= 0 else -1,
    )
    for timestamp, key, value, headers in records:
        assert builder.append(timestamp, key, value, headers)
        if gaps:
            builder.skip(1)
    builder.close()
    # the base offset, and the leader's epoch, are the broker's: outside of the checksum
    return struct.pack(">q", offset) + bytes(builder.buffer())[8:]


def marker(offset: int, producer: int, *, commit: bool) -> bytes:
    """The control batch that ends a transaction."""
    key = struct.pack(">hh", 0, int(commit))
    data = bytearray(
        record_batch([(1, key, b"", [])], offset, producer=producer, transactional=True)
    )
    data[22] |= 0x20
    return checked(data)


def checked(data: bytearray) -> bytes:
    """The batch with the checksum that its bytes have."""
    from crc32c import crc32c

    data[17:21] = struct.pack(">I", crc32c(bytes(data[21:])))
    return bytes(data)
