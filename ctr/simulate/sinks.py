"""Where simulated events go: Kafka, a log directory, a file, standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Protocol

from ctr.errors import SettingError, SourceError
from ctr.log import LogWriter
from ctr.settings import Kafka
from ctr.simulate.simulator import Simulated

_PATIENCE_SECONDS = 10.0
_BATCH_BYTES = 1 << 18


class Sink(Protocol):
    def write(self, simulated: Simulated) -> None:
        """Write all of a batch; returns when it was handed over."""
        ...

    def close(self) -> None:
        """Make everything durable and let go."""
        ...


class LogSink:
    """A log directory that a trainer may tail at the same time."""

    def __init__(self, directory: Path) -> None:
        self._writer = LogWriter(directory)

    def write(self, simulated: Simulated) -> None:
        if len(simulated.data):
            self._writer.append(simulated.data)

    def close(self) -> None:
        self._writer.close()


class FileSink:
    """A file of lines, or standard output."""

    def __init__(self, path: str) -> None:
        self._file: BinaryIO = sys.stdout.buffer if path == "-" else Path(path).open("wb")  # noqa: SIM115 - closed by close

    def write(self, simulated: Simulated) -> None:
        self._file.write(simulated.data)

    def close(self) -> None:
        self._file.flush()
        if self._file is not sys.stdout.buffer:
            self._file.close()


class KafkaSink:
    """A topic, made if it is not there; an event goes to the partition of its user.

    Partitions are read at their own pace, so that events are out of time order across them.
    """

    def __init__(self, kafka: Kafka, topic: str, partitions: int, max_event_bytes: int) -> None:
        from kafka import KafkaAdminClient, KafkaProducer

        from ctr.kafka import connect, ensure_topic, wait_for_broker

        if not wait_for_broker(kafka, _PATIENCE_SECONDS):
            raise SourceError(f"cannot reach {kafka.bootstrap_servers}")
        largest = max(max_event_bytes, _BATCH_BYTES) + 65_536
        admin = connect(KafkaAdminClient, kafka)
        try:
            self._partitions = ensure_topic(
                admin,
                topic,
                partitions,
                at_least={"max.message.bytes": largest},
                replication_factor=kafka.replication_factor,
            )
        finally:
            admin.close()
        self._topic = topic
        self._failures: list[BaseException] = []
        self._producer = connect(
            KafkaProducer,
            kafka,
            linger_ms=5,
            batch_size=_BATCH_BYTES,
            compression_type="lz4",
            max_request_size=largest + 65_536,
        )

    def write(self, simulated: Simulated) -> None:
        for number, part in enumerate(simulated.partition(self._partitions)):
            for line in part.lines:
                future = self._producer.send(self._topic, line, partition=number)
                future.add_errback(self._failures.append)
        self._raise_failure()

    def close(self) -> None:
        try:
            self._producer.flush(30.0)
        finally:
            self._producer.close()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failures:
            raise SourceError(f"{self._topic} did not take an event: {self._failures[0]!r}")


def open_sink(to: str, kafka: Kafka, topic: str, partitions: int, max_event_bytes: int) -> Sink:
    """``kafka``, ``-`` (standard output), a file name ending in .jsonl or .json, or a directory."""
    if to == "kafka":
        return KafkaSink(kafka, topic, partitions, max_event_bytes)
    if to == "-" or to.endswith((".jsonl", ".json")):
        return FileSink(to)
    path = Path(to)
    if path.is_file():
        raise SettingError("--to", to, "a directory, a name ending in .jsonl, '-' or 'kafka'")
    return LogSink(path)
