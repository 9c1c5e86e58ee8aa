"""Telling Kafka how far a model has learned, for lag tools; never read back as truth."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ctr.errors import SourceError
from ctr.kafka import Backoff, connect, reachable
from ctr.settings import Kafka

_log = logging.getLogger(__name__)


class OffsetCommits:
    """Commits offsets of ``topic`` for ``group`` on a thread and a connection of its own.

    So an unavailable group coordinator delays nobody. Offsets not yet sent give way to newer ones;
    a failure is only counted, in ``failures``, and tried again.
    """

    def __init__(self, kafka: Kafka, topic: str, group: str) -> None:
        self._kafka, self._topic, self.group = kafka, topic, group
        self.failures = 0
        self._newest: dict[TopicPartition, OffsetAndMetadata] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._admin: KafkaAdminClient | None = None
        self._thread = threading.Thread(target=self._run, name="ctr-offset-commits", daemon=True)
        self._thread.start()

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit these soon, by partition; never blocks."""
        with self._wake:
            for partition, offset in offsets.items():
                at = TopicPartition(self._topic, partition)
                self._newest[at] = OffsetAndMetadata(offset, "", -1)
            self._wake.notify()

    def close(self, timeout: float = 2.0) -> None:
        """Try what is left for at most ``timeout`` seconds."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        backoff = Backoff(first=0.2)
        while True:
            with self._wake:
                while not self._newest and not self._closing:
                    self._wake.wait()
                offsets = dict(self._newest)
            if not offsets:
                break
            try:
                self._send(offsets)
            except (KafkaError, OSError, SourceError) as error:
                self.failures += 1
                _log.warning("could not commit offsets of group %s: %r", self.group, error)
                self._disconnect()
                with self._wake:
                    if self._closing:
                        break
                    self._wake.wait(backoff.next())
                continue
            backoff.reset()
            with self._wake:
                for at, offset in offsets.items():
                    if self._newest[at] == offset:
                        del self._newest[at]
        self._disconnect()

    def _send(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        if self._admin is None:
            if not reachable(self._kafka):
                raise OSError(f"cannot reach {self._kafka.bootstrap_servers}")
            self._admin = connect(KafkaAdminClient, self._kafka, bootstrap_timeout_ms=2000)
        results = self._admin.alter_group_offsets(self.group, offsets)
        for partition, error in results.items():
            if error.errno:
                raise error(f"{partition.topic}/{partition.partition}")

    def _disconnect(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None
