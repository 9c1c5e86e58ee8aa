"""The prediction log: sampled answers as events without a label, in a Kafka topic."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from time import monotonic, sleep, time
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from msgspec import MsgspecError
from prometheus_client import CollectorRegistry

from ctr.errors import CtrError
from ctr.kafka import Backoff, connect, ensure_topic
from ctr.observe.watchers import PredictionLogMetrics
from ctr.serve.logged import Logged, logged
from ctr.serve.watching import PAUSE_SECONDS, Asked, QueuedWatcher, Waiting
from ctr.settings import Config, Kafka

SAMPLE_HEADER = "ctr.sample"
"""Kafka header of each event: the share of requests that were logged, as text."""

_PART_EVENTS, _PART_BYTES = 200, 4 << 20
_TURN_EVENTS = 20
_BATCH_BYTES = 256 << 10
_MARGIN_BYTES = 64 << 10
_LEAST_BYTES = 1 << 20
_REQUEST_BYTES = 100 << 20  # socket.request.max.bytes, the broker's own limit
_FOREVER_MS = (1 << 31) - 1
_ANSWER_MS = 2000
_PATIENCE_SECONDS = 5.0
_FAILURES = (KafkaError, CtrError, OSError)


class PredictionLog(QueuedWatcher):
    """Logs each request with the probability ``prediction_log.sample``, all of its events or none.

    While Kafka is away requests wait, ``prediction_log.max_buffered`` of them; more are dropped
    and counted. After an outage an event may be there twice. ``draw`` returns uniform numbers
    in [0, 1).
    """

    role = "prediction_log"

    def __init__(
        self,
        config: Config,
        metrics: PredictionLogMetrics,
        draw: Callable[[], float] = random.random,
    ) -> None:
        settings = config.prediction_log
        super().__init__("prediction log", settings.max_buffered)
        self.topic = config.path(settings.topic)
        self.sample = settings.sample
        self.metrics = metrics
        self.last_failure = ""
        self._model = config.model.name
        self._draw = draw
        self._writer = TopicLog(config.kafka, self.topic, self.sample)

    def status(self) -> dict[str, Any]:
        """Where answers are logged, how many wait, and what is wrong ("" when nothing is)."""
        return {
            "topic": self.topic,
            "sample": self.sample,
            "waiting": self.waiting,
            "last_failure": self.last_failure,
        }

    def seen(self, asked: Asked) -> None:
        if self._draw() < self.sample:
            super().seen(asked)

    def opened(self) -> None:
        """Make the topic, so that what is wrong with it is said before the first answer."""
        try:
            self._writer.prepare()
        except _FAILURES as error:
            self._failed(error)

    def work(self, group: list[Waiting]) -> None:
        for part in in_parts(chain.from_iterable(map(self._events, group))):
            self._write(part)

    def dropped(self, waiting: Waiting, reason: str) -> None:
        self.metrics.dropped(len(waiting.probabilities), reason)

    def idle(self) -> None:
        self.metrics.waiting(self.waiting)

    def closed(self) -> None:
        self._writer.close()

    def _events(self, asked: Waiting) -> Iterator[Logged]:
        """The events of a request; one that cannot be made into them is no other's fault."""
        made = 0
        try:
            for event in logged(asked, self._model):
                made += 1
                yield event
        except (MsgspecError, ValueError) as error:
            self.say("a request cannot be logged: %r", error, trace=True)
            self.metrics.dropped(len(asked.probabilities) - made, "fault")

    def _write(self, part: list[Logged]) -> None:
        """Write, and try again until it worked or there is no time left."""
        backoff = Backoff(first=0.2, most=2.0)
        while self.time_left:
            try:
                refused = self._writer.write(part, self._waits)
            except _FAILURES as error:
                self._failed(error)
                sleep(min(backoff.next(), self.time_left))
                continue
            self.metrics.written(len(part) - len(refused))
            if refused:
                self.metrics.dropped(len(refused), "refused")
                self._failed(refused[0])
            else:
                self.last_failure = ""
            return
        self.metrics.dropped(len(part), "stopped")

    def _waits(self, seconds: float) -> bool:
        """Kafka has not acknowledged for so long: whether to wait on."""
        if seconds > _PATIENCE_SECONDS and not self.last_failure:
            self._failed(KafkaTimeoutError("the brokers do not answer"))
        return self.time_left > 0

    def _failed(self, error: Exception) -> None:
        self.metrics.failed()
        why = str(error) if isinstance(error, (KafkaError, CtrError)) else repr(error)
        self.last_failure = f"{self.topic} cannot be written: {why}"
        self.say("%s; %d requests wait", self.last_failure, self.waiting)


