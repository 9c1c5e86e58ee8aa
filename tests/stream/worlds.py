"""The places events come from, each with a way to put values there and to open its source."""

from __future__ import annotations

import gzip
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import zstandard
from kafka import KafkaAdminClient, KafkaProducer

from ctr.log import LogWriter
from ctr.settings import Events, Kafka
from ctr.stream.directory import DirectorySource
from ctr.stream.files import FileSource
from ctr.stream.kafka import KafkaSource
from ctr.stream.memory import MemorySource
from ctr.stream.source import Source
from ctr.types import Position, Positions, Records

Values = Sequence[bytes | None]


class World(Protocol):
    """``put`` may be called once; ``holds_nothing`` says whether a value may be empty or None."""

    holds_nothing: bool

    def put(self, values: Values) -> dict[str, list[bytes]]:
        """Put values there; returns, by URI, what a source must give."""
        ...

    def open(
        self,
        resume: Positions | None = None,
        batch_bytes: int = 4096,
        skip: Sequence[str] = (),
    ) -> Source:
        """A source that ends after what was put."""
        ...


class Memory:
    holds_nothing = True

    def __init__(self) -> None:
        self.values: Values = []

    def put(self, values: Values) -> dict[str, list[bytes]]:
        self.values = values
        return {"memory:list": [value or b"" for value in values]}

    def open(
        self,
        resume: Positions | None = None,
        batch_bytes: int = 4096,
        skip: Sequence[str] = (),
    ) -> Source:
        return MemorySource(self.values, resume=resume, batch_records=7, skip=skip)


class Files:
    """Two files, of which the second has no newline at its end."""

    holds_nothing = False

    def __init__(self, folder: Path, codec: str) -> None:
        ending = {"plain": "", "gzip": ".gz", "zstd": ".zst"}[codec]
        self.codec, self.paths = codec, [folder / f"{n}.jsonl{ending}" for n in "ab"]

    def put(self, values: Values) -> dict[str, list[bytes]]:
        half = len(values) // 2
        expected = {}
        for path, part in zip(self.paths, (values[:half], values[half:]), strict=True):
            expected[f"file:{path}"] = lines = [value for value in part if value]
            end = b"\n" if path is self.paths[0] else b""
            path.write_bytes(self._encoded(b"\n\n".join(lines) + end))
        return expected

    def open(
        self,
        resume: Positions | None = None,
        batch_bytes: int = 4096,
        skip: Sequence[str] = (),
    ) -> Source:
        return FileSource(self.paths, resume=resume, batch_bytes=batch_bytes, skip=skip)

    def _encoded(self, data: bytes) -> bytes:
        if self.codec == "gzip":  # two members
            return gzip.compress(data[:1000]) + gzip.compress(data[1000:])
        if self.codec == "zstd":
            out = io.BytesIO()
            with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
                writer.write(data)
            return out.getvalue()
        return data


class Directory:
    holds_nothing = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"

    def put(self, values: Values) -> dict[str, list[bytes]]:
        lines = [value for value in values if value]
        with LogWriter(self.folder, segment_bytes=5000, sync="never") as log:
            for i in range(0, len(lines), 3):
                log.append(b"".join(line + b"\n" for line in lines[i : i + 3]) + b" \n")
        return {f"log:{self.folder}": lines}

    def open(
        self,
        resume: Positions | None = None,
        batch_bytes: int = 4096,
        skip: Sequence[str] = (),
    ) -> Source:
        return DirectorySource(
            self.folder, resume=resume, batch_bytes=batch_bytes, skip=skip, stop_at_end=True
        )


class Topic:
    """Three partitions; ``fast`` is how the source reads them."""

    holds_nothing = True

    def __init__(self, bootstrap: str, topic: str, *, fast: bool, codec: str | None = None) -> None:
        self.settings = Kafka(bootstrap_servers=bootstrap)
        self.topic, self.fast, self.codec = topic, fast, codec
        self.make(3)

    def make(self, partitions: int) -> None:
        with KafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers) as admin:
            made = {"num_partitions": partitions, "replication_factor": 1}
            admin.create_topics({self.topic: made}, wait_for_metadata=True)

    def put(self, values: Values, first_partition: int = 0) -> dict[str, list[bytes]]:
        expected = defaultdict(list)
        producer = self.producer()
        for i, value in enumerate(values):
            partition = (first_partition + i) % 3
            producer.send(self.topic, value, key=b"k", partition=partition, headers=[("h", b"x")])
            expected[f"kafka:{self.topic}/{partition}"].append(value or b"")
        producer.close()
        return dict(expected)

    def producer(self, **options: object) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self.settings.bootstrap_servers,
            compression_type=self.codec,
            max_request_size=20 << 20,
            linger_ms=2,
            **options,
        )

    def open(
        self,
        resume: Positions | None = None,
        batch_bytes: int = 4096,
        skip: Sequence[str] = (),
        **events: object,
    ) -> KafkaSource:
        settings = Events(
            topic=self.topic,
            batch_bytes=batch_bytes,
            skip=list(skip),
            **({"stop_at_end": True, "discover_seconds": 0.2} | events),
        )
        return KafkaSource(self.settings, settings, resume=resume, fast=self.fast)


def read_all(source: Source, timeout: float = 20.0) -> list[Records]:
    """Everything until the source has ended."""
    found = []
    while not source.ended():
        records = source.next_batch(timeout)
        assert records is not None or source.ended(), "the source gave nothing and did not end"
        if records is not None:
            found.append(records)
    assert source.next_batch(0) is None
    source.close()
    return found


def values_of(records: Records) -> list[bytes]:
    pairs = zip(records.starts.tolist(), records.ends.tolist(), strict=True)
    return [records.buffer[a:b].tobytes() for a, b in pairs]


def by_source(found: Sequence[Records]) -> dict[str, list[bytes]]:
    """The values by URI; URIs without any are left out."""
    values: dict[str, list[bytes]] = defaultdict(list)
    for records in found:
        values[records.source] += values_of(records)
    return {source: those for source, those in values.items() if those}


def positions_after(start: Positions, found: Sequence[Records]) -> dict[str, Position]:
    """What a checkpoint holds once these records are learned."""
    return start | {records.source: records.after for records in found}
