"""What stands on a model topic: the last version, claim and hold, and what was said of the gate."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError, OffsetOutOfRangeError

from ctr.errors import DamagedFileError, ModelTopicError
from ctr.kafka import connect
from ctr.model.gate import Order, Status, order_from, status_from
from ctr.model.records import CLAIM, CONTROL, GATE, HELD, MANIFEST, OVERRIDE, Claim, Control
from ctr.model.tail import consumer_options
from ctr.settings import Kafka

_HELD = f"{HELD}/".encode()


class Standing:
    """The last record of each small kind on a topic, without its pages.

    ``read`` takes in what was committed since it was called last, at first the whole topic. It
    is for one thread. What is damaged is passed over: a follower judges it.

    ``manifest`` is the last version's as bytes, ``claim`` the last writer's, ``control`` the last
    hold or release, ``status`` what was last said of the gate by itself (manifests say it too),
    ``order`` the last about the gate; each None when there is none. ``held`` are the keys under
    which the pages of a held version lie.
    """

    def __init__(
        self, kafka: Kafka, topic: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.topic = topic
        self.manifest: bytes | None = None
        self.claim: Claim | None = None
        self.control: Control | None = None
        self.status: Status | None = None
        self.order: Order | None = None
        self.held: set[bytes] = set()
        self._kafka, self._clock = kafka, clock
        self._partition = TopicPartition(topic, 0)
        self._consumer: KafkaConsumer | None = None
        self._at, self._own, self._behind = -1, 0, True

    def read(self, timeout: float = 20.0, own: int = 0) -> bool:
        """Read on, for ``timeout`` seconds or so; whether the end was reached.

        A writer gives as ``own`` how many offsets its own committed transactions have taken up
        until now: as long as nobody else writes, nothing is read. (A transaction is visible a
        moment after it was committed; called sooner than that, it is read after all.) Raises
        ModelTopicError when the topic cannot be read, SourceError when the broker refuses the user.
        """
        deadline = self._clock() + timeout
        try:
            if self._consumer is None:
                self._connect(timeout)
            end = self._offset("end_offsets", deadline)
            if not 0 <= self._at <= end:
                # the first time, or the topic was made anew
                self._at, self._behind = self._offset("beginning_offsets", deadline), True
            if self._behind or end - self._at != own - self._own:
                self._behind = True
                self._read_to(end, deadline)
            if self._at < end and self._behind:
                return False
        except OffsetOutOfRangeError:
            self._at = -1
            return False
        except (KafkaError, OSError) as error:
            self.close()
            raise ModelTopicError(f"{self.topic} cannot be read: {error}") from error
        self._at, self._own, self._behind = end, own, False
        return True

    def close(self) -> None:
        """Give the connection up; the next ``read`` makes another."""
        if self._consumer is not None:
            with contextlib.suppress(KafkaError):
                self._consumer.close(timeout_ms=1000)
        self._consumer = None

    def _connect(self, timeout: float) -> None:
        self._consumer = connect(
            KafkaConsumer,
            self._kafka,
            bootstrap_timeout_ms=int(1000 * timeout),
            **consumer_options(),
        )
        if not self._consumer.partitions_for_topic(self.topic):
            self.close()
            raise ModelTopicError(f"there is no topic {self.topic}: nothing is published there yet")
        self._consumer.assign([self._partition])

    def _offset(self, which: str, deadline: float) -> int:
        ask: Any = getattr(self._consumer, which)
        left = max(1.0, 1000 * (deadline - self._clock()))
        offset: int = ask([self._partition], left)[self._partition]
        return offset

    def _read_to(self, end: int, deadline: float) -> None:
        assert self._consumer is not None
        self._consumer.seek(self._partition, self._at)
        while self._at < end and self._clock() < deadline:
            for record in self._consumer.poll(timeout_ms=200).get(self._partition, ()):
                self._take(record.key, record.value)
            position = self._consumer.position(self._partition, timeout_ms=0)
            if position is None:
                raise KafkaTimeoutError(f"no position after {self._at}")
            self._at = position

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        with contextlib.suppress(msgspec.DecodeError, DamagedFileError):
            if key == MANIFEST.encode():
                self.manifest = value
            elif key == CONTROL.encode():
                self.control = msgspec.json.decode(value, type=Control) if value else None
            elif key == CLAIM.encode():
                self.claim = msgspec.json.decode(value, type=Claim) if value else None
            elif key == GATE.encode():
                self.status = status_from(value) if value else None
            elif key == OVERRIDE.encode():
                self.order = order_from(value) if value else None
            elif key is not None and key.startswith(_HELD):
                (self.held.discard if value is None else self.held.add)(key)
