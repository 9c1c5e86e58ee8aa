"""One connection to a topic: the consumer of kafka-python, as ``KafkaSource`` needs it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from ctr.errors import SourceError
from ctr.kafka import connect
from ctr.settings import Events, Kafka
from ctr.stream.batches import Chunk, PolledRecords
from ctr.stream.fetch import use_whole_batches
from ctr.stream.responses import ConsumerClient, WideClient

_CONTROL_MS = 5000
_POLL_RECORDS = 5000
_UNLIMITED = 1 << 62


class TopicConnection:
    """A consumer of ``events.topic``; partitions are numbers.

    Methods raise what kafka-python raises (KafkaTimeoutError after 5 seconds where one asks the
    broker); the constructor also SourceError, when the user is refused.
    """

    def __init__(self, kafka: Kafka, events: Events, *, fast: bool) -> None:
        self._topic, self._fast = events.topic, fast
        clients: list[ConsumerClient] = []

        def make(**configs: Any) -> ConsumerClient:
            clients.append(WideClient(**configs) if fast else ConsumerClient(**configs))
            return clients[-1]

        self._consumer = connect(
            KafkaConsumer,
            kafka,
            make,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=events.batch_bytes,
            # the broker sends a larger batch all the same, whole, when it comes first
            fetch_max_bytes=events.batch_bytes,
            receive_message_max_bytes=(1 << 31) - 1,
            max_poll_records=_UNLIMITED if fast else _POLL_RECORDS,
            metadata_max_age_ms=max(100, int(1000 * events.discover_seconds)),
            bootstrap_timeout_ms=_CONTROL_MS,
            metrics_enabled=False,
        )
        self._client = clients[-1]
        if fast:
            use_whole_batches(self._consumer)
        self._client.cluster.add_topic(events.topic)
        self._began = time.monotonic()
        self._positions: dict[int, int] = {}

    def partitions(self) -> tuple[set[int], set[int]]:
        """The topic's partitions as last told, and those of them that have a leader.

        Empty while there is no such topic. They are asked for again every
        ``events.discover_seconds``, without being waited for. Raises SourceError when the topic
        may not be read.
        """
        cluster, topic = self._client.cluster, self._topic
        if topic in cluster.unauthorized_topics:
            raise SourceError(f"not allowed to read the topic {topic}")
        found = cluster.partitions_for_topic(topic) or set()
        # a topic that does not exist is asked for once a second, at first ten times
        patient = not found and time.monotonic() - self._began > 1.0
        cluster.config["retry_backoff_ms"] = 1000 if patient else 100
        return found, cluster.available_partitions_for_topic(topic) or set()

    def bounds(self, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """The earliest offset and the one after the last committed record, of each partition."""
        at = [self._at(n) for n in partitions]
        earliest = self._consumer.beginning_offsets(at, _CONTROL_MS)
        latest = self._consumer.end_offsets(at, _CONTROL_MS)
        return {p.partition: (earliest[p], latest[p]) for p in at}

    def offsets_at(self, partitions: Iterable[int], time_ms: int) -> dict[int, int]:
        """The first offset stamped ``time_ms`` or later; none for a partition without one."""
        asked = {self._at(n): time_ms for n in partitions}
        found = self._consumer.offsets_for_times(asked, _CONTROL_MS)
        return {p.partition: there.offset for p, there in found.items() if there}

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions too, from these offsets on."""
        known = self._consumer.assignment()
        self._consumer.assign([*known, *map(self._at, positions)])
        for n, offset in positions.items():
            self.seek(n, offset)

    def seek(self, partition: int, offset: int) -> None:
        """Go on at ``offset``."""
        self._consumer.seek(self._at(partition), offset)
        self._positions[partition] = offset

    def pause(self, partition: int) -> None:
        """Read no more of this partition."""
        self._consumer.pause(self._at(partition))

    def poll(self, seconds: float) -> list[Chunk]:
        """What came within ``seconds``, in order in each partition."""
        polled = self._consumer.poll(timeout_ms=int(1000 * seconds))
        if self._fast:
            return [batches for found in polled.values() for batches in found]
        moved = polled or dict.fromkeys(self._consumer.assignment(), ())
        chunks: list[Chunk] = []
        for at, records in moved.items():
            # past control records the position moves without any record
            position = self._consumer.position(at, _CONTROL_MS)
            if position != self._positions[at.partition]:
                self._positions[at.partition] = position
                chunks.append(PolledRecords(at.partition, records, position))
        return chunks

    def highwater(self, partition: int) -> int:
        """The offset after the last record, as last told; 0 while nothing was told."""
        return self._consumer.highwater(self._at(partition)) or 0

    def is_connected(self) -> bool:
        """Whether there is a connection to the leader of every partition that is read."""
        leader = self._client.cluster.leader_for_partition
        return all(self._client.connected(leader(at)) for at in self._consumer.assignment())

    def close(self) -> None:
        """End it, within a second or so."""
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)
