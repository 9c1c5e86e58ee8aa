"""Following a model topic: a consumer, and an ``Assembler`` that it feeds."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from ctr.errors import SourceError
from ctr.kafka import Backoff, connect
from ctr.model.assembler import Assembler
from ctr.model.sparse import Allocate
from ctr.model.tail import consumer_options
from ctr.model.update import Update
from ctr.settings import Kafka

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 2.0
_PROBE_SECONDS = 5.0


class TopicFollower:
    """Versions from a model topic, newest first to be served; a ``Follower``.

    Begins with the topic's first record and shows nothing before it has read all that was
    committed when it began. When the broker is away, polls return None until it is back; when
    what was read does not add up, it begins again, ever less often. ``allocate`` is as for
    ``SparseModel``.
    """

    def __init__(
        self,
        kafka: Kafka,
        topic: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        allocate: Allocate | None = None,
    ) -> None:
        self.topic = topic
        self._kafka = kafka
        self._clock = clock
        self._partition = TopicPartition(topic, 0)
        self._consumer: KafkaConsumer | None = None
        self._assembler = Assembler(allocate)
        self._errors = 0
        self._error = ""
        self._backoff = Backoff(first=0.2, most=5.0)
        self._restarts = Backoff(first=0.5, most=60.0)
        self._position = -1
        self._begin_until = 0
        self._not_before = 0.0
        self._probed = 0.0

    @property
    def errors(self) -> int:
        return self._errors + self._assembler.faults

    @property
    def last_error(self) -> str:
        return self._error or self._assembler.fault

    @property
    def newest(self) -> int:
        return self._assembler.newest

    @property
    def caught_up(self) -> bool:
        """Whether all that was committed at the start has been read."""
        return 0 <= self._begin_until <= self._position

    def poll(self, timeout: float) -> Update | None:
        """See ``Follower.poll``."""
        deadline = self._clock() + timeout
        while True:
            pause = self._not_before - self._clock()
            left = max(0.0, deadline - self._clock())
            if pause > 0:
                time.sleep(min(pause, left))
            else:
                update = self._step(left)
                if update is not None:
                    return update
            if self._clock() >= deadline:
                return None

    def close(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError):
                self._consumer.close(timeout_ms=1000)
        self._consumer = None

    def _step(self, timeout: float) -> Update | None:
        """Read what there is, and assemble."""
        try:
            if self._consumer is None:
                self._connect()
            self._read(timeout)
        except OffsetOutOfRangeError:
            self._begin_again(f"{self.topic} does not have the offset {self._position} any more")
            return None
        except (KafkaError, OSError, SourceError) as error:
            self._failed(error)
            return None
        update = self._assembler.update() if self.caught_up else None
        if self._assembler.again:
            self._begin_again(self._assembler.fault)
        elif update is not None:
            self._error = self._assembler.fault = ""
            self._restarts.reset()
        return update

    def _connect(self) -> None:
        self._consumer = connect(
            KafkaConsumer,
            self._kafka,
            bootstrap_timeout_ms=int(1000 * _ANSWER_SECONDS),
            **consumer_options(),
        )
        self._consumer.assign([self._partition])
        if self._position < 0:
            self._position = self._offset(self._consumer.beginning_offsets)
            self._begin_until = self._offset(self._consumer.end_offsets)
        self._consumer.seek(self._partition, self._position)
        self._probed = self._clock()
        self._backoff.reset()

    def _read(self, timeout: float) -> None:
        assert self._consumer is not None
        polled = self._consumer.poll(timeout_ms=int(1000 * timeout))
        for record in polled.get(self._partition, ()):
            self._assembler.feed(record.key, record.value)
        self._position = self._consumer.position(self._partition, timeout_ms=0)
        if polled:
            self._probed = self._clock()
        elif self._clock() - self._probed > _PROBE_SECONDS:
            # silence is the same whether nothing is published or the broker is away
            self._offset(self._consumer.end_offsets)
            self._probed = self._clock()

    def _offset(self, ask: Any) -> int:
        offset: int = ask([self._partition], 1000 * _ANSWER_SECONDS)[self._partition]
        return offset

    def _failed(self, error: Exception) -> None:
        """The broker is away, or says no: what has been read stays, and so does the position."""
        self._errors += 1
        self._error = f"{self.topic} cannot be read: {type(error).__name__}: {error}"
        _log.warning("%s", self._error)
        self._not_before = self._clock() + self._backoff.next()
        self.close()

    def _begin_again(self, why: str) -> None:
        """From the first record, and not at once if that has just been tried."""
        _log.warning("%s is read from its beginning: %s", self.topic, why or "no longer held")
        self._assembler.restart()
        self._position = -1
        self._not_before = self._clock() + (self._restarts.next() if why else 0.0)
        self.close()
