"""The end of a model topic: the last version, and whose it is."""

from __future__ import annotations

import contextlib
import time
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from ctr.errors import ModelTopicError
from ctr.kafka import connect
from ctr.model.records import CLAIM, MANIFEST, Claim
from ctr.settings import Kafka

_FIRST_LOOK = 32


class Tail(NamedTuple):
    """What was committed last. ``version`` is 0 and ``session`` empty on an empty topic."""

    version: int = 0
    session: str = ""
    manifest: bytes | None = None


class _Ends(msgspec.Struct):
    """Of a manifest of any format, what a writer must know."""

    version: int
    session: str = ""


def consumer_options() -> dict[str, Any]:
    """What every reader of a model topic is made with."""
    return {
        "group_id": None,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "max_partition_fetch_bytes": 8 << 20,
    }


def read_tail(kafka: Kafka, topic: str, timeout: float = 20.0) -> Tail:
    """The last committed version of a model topic and the session that claimed it last.

    Reads backwards from the end in growing steps: a publish ends with its manifest, which names
    its session, so nothing before the last manifest matters. Raises ModelTopicError when the
    topic cannot be read to its end within ``timeout`` seconds, SourceError when the broker
    refuses the user.
    """
    deadline = time.monotonic() + timeout
    partition = TopicPartition(topic, 0)
    consumer = None
    try:
        consumer = connect(
            KafkaConsumer,
            kafka,
            bootstrap_timeout_ms=int(1000 * timeout),
            **consumer_options(),
        )
        consumer.assign([partition])
        begin = consumer.beginning_offsets([partition], 1000 * timeout)[partition]
        end = consumer.end_offsets([partition], 1000 * timeout)[partition]
        look = _FIRST_LOOK
        while True:
            start = max(begin, end - look)
            tail = _read(consumer, partition, start, end, deadline)
            if start == begin or tail.manifest is not None:
                return tail
            look *= 8
    except (KafkaError, OSError) as error:
        raise ModelTopicError(f"the end of {topic} cannot be read: {error}") from error
    finally:
        if consumer is not None:
            with contextlib.suppress(KafkaError):
                consumer.close(timeout_ms=1000)


def _read(
    consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int, deadline: float
) -> Tail:
    tail = Tail()
    consumer.seek(partition, start)
    while consumer.position(partition) < end:
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"at offset {consumer.position(partition)} of {end}")
        for record in consumer.poll(timeout_ms=200).get(partition, ()):
            tail = _after(tail, record.key, record.value)
    return tail


def _after(tail: Tail, key: bytes | None, value: bytes | None) -> Tail:
    try:
        if key == MANIFEST.encode() and value:
            ends = msgspec.json.decode(value, type=_Ends)
            return Tail(ends.version, ends.session, value)
        if key == CLAIM.encode() and value:
            return tail._replace(session=msgspec.json.decode(value, type=Claim).session)
    except msgspec.DecodeError as error:
        raise ModelTopicError(f"a record {key!r} is damaged: {error}") from None
    return tail
