"""What a poll of Kafka brought of one partition, given out piece by piece as arrays."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import zstandard
from crc32c import crc32c
from kafka.codec import has_snappy, lz4_decode, snappy_decode
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch

from ctr.errors import SourceError
from ctr.kernels.frames import (
    CODEC,
    CONTROL,
    HEADER_BYTES,
    TRANSACTIONAL,
    batch_headers,
    record_spans,
)
from ctr.types import PADDING, Bytes, Int64

_CRC_FROM = 21
_BROKEN = (KeyError, OSError, EOFError, ValueError, RuntimeError, zlib.error, zstandard.ZstdError)
_NO_SPANS = np.empty(0, np.int64)
_NO_BYTES = np.zeros(PADDING, np.uint8)


class OldFormatError(Exception):
    """The broker sent message format 0 or 1, which only kafka-python reads."""


class Piece(NamedTuple):
    """Records as in ``Records``, and the offset after them and after what was left out."""

    buffer: Bytes
    starts: Int64
    ends: Int64
    offsets: Int64
    timestamps: Int64
    next_offset: int


class RecordBatches:
    """The record batches of one fetch response (``data``), as they came over the wire.

    ``aborted``: ``(first offset, producer)`` of the transactions in it that were aborted.
    Raises ValueError from the start for data that are not record batches.
    """

    def __init__(
        self, partition: int, data: bytes | memoryview, aborted: Sequence[tuple[int, int]]
    ) -> None:
        self.partition = partition
        self.offset = -1  # the seam sets it: kafka-python leaves out what is before its position
        self._data = memoryview(data).toreadonly()
        self.headers = batch_headers(np.frombuffer(self._data, np.uint8))
        self._rows = [_Header(*row) for row in self.headers.tolist()]
        self._at = 0
        self._aborted = sorted(aborted, reverse=True)
        self._aborted_producers: set[int] = set()

    def take(
        self, first: int, last: int, most_bytes: int, left_out: Callable[[int, int], bool]
    ) -> Piece | None:
        """The committed records of offsets in ``[first, last]`` of the next batches.

        Batches are added until there are ``most_bytes``; those of which all offsets are
        ``left_out`` may be broken. None when all were taken. Raises CorruptRecordError for a
        batch whose checksum or frames are wrong, OldFormatError, and SourceError for a codec that
        is not installed.
        """
        if self._at == len(self._rows):
            return None
        payloads: list[Any] = []
        chosen: list[int] = []
        size, next_offset = 0, first
        while self._at < len(self._rows) and size < most_bytes:
            header = self._rows[self._at]
            try:
                payload = self._payload(header, first, last, left_out)
            except CorruptRecordError:
                if payloads:  # what stands before it is given first
                    break
                raise
            if payload is not None:
                payloads.append(payload)
                chosen.append(self._at)
                size += len(payload)
            self._at += 1
            next_offset = max(next_offset, header.last_offset + 1)
        next_offset = min(next_offset, last + 1)
        if not payloads:
            return Piece(_NO_BYTES, _NO_SPANS, _NO_SPANS, _NO_SPANS, _NO_SPANS, next_offset)
        lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
        buffer = _joined(payloads)
        stops = np.cumsum(lengths)
        spans = np.stack([stops - lengths, stops], axis=1)
        try:
            arrays = record_spans(buffer, spans, self.headers[chosen], first, last)
        except ValueError as error:
            where = self._where(self._rows[chosen[0]])
            raise CorruptRecordError(f"{where}, or one after it: {error}") from None
        return Piece(buffer, *arrays, next_offset)

    def _is_committed(self, header: _Header) -> bool:
        """Whether a batch holds events: no control records, nothing of an aborted transaction.

        As in kafka-python's ``PartitionRecords``: called once for each batch, in order.
        """
        if header.producer >= 0:
            while self._aborted and self._aborted[-1][0] <= header.last_offset:
                self._aborted_producers.add(self._aborted.pop()[1])
            if header.attributes & CONTROL:
                marker = next(DefaultRecordBatch(self._data[header.start : header.end]))
                if marker.abort:
                    self._aborted_producers.discard(header.producer)
            elif header.attributes & TRANSACTIONAL and header.producer in self._aborted_producers:
                return False
        return not header.attributes & CONTROL

    def _payload(
        self, header: _Header, first: int, last: int, left_out: Callable[[int, int], bool]
    ) -> Any:
        """The uncompressed records of a batch; None when none of them is wanted."""
        if header.magic != 2:
            raise OldFormatError(f"message format {header.magic}")
        is_left_out = left_out(header.base_offset, header.last_offset)
        if not self._is_sound(header):
            if is_left_out:
                return None
            raise CorruptRecordError(f"{self._where(header)} fails its checksum")
        # asked in any case: a marker among what is left out still ends its transaction
        if not self._is_committed(header) or is_left_out:
            return None
        if header.last_offset < first or header.base_offset > last:
            return None
        data = self._data[header.start + HEADER_BYTES : header.end]
        codec = header.attributes & CODEC
        if codec == 0:
            return data
        if codec == 2 and not has_snappy():
            raise SourceError("the events are compressed with snappy: pip install python-snappy")
        try:
            return _DECODERS[codec](data.tobytes())
        except _BROKEN as error:
            where = self._where(header)
            raise CorruptRecordError(f"{where} (codec {codec}): {error}") from None

    def _is_sound(self, header: _Header) -> bool:
        sum_of: int = crc32c(self._data[header.start + _CRC_FROM : header.end])
        return sum_of == header.crc

    def _where(self, header: _Header) -> str:
        return f"partition {self.partition}: the batch at offset {header.base_offset}"


class PolledRecords:
    """The records that ``KafkaConsumer.poll`` returned for one partition, perhaps none.

    ``next_offset`` is the consumer's position after them.
    """

    def __init__(self, partition: int, records: Sequence[Any], next_offset: int) -> None:
        self.partition = partition
        self._records, self._next_offset, self._at = records, next_offset, 0
        self._is_done = False

    def take(
        self, first: int, last: int, most_bytes: int, left_out: Callable[[int, int], bool]
    ) -> Piece | None:
        """As ``RecordBatches.take``, whose errors kafka-python has raised before this."""
        if self._is_done:
            return None
        taken, size = [], 0
        while self._at < len(self._records) and size < most_bytes:
            record = self._records[self._at]
            self._at += 1
            if first <= record.offset <= last:
                taken.append(record)
                size += len(record.value or b"")
        self._is_done = self._at == len(self._records)
        next_offset = self._next_offset if self._is_done else self._records[self._at - 1].offset + 1
        values = [record.value or b"" for record in taken]
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        ends = np.cumsum(lengths)
        buffer = _joined(values)
        offsets = np.fromiter((record.offset for record in taken), np.int64, len(taken))
        times = np.fromiter((record.timestamp for record in taken), np.int64, len(taken))
        return Piece(buffer, ends - lengths, ends, offsets, times, min(next_offset, last + 1))


Chunk = RecordBatches | PolledRecords


class _Header(NamedTuple):
    """A row of ``batch_headers``."""

    start: int
    end: int
    magic: int
    epoch: int
    crc: int
    attributes: int
    base_offset: int
    last_offset: int
    first_time: int
    max_time: int
    producer: int
    records: int


def _joined(parts: Sequence[Any]) -> Bytes:
    """The parts in one padded buffer, writable like every other: one type for the kernels."""
    # by numpy, which lets other threads run meanwhile
    arrays = [np.frombuffer(part, np.uint8) for part in parts if len(part)]
    return np.concatenate([*arrays, _NO_BYTES])


def _zstd_decode(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(data)


_DECODERS: dict[int, Callable[[bytes], bytes]] = {
    1: gzip.decompress,
    2: snappy_decode,
    3: lz4_decode,
    4: _zstd_decode,
}
