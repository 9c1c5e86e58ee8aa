"""Streams of known content, in a Kafka topic and in a log directory, and their dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from ctr.log import LogWriter, segments
from ctr.simulate import KINDS, REASONS, Simulator, SimulatorSettings
from ctr.stream.dead_letters import Letter
from ctr.stream.letter_log import read_letters

from .processes import Settings

LIMITS = {"max_event_bytes": 4096, "max_features": 64}
"""Limits of the features in these tests, so that going over them is cheap."""

FEATURES = {f"features.{name}": limit for name, limit in LIMITS.items()}
"""The same as settings of a trainer."""

FILE_KINDS = tuple(kind for kind in KINDS if kind != "empty")
"""The kinds of bad events that a file or log directory can hold."""


class Content:
    """Simulated events, one in twenty bad in every way: what was taken of them so far."""

    def __init__(self, **settings: object) -> None:
        given = {"bad_share": 0.05, "seed": 7} | LIMITS | settings
        self._simulator = Simulator(SimulatorSettings(**given))
        self.good: list[bytes] = []
        self.bad: list[bytes] = []
        self.reasons: dict[bytes, str] = {}
        """The reason of every bad event; no good event has the same bytes."""

    def take(self, count: int) -> list[bytes]:
        """The next ``count`` events."""
        events = self._simulator.batch(count)
        lines = events.lines
        for line, kind in zip(lines, events.kinds.tolist(), strict=True):
            if kind < 0:
                self.good.append(line)
            else:
                self.bad.append(line)
                self.reasons[line] = REASONS[self._simulator.settings.bad_kinds[kind]]
        return lines

    def rejected(self) -> dict[str, int]:
        """How many bad events there are, by reason."""
        return dict(Counter(self.reasons[line] for line in self.bad))


class Stream(Protocol):
    """``settings`` make a trainer learn from it and put its dead letters beside it."""

    settings: Settings

    def send(self, values: Sequence[bytes]) -> None:
        """Append values."""
        ...

    def flush(self) -> None:
        """Make sure that all is there."""
        ...

    def read(self) -> list[tuple[str, bytes]]:
        """All that is there, each with its place as dead letters name it (without the line)."""
        ...

    def letters(self, model: str) -> list[Letter]:
        """The dead letters of a model."""
        ...

    def close(self) -> None: ...


class TopicStream:
    """A topic; values go to its partitions in turn."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, limit: int = 1 << 20) -> None:
        self.bootstrap, self.topic, self.partitions = bootstrap, topic, partitions
        self.settings = {
            "kafka.bootstrap_servers": bootstrap,
            "events.topic": topic,
            **FEATURES,
        }
        made = {
            "num_partitions": partitions,
            "replication_factor": 1,
            "configs": {"max.message.bytes": str(limit)},
        }
        with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
            admin.create_topics({topic: made}, wait_for_metadata=True)
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap, linger_ms=5, max_request_size=2 * limit
        )
        self._sent = 0
        self._futures = []

    def send(self, values: Sequence[bytes]) -> None:
        for value in values:
            partition = self._sent % self.partitions
            self._futures.append(self._producer.send(self.topic, value, partition=partition))
            self._sent += 1

    def flush(self) -> None:
        for future in self._futures:
            future.get(30)
        self._futures.clear()

    def read(self) -> list[tuple[str, bytes]]:
        return [
            (f"{self.topic}/{record.partition}/{record.offset}", record.value)
            for record in read_topic(self.bootstrap, self.topic)
        ]

    def letters(self, model: str) -> list[Letter]:
        return topic_letters(self.bootstrap, f"ctr.{model}.dead")

    def close(self) -> None:
        self._producer.close()


class LogStream:
    """A log directory whose segments are short."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "log"
        self._below = directory
        self.settings = {
            "events.source": "directory",
            "events.directory": "log",
            "publish.to": "directory",
            "dead_letters.to": "directory",
            **FEATURES,
        }
        self._writer = LogWriter(self.directory, segment_bytes=1 << 20)

    def send(self, values: Sequence[bytes]) -> None:
        self._writer.append(b"".join(value + b"\n" for value in values))

    def flush(self) -> None:
        self._writer.flush()

    def read(self) -> list[tuple[str, bytes]]:
        found = []
        for segment in segments(self.directory):
            offset = 0
            for line in (self.directory / segment).read_bytes().splitlines(keepends=True):
                found.append((f"log:log/{segment}/{offset}", line.removesuffix(b"\n")))
                offset += len(line)
        return found

    def letters(self, model: str) -> list[Letter]:
        return list(read_letters(self._below / "state" / model / "dead"))

    def close(self) -> None:
        self._writer.close()


def read_topic(bootstrap: str, topic: str) -> list:
    """The records that are in a topic now, by partition and in order."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        numbers = consumer.partitions_for_topic(topic) or set()
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found = {at: [] for at in partitions}
        while any(consumer.position(at) < ends[at] for at in partitions):
            for at, records in consumer.poll(timeout_ms=500).items():
                found[at] += [record for record in records if record.offset < ends[at]]
        return [record for at in partitions for record in found[at]]
    finally:
        consumer.close(autocommit=False)


def topic_letters(bootstrap: str, topic: str) -> list[Letter]:
    """The dead letters in a topic."""
    letters = []
    for record in read_topic(bootstrap, topic):
        headers = dict(record.headers)
        source, reason = headers["ctr.source"].decode(), headers["ctr.reason"].decode()
        letters.append(Letter(source, reason, record.value))
    return letters
