"""Publishing a model to its compacted topic, as the only one who does."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from ctr.errors import FencedError, ModelTopicError
from ctr.kafka import connect, ensure_topic
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.records import BLOCKS, CLAIM, RING, Claim, Key, Layout, Record, publish_records
from ctr.model.tail import Tail, read_tail
from ctr.model.transactions import FencedProducer, PublishError, Transactions
from ctr.settings import Kafka

_log = logging.getLogger(__name__)

TOPIC_CONFIGS = {
    "cleanup.policy": "compact",
    # small segments that are closed and cleaned soon: a server that starts reads little twice
    "segment.bytes": str(16 << 20),
    "segment.ms": str(10 * 60_000),
    "max.compaction.lag.ms": str(10 * 60_000),
    "min.cleanable.dirty.ratio": "0.2",
}
"""Settings of a model topic."""

MESSAGE_BYTES = 1 << 20
"""The topic must take messages of at least this size."""


@dataclass(frozen=True, slots=True)
class Published:
    """A version that is committed: its complete manifest, its bytes, the seconds it took."""

    manifest: Manifest
    bytes: int
    seconds: float


class TopicWriter:
    """Publishes versions of one model, each in one transaction.

    ``session`` is unique to the process (a UUID). First ``claim``: from then on any writer that
    claimed before fails at its next publish, and so does this one once another has claimed. The
    first version after a claim or a failure is whole: it rewrites every block. Used by one
    thread.
    """

    def __init__(
        self,
        kafka: Kafka,
        topic: str,
        session: str,
        *,
        clock: Callable[[], float] = time.time,
        blocks: int = BLOCKS,
        ring: int = RING,
        timeout: float = 20.0,
    ) -> None:
        self.topic = topic
        self.session = session
        self.version = 0
        self.offsets = 0
        """Offsets that committed transactions of this writer have taken up, markers included."""
        self._kafka = kafka
        self._clock = clock
        self._blocks, self._ring = blocks, ring
        self._timeout = timeout
        self._whole = True
        self._claimed = False
        self._transactions: Transactions | None = None

    def claim(self, after: int = 0) -> Tail:
        """Become the topic's writer; returns its end, this claim included. Makes and checks it.

        ``after`` is the last version that the checkpoint knows of; versions go on after the
        highest of both, from 1. Raises PublishError and ModelTopicError when the broker cannot be
        reached (try again), SettingError for a topic that is set up wrongly and cannot be
        changed, FencedError when another writer claims at the same time.
        """
        self._discard()
        tail = self._open(taking_over=True)
        self.version = max(self.version, after)
        self._claimed = True
        _log.info("writing %s after version %d", self.topic, self.version)
        return tail

    def publish(self, manifest: Manifest, image: Image) -> Published:
        """Publish ``image`` with the changes since it was last asked for them.

        Of ``manifest`` the upper half is used; version, sums, layout and session are filled in.
        Raises FencedError when the topic has another writer now: stop then. Raises PublishError
        and ModelTopicError when it did not work: try again later, the next one is whole.
        """
        changes = image.take_changes()
        try:
            return self._publish(manifest, image, changes)
        except FencedProducer:
            # so is a producer whose transaction took too long; who claimed last tells them apart
            _log.info("the producer of %s was fenced", self.topic)
        try:
            return self._publish(manifest, image, changes)
        except FencedProducer as error:
            raise PublishError(str(error)) from error

    def say(self, record: Record) -> None:
        """Write a record between two versions. Raises as ``publish`` does."""
        if not self._claimed:
            raise PublishError(f"{self.topic} must be claimed before it is written")
        try:
            self._write([record])
        except FencedProducer as error:
            raise PublishError(str(error)) from error

    def close(self, timeout: float = 1.0) -> None:
        """Give the producer up."""
        if self._transactions is not None:
            self._transactions.close(timeout)
        self._transactions = None

    def _publish(self, manifest: Manifest, image: Image, changes: Pages) -> Published:
        started = time.monotonic()
        if not self._claimed:
            raise PublishError(f"{self.topic} must be claimed before it is written")
        if self._transactions is None:
            self._open(taking_over=False)
        self.version += 1  # whatever becomes of it: a version that failed may have been seen
        layout = Layout.of(image.model.bits, self._blocks, self._ring)
        complete = manifest.describing(
            image.model,
            version=self.version,
            encoding=image.encoding,
            session=self.session,
            published=int(1000 * self._clock()),
            blocks=layout.blocks,
            ring=layout.ring,
            whole=self._whole,
        )
        size = self._write(publish_records(complete, image.model, changes))
        self._whole = False
        return Published(complete, size, time.monotonic() - started)

    def _open(self, taking_over: bool) -> Tail:
        """A new producer; unless ``taking_over``, only if nobody else has claimed the topic.

        First it takes the transactional id, then it looks: whoever claimed before is seen, and
        whoever claims later fences this producer. Who takes over claims before it looks, at once:
        the writer before, which is fenced now, takes its producer back unless it sees the claim.
        """
        self._ensure_topic()
        transactions = Transactions(self._kafka, f"{self.topic}.writer", self._timeout)
        try:
            if taking_over:
                transactions.write(self.topic, [self._claim_record()])
            tail = read_tail(self._kafka, self.topic, self._timeout)
            if tail.session not in ("", self.session):
                raise FencedError(f"{self.topic} has another writer now, session {tail.session}")
            if not tail.session:  # the topic was made anew
                transactions.write(self.topic, [self._claim_record()])
        except FencedProducer as error:
            transactions.close(0)
            raise FencedError(f"another writer claims {self.topic}: {error}") from error
        except BaseException:
            transactions.close(0)
            raise
        self._transactions = transactions
        self.offsets += transactions.offsets
        self.version = max(self.version, tail.version)
        return tail

    def _write(self, records: Iterable[Record]) -> int:
        """In one transaction; returns the bytes. The producer is of no more use after an error."""
        if self._transactions is None:
            self._open(taking_over=False)
        assert self._transactions is not None
        before = self._transactions.offsets
        try:
            size = self._transactions.write(self.topic, records)
            self.offsets += self._transactions.offsets - before
        except BaseException:
            self._discard()
            raise
        return size

    def _claim_record(self) -> Record:
        claim = Claim(self.session, int(1000 * self._clock()), socket.gethostname(), os.getpid())
        return Key(CLAIM).to_bytes(), msgspec.json.encode(claim)

    def _discard(self) -> None:
        self._whole = True
        self.close(0)

    def _ensure_topic(self) -> None:
        admin = None
        try:
            admin = connect(
                KafkaAdminClient, self._kafka, bootstrap_timeout_ms=int(1000 * self._timeout)
            )
            partitions = ensure_topic(
                admin,
                self.topic,
                1,
                TOPIC_CONFIGS,
                at_least={"max.message.bytes": MESSAGE_BYTES},
                replication_factor=self._kafka.replication_factor,
            )
        except (KafkaError, OSError) as error:
            raise PublishError(f"{self.topic} cannot be made or checked: {error}") from error
        finally:
            if admin is not None:
                admin.close()
        if partitions != 1:
            raise ModelTopicError(f"{self.topic} must have 1 partition; it has {partitions}")
