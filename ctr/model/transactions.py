"""One transaction of records to one topic: committed whole, or an error and nothing visible."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFencedError,
)

from ctr.errors import CtrError
from ctr.kafka import connect
from ctr.model.records import Record
from ctr.settings import Kafka

TRANSACTION_SECONDS = 30
"""After this the broker itself aborts an open transaction, so that readers go on."""

_REQUEST_BYTES = 1 << 20
_BATCH_BYTES = 512 << 10
_ABORT_SECONDS = 5.0
_BACKOFF_MS = 20
"""kafka-python waits this long also for what is no error, twice before the first transaction."""


class PublishError(CtrError):
    """A publish failed, or nobody knows; the next one is whole. The broker may be away."""


class FencedProducer(CtrError):
    """The broker gave this transactional id to another producer, or timed the transaction out."""


class Transactions:
    """A producer with a transactional id; whoever opened the id before is fenced off.

    After an error the producer is of no more use: ``close`` it and make another. Raises
    PublishError when it cannot be opened within ``timeout`` seconds, SourceError when the broker
    refuses the user.
    """

    def __init__(self, kafka: Kafka, transactional_id: str, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self.offsets = 0
        """Offsets that its committed transactions have taken up, the marker of each included."""
        milliseconds = int(1000 * timeout)
        self._producer: Any = None
        try:
            self._producer = connect(
                KafkaProducer,
                kafka,
                transactional_id=transactional_id,
                transaction_timeout_ms=1000 * TRANSACTION_SECONDS,
                bootstrap_timeout_ms=milliseconds,
                max_block_ms=milliseconds,
                request_timeout_ms=milliseconds // 2,
                retry_backoff_ms=_BACKOFF_MS,
                # shorter than the timeout: a batch that expires says so, and is not just late
                delivery_timeout_ms=milliseconds * 3 // 4,
                max_request_size=_REQUEST_BYTES,
                batch_size=_BATCH_BYTES,
                allow_auto_create_topics=False,
            )
            self._producer.init_transactions()
        except (KafkaError, OSError) as error:
            self.close(0)
            raise PublishError(f"no producer for {transactional_id}: {error}") from error

    def write(self, topic: str, records: Iterable[Record]) -> int:
        """Write ``records`` to partition 0 of ``topic`` in one transaction; returns their bytes.

        Raises FencedProducer, or PublishError for all else that fails; the records are not
        visible then, unless it was the very answer to the commit that got lost.
        """
        deadline = time.monotonic() + self.timeout
        try:
            size, count = self._send(topic, records, deadline)
            self._end(True, deadline)
        except (KafkaError, OSError) as error:
            with contextlib.suppress(KafkaError, OSError):
                self._end(False, time.monotonic() + min(_ABORT_SECONDS, self.timeout))
            if self._is_fenced(error):
                raise FencedProducer(f"{topic}: {error}") from error
            raise PublishError(f"publishing to {topic} failed: {error}") from error
        self.offsets += count + 1
        return size

    def close(self, timeout: float = 1.0) -> None:
        """Stop the producer's thread; with 0 seconds whatever it is doing."""
        if self._producer is None:
            return
        if timeout <= 0:
            # close() waits for what is on its way first, and fails if that does not arrive
            self._producer._sender.force_close()
        with contextlib.suppress(KafkaError):
            self._producer.close(timeout=max(timeout, 1.0))

    def _send(self, topic: str, records: Iterable[Record], deadline: float) -> tuple[int, int]:
        self._producer.begin_transaction()
        sent, size = [], 0
        for key, value in records:
            sent.append(self._producer.send(topic, value, key, partition=0))
            size += len(key) + len(value or b"")
        self._producer.flush(timeout=_left(deadline))
        # kafka-python can commit a transaction although a batch of it has failed
        for future in sent:
            future.get(timeout=_left(deadline))
        return size, len(sent)

    def _end(self, commit: bool, deadline: float) -> None:
        """What commit_transaction() and abort_transaction() do, but not for ever."""
        manager = self._producer._transaction_manager
        result = manager.begin_commit() if commit else manager.begin_abort()
        self._producer._sender.wakeup()
        if not result.wait(timeout_ms=1000 * _left(deadline)):
            raise KafkaTimeoutError("no answer to the end of a transaction")

    def _is_fenced(self, error: BaseException) -> bool:
        causes = (error, self._producer._transaction_manager.last_error)
        return any(isinstance(c, (ProducerFencedError, InvalidProducerEpochError)) for c in causes)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
