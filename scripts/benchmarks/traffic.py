"""Events on their way to the trainer: a simulator's steady stream, and bursts of clicks on top."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.processes import CTR, end, running
from ctr.log import LogWriter
from ctr.model.records import MANIFEST
from ctr.model.snapshot import SnapshotStore
from ctr.model.tail import consumer_options

EVENTS = "events"
MODEL = "ctr.clicks.model"
SNAPSHOTS = "snapshots"
_READ_BYTES = 1 << 16


class Traffic(Protocol):
    """Where events are written, and where versions of the model come out."""

    def send(self, lines: list[bytes]) -> None:
        """Write events; returns when they are acknowledged."""
        ...

    def published(self) -> dict[int, float]:
        """When publishing began, in Unix time, by version: of some since the last call at least."""
        ...


class KafkaTraffic:
    """To a topic; the simulator is a producer of its own."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=0)
        self._consumer = KafkaConsumer(bootstrap_servers=bootstrap, **consumer_options())

    def send(self, lines: list[bytes]) -> None:
        for sent in [self._producer.send(EVENTS, line) for line in lines]:
            sent.get(timeout=30)

    def published(self) -> dict[int, float]:
        consumer, partition = self._consumer, TopicPartition(MODEL, 0)
        if not consumer.assignment():
            consumer.assign([partition])
            consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        found: dict[int, float] = {}
        while consumer.position(partition) < end:
            for record in consumer.poll(timeout_ms=200).get(partition, ()):
                if record.key == MANIFEST.encode():
                    manifest = msgspec.json.decode(record.value)
                    found[manifest["version"]] = manifest["published"] / 1000
        return found

    def close(self) -> None:
        self._producer.close()
        self._consumer.close()


class LogTraffic:
    """To a log directory, which has one writer: here, also of what the simulator prints."""

    def __init__(self, folder: Path) -> None:
        self._log = LogWriter(folder / EVENTS)
        self._turn = threading.Lock()
        self._snapshots = SnapshotStore(folder / SNAPSHOTS)

    def send(self, lines: list[bytes]) -> None:
        with self._turn:
            self._log.append(b"".join(line + b"\n" for line in lines))

    def relay(self, simulator: subprocess.Popen[bytes]) -> None:
        """Append what the simulator prints until it ends."""
        rest = b""
        assert simulator.stdout is not None
        while part := simulator.stdout.read1(_READ_BYTES):  # type: ignore[attr-defined]
            whole, newline, rest = (rest + part).rpartition(b"\n")
            if newline:
                with self._turn:
                    self._log.append(whole + newline)

    def published(self) -> dict[int, float]:
        return {stored.version: stored.published / 1000 for stored in self._snapshots.stored()}

    def close(self) -> None:
        self._log.close()


@contextmanager
def kafka_traffic(bootstrap: str, folder: Path, options: Sequence[str]) -> Iterator[KafkaTraffic]:
    """The simulator's stream to the topic; ``options`` are those of ``ctr simulate``."""
    to = ["--to", "kafka", "--bootstrap-servers", bootstrap]
    with running("simulate", [*CTR, "simulate", *to, *options], folder):
        traffic = KafkaTraffic(bootstrap)
        try:
            yield traffic
        finally:
            traffic.close()


@contextmanager
def log_traffic(folder: Path, options: Sequence[str]) -> Iterator[LogTraffic]:
    """The simulator's stream to the log directory ``folder/events``."""
    traffic = LogTraffic(folder)
    with open(folder / "simulate.log", "wb") as log:
        simulator = subprocess.Popen(
            [*CTR, "simulate", *options], stdout=subprocess.PIPE, stderr=log
        )
    relay = threading.Thread(target=traffic.relay, args=(simulator,), daemon=True)
    relay.start()
    try:
        yield traffic
    finally:
        end(simulator)
        relay.join()
        traffic.close()
