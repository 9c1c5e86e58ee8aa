"""Holding a version: what makes every server that follows a topic serve it, and stop doing so."""

from __future__ import annotations

import time
from collections.abc import Iterable

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
    now: float | None = None,
    timeout: float = 20.0,
) -> None:
    """Make every server of ``topic`` go to this version (of a snapshot, say) and stay there.

    The weights are written with it, so that a server needs nothing but the topic. The trainer
    goes on publishing. Raises PublishError, SourceError.
    """
    _write(kafka, topic, hold_records(manifest, model, _milliseconds(now), reason), timeout)


def release(
    kafka: Kafka, topic: str, *, reason: str = "", now: float | None = None, timeout: float = 20.0
) -> None:
    """Let the servers of ``topic`` go to the newest version again. Raises as ``hold`` does."""
    _write(kafka, topic, release_records(_milliseconds(now), reason), timeout)


def _write(kafka: Kafka, topic: str, records: Iterable[Record], timeout: float) -> None:
    # not the writer's transactional id: an operator's order must not fence the trainer
    transactions = Transactions(kafka, f"{topic}.control", timeout)
    try:
        transactions.write(topic, records)
    finally:
        transactions.close()


def _milliseconds(now: float | None) -> int:
    return int(1000 * (time.time() if now is None else now))
