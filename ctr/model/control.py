"""An operator's orders on a model topic: hold a version, release it, override the gate."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ctr.model.gate import Order, order_record
from ctr.model.manifest import Manifest
from ctr.model.records import Record, hold_records, release_records
from ctr.model.sparse import SparseModel
from ctr.model.transactions import Transactions
from ctr.settings import Kafka


def hold(
    kafka: Kafka,
    topic: str,
    manifest: Manifest,
    model: SparseModel,
    *,
    reason: str = "",
    by: str = "",
    now: float | None = None,
    timeout: float = 20.0,
) -> None:
    """Make every server of ``topic`` go to this version (of a snapshot, say) and stay there.

    The weights are written with it, so that a server needs nothing but the topic. The trainer
    goes on publishing. Raises PublishError, SourceError.
    """
    _write(kafka, topic, hold_records(manifest, model, _milliseconds(now), reason, by), timeout)


def release(
    kafka: Kafka,
    topic: str,
    *,
    reason: str = "",
    by: str = "",
    held: Iterable[bytes] = (),
    now: float | None = None,
    timeout: float = 20.0,
) -> None:
    """Let the servers of ``topic`` go to the newest version again. Raises as ``hold`` does.

    ``held`` are the keys that ``Standing`` found: with them the topic gets rid of what was held.
    """
    _write(kafka, topic, release_records(_milliseconds(now), reason, by, held), timeout)


def order(kafka: Kafka, topic: str, given: Order, *, timeout: float = 20.0) -> None:
    """Give the trainer of ``topic`` an order about its gate. Raises as ``hold`` does."""
    _write(kafka, topic, [order_record(given)], timeout)


def _write(kafka: Kafka, topic: str, records: Iterable[Record], timeout: float) -> None:
    # not the writer's transactional id: an operator's order must not fence the trainer
    transactions = Transactions(kafka, f"{topic}.control", timeout)
    try:
        transactions.write(topic, records)
    finally:
        transactions.close()


def _milliseconds(now: float | None) -> int:
    return int(1000 * (time.time() if now is None else now))
