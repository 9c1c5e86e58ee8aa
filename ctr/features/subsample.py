"""Subsampling: learn fewer of the events without a click, each weighing more (paper, section 3.5).

Right behind the parser, the same step for training and for evaluation.
"""

from __future__ import annotations

import numpy as np

from ctr.errors import SettingError
from ctr.kernels.subsample import PADDING, keep_rows, take_rows
from ctr.types import Batch, Bytes, Events, Float32, Int64, Records

LEAST = 1e-6
"""The smallest share: 1 / LEAST times an event's greatest weight, 10^6, is a float32 and so is its
square."""


def subsample(events: Events, share: float, seed: int = 0) -> Events:
    """``events`` with every click, and of those without one this ``share``, picked at random.

    What is kept without a click weighs 1/``share`` times more, so that every sum over events
    (losses, gradients, clicks predicted) has the expectation that it would have without
    subsampling, and the model stays calibrated (McMahan et al. 2013, section 3.5).

    Whether an event is kept is decided for each by itself: by a hash of its id's bytes as they are
    written and of ``seed`` (the model's). So a replay, a restart, another split into batches and
    another partitioning keep the same ones, events that share an id stay together, and what a
    smaller share keeps is kept by every larger one. An event without an id, or with an empty
    one, is known by its address: source, segment, offset, line. Two spellings of one id
    (``"a"``, ``"\\u0061"``) are two ids; ``7`` and ``"7"`` are the same.

    Returns new arrays; with a share of 1 ``events`` itself. ``skipped`` and ``rejected`` stay; how
    many were left out is what the lengths differ by. SettingError unless LEAST <= share <= 1.

    >>> from ctr.features.parser import Parser
    >>> from ctr.settings import Features
    >>> lines = [b'{"id":%d,"label":%d}' % (i, i % 10 == 0) for i in range(1000)]
    >>> kept = subsample(Parser(Features()).parse(Records.of(lines)), share=0.1)
    >>> len(kept), int(kept.batch.labels.sum()), int(kept.batch.weights.sum())
    (186, 100, 960)
    """
    if not LEAST <= share <= 1:
        raise SettingError("events.keep_without_click", share, f">= {LEAST} and <= 1")
    if share == 1:
        return events
    source, batch = events.source, events.batch
    rows = keep_rows(
        source.buffer,
        source.offsets,
        batch.labels,
        events.id_starts,
        events.id_ends,
        events.records,
        events.lines,
        _place(source),
        np.uint64(seed % 2**64),
        np.uint64(int(share * 2.0**64)),
    )
    indptr, keys, values, name_ids = take_rows(
        rows, batch.indptr, batch.keys, batch.values, events.name_ids
    )
    labels, weights = batch.labels[rows], _weights(batch, rows, share)
    return Events(
        source=source,
        batch=Batch.trusted(indptr, keys, values, labels, weights),
        ts=events.ts[rows],
        id_starts=events.id_starts[rows],
        id_ends=events.id_ends[rows],
        records=events.records[rows],
        lines=events.lines[rows],
        name_ids=name_ids,
        skipped=events.skipped,
        rejected=events.rejected,
    )


def _weights(batch: Batch, rows: Int64, share: float) -> Float32:
    given = np.ones(len(rows), np.float32) if batch.weights is None else batch.weights[rows]
    raised = (given / np.float64(share)).astype(np.float32)
    return np.where(batch.labels[rows] > 0, given, raised)


def _place(records: Records) -> Bytes:
    """What the addresses of these records have in common, and padding."""
    name = f"{records.source}/{records.after.segment}"
    return np.frombuffer(bytearray(name.encode() + bytes(PADDING)), np.uint8)
