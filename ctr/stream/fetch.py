"""The seam in kafka-python through which whole record batches come, and larger socket reads.

These are private names of one version, so they are looked at before they are used; where they are
not as expected, ``KafkaSource`` uses the public ``poll`` and says so.
"""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Iterator
from typing import Any

import kafka
from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, KafkaConnectionError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.record.memory_records import MemoryRecords

from ctr.stream.batches import OldFormatError, RecordBatches

VERSION = "3.0.12"
_READ_BYTES = 1 << 20
_TLS_READ_BYTES = 1 << 16


class ConsumerClient(KafkaNetClient):  # type: ignore[misc]
    """The consumer's network client, which never makes a topic by asking for it."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        self.cluster.config["allow_auto_create_topics"] = False


class WideClient(ConsumerClient):
    """The same, reading up to 1 MiB from a socket at a time (kafka-python reads 4096 bytes)."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        build = self._manager._build_transport

        async def build_wide(node: Any, timeout_at: float | None = None) -> Any:
            transport = await build(node, timeout_at=timeout_at)
            if isinstance(transport, KafkaSSLTransport):
                transport._sock_recv = lambda: _receive_tls(transport)
            else:
                scratch = memoryview(bytearray(_READ_BYTES))
                transport._sock_recv = lambda: _receive(transport, scratch)
            return transport

        self._manager._build_transport = build_wide


def _receive(transport: Any, scratch: memoryview) -> tuple[memoryview, Exception | None]:
    """What ``_sock_recv`` returns: bytes that came, and the error that ends the connection."""
    try:
        size = transport._sock.recv_into(scratch)
    except (BlockingIOError, InterruptedError):
        return scratch[:0], None
    except OSError as error:
        return scratch[:0], KafkaConnectionError(error)
    if size == 0:
        return scratch[:0], KafkaConnectionError("socket disconnected")
    return scratch[:size], None


def _receive_tls(transport: Any) -> tuple[bytes, Exception | None]:
    """The same through TLS, whose layer must be emptied: what it holds wakes no selector."""
    parts: list[bytes] = []
    while True:
        try:
            part = transport._sock.recv(_TLS_READ_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(parts), None
        except OSError as error:
            return b"".join(parts), KafkaConnectionError(error)
        if not part:
            return b"".join(parts), KafkaConnectionError("socket disconnected")
        parts.append(part)


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
    return ""


def use_whole_batches(consumer: KafkaConsumer) -> None:
    """Make ``consumer.poll`` return ``RecordBatches`` in place of records."""
    consumer._fetcher.PartitionRecords = WholeBatches
