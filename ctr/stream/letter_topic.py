"""Dead letters in a Kafka topic: the event's bytes are the value, the rest is in headers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaTimeoutError

from ctr.kafka import connect, ensure_topic, topic_configs, topic_partitions
from ctr.settings import Kafka
from ctr.stream.dead_letters import Letter

MARGIN_BYTES = 64 << 10
"""By how much a dead-letter topic takes larger records than the topic of the events."""

_LEAST_BYTES = 1 << 20
_REQUEST_BYTES = 100 << 20  # socket.request.max.bytes, the broker's own limit
_FOREVER_MS = (1 << 31) - 1


class TopicDelivery:
    """Produces letters to ``topic``, with the headers ``ctr.reason`` and ``ctr.source``.

    The topic is made, or its limit raised, so that it takes every record ``source_topic`` (may be
    empty) takes, and 64 KiB more; a letter that is larger still raises it again.
    """

    def __init__(self, kafka: Kafka, topic: str, source_topic: str = "") -> None:
        self._kafka, self._topic, self._source_topic = kafka, topic, source_topic
        self._producer: KafkaProducer | None = None
        self._room = 0

    def prepare(self) -> None:
        """Make and check the topic; SettingError when its limit is too small and is not ours."""
        self._make_room(_LEAST_BYTES)

    def deliver(self, letters: Sequence[Letter], closing: threading.Event) -> int:
        """Produce letters and wait until all are acknowledged, through an outage too.

        After a failure those before the first that failed count.
        """
        largest = max(len(letter.value) for letter in letters)
        if largest > self._room:
            self._make_room(largest)
        futures: list[Any] = []
        try:
            self._produce(letters, futures, closing)
        except BaseException:
            # nothing is known about the rest: a new producer, and the topic looked at again
            self.close()
            self._room = 0
            acknowledged = sum(1 for _ in takewhile(lambda future: future.succeeded(), futures))
            if acknowledged:
                return acknowledged
            raise
        return len(letters)

    def close(self) -> None:
        """Drop the producer with what it holds: the letters are still pending."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=0)
            except KafkaTimeoutError:  # it flushes first, and then does not end its thread
                producer._sender.force_close()

    def _produce(
        self, letters: Sequence[Letter], futures: list[Any], closing: threading.Event
    ) -> None:
        if self._producer is None:
            self._producer = connect(
                KafkaProducer,
                self._kafka,
                compression_type="zstd",
                linger_ms=5,
                max_block_ms=5000,
                max_request_size=_REQUEST_BYTES,
                delivery_timeout_ms=_FOREVER_MS,
                bootstrap_timeout_ms=5000,
                metrics_enabled=False,
            )
        for source, reason, value in letters:
            headers = [("ctr.reason", reason.encode()), ("ctr.source", source.encode())]
            futures.append(self._producer.send(self._topic, value, headers=headers))
        while not all(future.is_done for future in futures):
            try:
                self._producer.flush(timeout=0.5)
            except KafkaTimeoutError:
                if closing.is_set():
                    raise
        for future in futures:
            if future.failed():
                raise future.exception

    def _make_room(self, size: int) -> None:
        """See to it that the topic is there and takes records of ``size`` and a margin."""
        with connect(KafkaAdminClient, self._kafka, bootstrap_timeout_ms=5000) as admin:
            if self._source_topic and topic_partitions(admin, self._source_topic):
                limit = int(topic_configs(admin, self._source_topic)["max.message.bytes"])
                size = max(size, limit)
            ensure_topic(
                admin,
                self._topic,
                -1,
                at_least={"max.message.bytes": size + MARGIN_BYTES},
                replication_factor=self._kafka.replication_factor,
            )
        self._room = size