class TopicLog:
    """Events into a Kafka topic, one a record, keyed by id. Used by one thread.

    The topic is made, or its limit raised, so that it takes the largest event so far.
    """

    def __init__(self, kafka: Kafka, topic: str, sample: float) -> None:
        self._kafka, self._topic = kafka, topic
        self._headers = [(SAMPLE_HEADER, repr(sample).encode())]
        self._producer: KafkaProducer | None = None
        self._room = 0

    def prepare(self, largest: int = _LEAST_BYTES) -> None:
        """Make and check the topic; SettingError when its limit is too small and is not ours."""
        with connect(KafkaAdminClient, self._kafka, bootstrap_timeout_ms=_ANSWER_MS) as admin:
            ensure_topic(
                admin,
                self._topic,
                -1,
                at_least={"max.message.bytes": largest + _MARGIN_BYTES},
                replication_factor=self._kafka.replication_factor,
            )
        self._room = largest

    def write(self, events: list[Logged], wait: Callable[[float], bool]) -> list[Exception]:
        """Write events and wait for their acknowledgement; why those that are not were refused.

        ``wait`` is asked every half second, and told for how long it has been. Raises KafkaError,
        SourceError, SettingError and OSError when it is not known what was written: try again.
        """
        largest = max(len(event) for _, event in events)
        if largest > self._room:
            self.prepare(max(largest, _LEAST_BYTES))
        futures: list[Any] = []
        try:
            producer = self._connected()
            for k, (key, event) in enumerate(events):
                if k % _TURN_EVENTS == 0:
                    sleep(PAUSE_SECONDS)
                futures.append(producer.send(self._topic, event, key, self._headers))
            began = monotonic()
            while not all(future.is_done for future in futures):
                try:
                    producer.flush(timeout=0.5)
                except KafkaTimeoutError:
                    if not wait(monotonic() - began):
                        raise
        except BaseException:
            self.close()
            raise
        refused = [future.exception for future in futures if future.failed()]
        if refused:
            # a producer that failed may go on failing, and the topic's limit may not be ours now
            self.close()
            self._room = 0
        return refused

    def close(self) -> None:
        """Drop the producer with what it holds."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=0)
            except KafkaTimeoutError:  # it flushes first, and then does not end its thread
                producer._sender.force_close()

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = connect(
                KafkaProducer,
                self._kafka,
                compression_type="zstd",
                batch_size=_BATCH_BYTES,
                linger_ms=5,
                max_block_ms=_ANSWER_MS,
                max_request_size=_REQUEST_BYTES,
                delivery_timeout_ms=_FOREVER_MS,
                bootstrap_timeout_ms=_ANSWER_MS,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        return self._producer


def in_parts(
    events: Iterable[Logged], most: int = _PART_EVENTS, most_bytes: int = _PART_BYTES
) -> Iterator[list[Logged]]:
    """``events`` by so many at once, and so many bytes, or one that is larger.

    One request can make more bytes than fit into memory: its context is in all its events.

    >>> [len(part) for part in in_parts([Logged(b"", bytes(n)) for n in (5, 5, 9, 1, 1)], 2, 10)]
    [2, 2, 1]
    """
    part: list[Logged] = []
    size = 0
    for event in events:
        size += len(event.event)
        if part and (len(part) == most or size > most_bytes):
            yield part
            part, size = [], len(event.event)
        part.append(event)
    if part:
        yield part


def make(
    config: Config,
    registry: CollectorRegistry,
    clock: Callable[[], float] = time,
) -> PredictionLog | None:
    """The prediction log that ``config`` asks for; None when ``prediction_log.sample`` is 0."""
    if not config.prediction_log.sample:
        return None
    return PredictionLog(config, PredictionLogMetrics(registry, config.model.name))
