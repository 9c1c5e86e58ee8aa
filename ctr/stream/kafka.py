"""Events from a Kafka topic: every partition, committed records only, positions of our own."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass
from functools import partial

from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
)
from kafka.util import ensure_valid_topic_name

from ctr.errors import OffsetsLostError, SettingError, SourceError
from ctr.kafka import Backoff, is_refusal, reachable
from ctr.settings import Events, Kafka
from ctr.stream.batches import Chunk, OldFormatError, Piece
from ctr.stream.commits import OffsetCommits
from ctr.stream.connection import TopicConnection
from ctr.stream.fetch import seam_problem
from ctr.stream.health import Health
from ctr.stream.source import Skip, parse_start
from ctr.types import Position, Positions, Records

_log = logging.getLogger(__name__)
_FOREVER = 1 << 62
_PATIENCE_SECONDS = 1.0
_REMIND_SECONDS = 30.0
_TRIES = 3
_POLL_SECONDS = 0.2
_FIND_SECONDS = 0.01
_SLOWLY = "reading with kafka-python's poll(), several times slower: %s"


@dataclass(slots=True)
class _Partition:
    """``position`` is the next offset to give, ``end`` the one not to give any more."""

    number: int
    uri: str
    start: int
    position: int
    end: int
    highwater: int


class KafkaSource:
    """The records of ``events.topic``; the URI is ``kafka:topic/partition``.

    Partitions are assigned by hand, all of them; those found later start at their earliest
    offset. ``resume`` decides where to go on, ``events.start`` a first start. With ``group``,
    ``commit`` tells Kafka under that name. ``fast`` False takes the public ``poll`` of
    kafka-python, True insists on whole record batches, None takes these where they can be had.
    A topic that is not there yet is waited for, ``topic_seconds`` at most when
    ``events.stop_at_end``.

    Nothing is connected before ``next_batch``, which returns None while no broker is reachable and
    raises OffsetsLostError (unless ``events.on_lost_offsets`` is "continue") and SourceError: the
    user is refused, the topic does not come, or a record batch stays broken.
    """

    def __init__(
        self,
        kafka: Kafka,
        events: Events,
        *,
        group: str = "",
        resume: Positions | None = None,
        fast: bool | None = None,
        topic_seconds: float = 30.0,
    ) -> None:
        try:
            ensure_valid_topic_name(events.topic)
        except ValueError as error:
            raise SettingError("events.topic", events.topic, f"a topic's name ({error})") from None
        self._kafka, self._events, self._topic_seconds = kafka, events, topic_seconds
        self._prefix = f"kafka:{events.topic}/"
        self._resume = self._own(resume or {})
        self._is_resumed = bool(self._resume)
        self._first_start, self._skip = parse_start(events.start), Skip(events.skip)
        problem = seam_problem() if fast is None else ""
        if problem:
            _log.warning(_SLOWLY, problem)
        self.fast = not problem if fast is None else fast
        self._commits = OffsetCommits(kafka, events.topic, group) if group else None
        self._counters = {"errors": 0, "corrupt_batches": 0, "offsets_lost": 0}
        self._health = Health(events.topic)
        self._connection: TopicConnection | None = None
        self._partitions: dict[int, _Partition] = {}
        self._first: set[int] = set()
        self._chunks: deque[Chunk] = deque()
        self._backoff, self._retry_at, self._discover_at = Backoff(), 0.0, 0.0
        self._missing_since: float | None = None
        self._remind_at = 0.0
        self._broken: Counter[str] = Counter()

    # ---- the contract of a source

    def next_batch(self, timeout: float) -> Records | None:
        """The next records of one partition."""
        deadline = time.monotonic() + timeout
        while not self.ended():
            left = max(0.0, deadline - time.monotonic())
            try:
                if (connection := self._connected(left)) is not None:
                    self._discover(connection)
                    if self.ended():
                        break
                    records = self._next(connection)
                    if records is None:
                        records = self._poll(connection, left)
                    if records is not None:
                        self._backoff.reset()
                        return records
            except CorruptRecordError as error:
                self._corrupted(error)
            except OldFormatError as error:
                _log.warning(_SLOWLY, error)
                self.fast = False
                self._disconnect()
            except (KafkaError, OSError) as error:
                if is_refusal(error):
                    raise SourceError(f"{self._events.topic}: {error}") from error
                self._failed(repr(error))
            if time.monotonic() >= deadline:
                break
        return None

    def ended(self) -> bool:
        """Whether it stops at the end and has given all that was there when it began."""
        if not self._events.stop_at_end or not self._has_begun():
            return False
        return all(p.position >= p.end for p in self._partitions.values())

    def start(self) -> Positions:
        """Where each partition met so far was begun."""
        return {p.uri: Position("", p.start) for p in list(self._partitions.values())}

    def lag(self) -> dict[str, int]:
        """Records of each partition after those given."""
        partitions = list(self._partitions.values())
        return {p.uri: max(0, p.highwater - p.position) for p in partitions}

    def commit(self, positions: Positions) -> None:
        """Tell Kafka, under ``group``, that these offsets are learned and durable."""
        if self._commits is not None:
            self._commits.commit(self._own(positions))

    def counters(self) -> dict[str, int]:
        """``errors`` of any kind, ``outages``, ``corrupt_batches`` (each read of one),
        ``offsets_lost`` (gaps passed over), ``commit_failures``."""
        failures = self._commits.failures if self._commits else 0
        return self._counters | {"outages": self._health.outages, "commit_failures": failures}

    @property
    def healthy(self) -> bool:
        """Whether the brokers that lead the partitions are connected."""
        return self._health.healthy

    def close(self) -> None:
        """Close the connections; what was to be committed gets two seconds."""
        self._disconnect()
        if self._commits is not None:
            self._commits.close()

    def _own(self, positions: Positions) -> dict[int, int]:
        """The offsets of this topic's partitions among ``positions``."""
        prefix = self._prefix
        own = {uri.removeprefix(prefix): position for uri, position in positions.items()}
        return {int(n): at.offset for n, at in own.items() if n.isdigit()}

    # ---- connecting and finding partitions

    def _connected(self, left: float) -> TopicConnection | None:
        """The connection; None when there is none and ``left`` was waited out."""
        if self._connection is None:
            pause = self._retry_at - time.monotonic()
            time.sleep(max(0.0, min(pause, left)))
            if pause > left:
                return None
            if not reachable(self._kafka):
                self._failed(f"cannot reach {self._kafka.bootstrap_servers}")
                return None
            self._connection = TopicConnection(self._kafka, self._events, fast=self.fast)
            self._discover_at = 0.0
            if self._partitions:
                self._assign(self._connection, list(self._partitions.values()))
        return self._connection

    def _has_begun(self) -> bool:
        """Whether every partition that was there at the start is being read."""
        return bool(self._first) and self._first <= self._partitions.keys()

    def _discover(self, connection: TopicConnection) -> None:
        """Begin partitions that are new; one without a leader is begun when it has one."""
        now = time.monotonic()
        if now < self._discover_at or (self._events.stop_at_end and self._has_begun()):
            return
        found, available = connection.partitions()
        if not found and not self._partitions:
            self._discover_at = now + _FIND_SECONDS
            self._topic_missing(now)
            return
        self._first = self._first or found
        self._discover_at = now + min(1.0, self._events.discover_seconds)
        if new := sorted(available - self._partitions.keys()):
            self._begin(connection, new)

    def _topic_missing(self, now: float) -> None:
        if self._missing_since is None:
            self._missing_since = now
        waited, topic = now - self._missing_since, self._events.topic
        if self._events.stop_at_end and waited > self._topic_seconds:
            servers = self._kafka.bootstrap_servers
            raise SourceError(f"the topic {topic} does not exist at {servers}")
        # the first answer takes a moment also when the topic is there
        if waited > _PATIENCE_SECONDS and now >= self._remind_at:
            self._remind_at = now + _REMIND_SECONDS
            _log.warning("the topic %s does not exist yet; waiting for it", topic)

    def _begin(self, connection: TopicConnection, numbers: list[int]) -> None:
        """Decide where new partitions start, and read them from there."""
        bounds, times = connection.bounds(numbers), {}
        if isinstance(self._first_start, int) and not self._is_resumed:
            times = connection.offsets_at(numbers, self._first_start)
        for gone in sorted(self._resume.keys() - self._first):
            self._lose(f"{self._prefix}{gone}", self._resume.pop(gone), None)
        begun = []
        for n, (earliest, latest) in bounds.items():
            start, uri = earliest, f"{self._prefix}{n}"
            if n in self._resume:
                start = self._resume[n]
                if not earliest <= start <= latest:
                    self._lose(uri, start, (earliest, latest))
                    start = earliest
            elif not self._is_resumed and n in self._first and self._first_start != "earliest":
                start = times.get(n, latest)
            end = latest if self._events.stop_at_end else _FOREVER
            begun.append(_Partition(n, uri, start, start, end, latest))
        self._assign(connection, begun)
        self._partitions |= {p.number: p for p in begun}
        _log.info("reading %d partitions of %s", len(self._partitions), self._events.topic)

    def _assign(self, connection: TopicConnection, partitions: list[_Partition]) -> None:
        connection.assign({p.number: p.position for p in partitions})
        for partition in partitions:
            if partition.position >= partition.end:
                connection.pause(partition.number)

    # ---- reading

    def _poll(self, connection: TopicConnection, left: float) -> Records | None:
        """Wait for the broker at most ``left`` seconds."""
        # not for long at once: partitions may come, and the brokers go
        wait = min(left, _POLL_SECONDS if self._partitions else _FIND_SECONDS)
        chunks: list[Chunk] = []
        try:
            chunks = connection.poll(wait)
        except OffsetOutOfRangeError as error:
            self._offsets_gone(connection, dict.fromkeys(at.partition for at in error.args[0]))
        except LogTruncationError as error:
            diverged = error.divergent_offsets.items()
            gone = {at.partition: there and there.offset for at, there in diverged}
            self._offsets_gone(connection, gone)
        self._chunks.extend(chunks)
        for n, partition in self._partitions.items():
            partition.highwater = connection.highwater(n) or partition.highwater
        self._health.notice(bool(chunks) or connection.is_connected())
        return self._next(connection)

    def _next(self, connection: TopicConnection) -> Records | None:
        """The next piece of what was polled."""
        most = self._events.batch_bytes
        while self._chunks:
            partition = self._partitions[self._chunks[0].partition]
            left_out = partial(self._skip.covers, partition.uri)
            first, last = partition.position, partition.end - 1
            piece = self._chunks[0].take(first, last, most, left_out)
            if piece is None:
                self._chunks.popleft()
            elif piece.next_offset > first:
                if piece.next_offset >= partition.end:
                    connection.pause(partition.number)
                return self._given(partition, piece)
        return None

    def _given(self, partition: _Partition, piece: Piece) -> Records:
        partition.position = piece.next_offset
        after = Position("", piece.next_offset)
        records = Records(partition.uri, *piece[:-1], after)
        return self._skip.leave_out(records, partition.uri)

    # ---- what goes wrong

    def _failed(self, why: str) -> None:
        """Begin again with a new connection, after a pause."""
        self._counters["errors"] += 1
        self._health.failed(why)
        self._disconnect()
        self._retry_at = time.monotonic() + self._backoff.next()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._chunks.clear()
        if connection is not None:
            connection.close()

    def _corrupted(self, error: CorruptRecordError) -> None:
        """A checksum failed: perhaps on the way here, so read again; on the disk it stays so."""
        self._counters["corrupt_batches"] += 1
        self._broken[str(error)] += 1
        if self._broken[str(error)] >= _TRIES:
            raise SourceError(
                f"{self._events.topic}: {error} (read {_TRIES} times); events.skip can leave its "
                "offsets out"
            ) from error
        self._failed(str(error))

    def _offsets_gone(self, connection: TopicConnection, gone: dict[int, int | None]) -> None:
        """Kafka no longer has what comes next: say so, or go on where it can be."""
        bounds = connection.bounds(gone)
        for n, divergent in gone.items():
            partition = self._partitions[n]
            self._lose(partition.uri, partition.position, bounds[n])
            partition.position = bounds[n][0] if divergent is None else divergent
            connection.seek(n, partition.position)

    def _lose(self, uri: str, wanted: int, bounds: tuple[int, int] | None) -> None:
        self._counters["offsets_lost"] += 1
        there = f"has {bounds[0]} to {bounds[1]}" if bounds else "has no such partition"
        if self._events.on_lost_offsets == "error":
            raise OffsetsLostError(
                f"{uri}: offset {wanted}, which comes next, is no longer there; the topic {there}. "
                'events.on_lost_offsets = "continue" goes on at the earliest and counts it'
            )
        _log.warning("%s: offset %d is lost; the topic %s", uri, wanted, there)
