"""The seam in kafka-python through which whole record batches come.

It and ``ctr.stream.responses`` are made of private names of one version, so these are looked at
before they are used; where they are not as expected, ``KafkaSource`` uses the public ``poll`` and
says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import kafka
from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.net.manager import KafkaConnectionManager
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.parser import KafkaProtocol
from kafka.record.memory_records import MemoryRecords

from ctr.stream.batches import OldFormatError, RecordBatches

VERSION = "3.0.12"
_OF_A_RESPONSE = {"_receiving", "_header", "_rbuffer", "_validate_frame_size", "_process_response"}


class WholeBatches(Fetcher.PartitionRecords):  # type: ignore[misc]
    """Hands a partition's part of a fetch response over as one ``RecordBatches``.

    Checksums, decompression, aborted transactions and control records are left to that.
    """

    def _unpack_records(
        self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any
    ) -> Iterator[RecordBatches]:
        aborted = [(txn.first_offset, txn.producer_id) for txn in self.aborted_transactions]
        try:
            batches = RecordBatches(tp.partition, records._buffer, aborted)
        except ValueError as error:
            raise CorruptRecordError(f"{tp.topic}/{tp.partition}: {error}") from None
        if len(batches.headers):
            last = batches.headers[-1]
            if last["magic"] != 2:
                raise OldFormatError(f"message format {last['magic']}")
            batches.offset = self.fetch_offset
            self.next_fetch_offset = int(last["last_offset"]) + 1
            self.leader_epoch = int(last["epoch"])
            self.bytes_read += len(records._buffer)
            self.records_read += int(batches.headers["count"].sum())
        # drained before it is given, so that the next fetch is sent within this very poll
        self.drain()
        if len(batches.headers):
            yield batches


def seam_problem() -> str:
    """What about the installed kafka-python is not as this module expects; empty when all is.

    >>> seam_problem()
    ''
    """
    if kafka.__version__ != VERSION:
        return f"kafka-python is {kafka.__version__}, and {VERSION} is the version that was tried"
    unpack = getattr(getattr(Fetcher, "PartitionRecords", None), "_unpack_records", None)
    wanted = ["self", "tp", "records", "key_deserializer", "value_deserializer"]
    if unpack is None or list(inspect.signature(unpack).parameters) != wanted:
        return "Fetcher.PartitionRecords._unpack_records is not as expected"
    if "PartitionRecords" not in Fetcher._parse_fetched_data.__code__.co_names:
        return "Fetcher._parse_fetched_data does not make self.PartitionRecords"
    if "_buffer" not in MemoryRecords.__slots__:
        return "MemoryRecords has no _buffer"
    for owner, name in (
        (KafkaConnectionManager, "_build_transport"),
        (KafkaTCPTransport, "_sock_recv"),
        (KafkaSSLTransport, "_sock_recv"),
    ):
        if not hasattr(owner, name):
            return f"{owner.__name__} has no {name}"
    if not set(KafkaProtocol.receive_bytes.__code__.co_names) >= _OF_A_RESPONSE:
        return "KafkaProtocol.receive_bytes is not as expected"
    return ""


def use_whole_batches(consumer: KafkaConsumer) -> None:
    """Make ``consumer.poll`` return ``RecordBatches`` in place of records."""
    consumer._fetcher.PartitionRecords = WholeBatches
