"""Scoring files with finished models, against a recount in plain Python."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pytest

from ctr.features.formats import make_parser
from ctr.model.sparse import SparseModel
from ctr.score import Scores, score
from ctr.settings import Features
from ctr.stream.memory import MemorySource
from ctr.types import Records
from tests import naive

SPEC = Features(bits=10, on_missing_label="skip")


def lines(count: int) -> list[bytes]:
    draw = np.random.default_rng(7)
    return [
        json.dumps(
            {
                "label": int(draw.random() < 0.3),
                "weight": float(draw.choice([0.5, 1.0, 4.0])),
                "features": {"user": f"u{draw.integers(9)}", "ad": f"a{draw.integers(5)}"},
            }
        ).encode()
        for _ in range(count)
    ]


def dense(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.7, 1 << SPEC.bits).astype(np.float32)


def model(weights: np.ndarray) -> SparseModel:
    made = SparseModel(SPEC.bits)
    made.apply(range(len(weights) // 64), weights.reshape(-1, 64))
    return made


def recount(weights: np.ndarray, events: Sequence[bytes]) -> dict[str, float]:
    batch = make_parser("json", SPEC).parse(Records.of(events)).batch
    p = []
    for first, last in zip(batch.indptr, batch.indptr[1:], strict=False):
        keys = [int(key) for key in batch.keys[first:last]]
        logit = sum(float(weights[naive.coordinate(key, SPEC.bits)]) for key in keys)
        p.append(naive.logistic(logit))
    labels = [json.loads(event)["label"] for event in events]
    given = [json.loads(event)["weight"] for event in events]
    auc = naive.auc(p, labels, given)
    return {**naive.figures(p, labels, given), "auc": auc}


def scored(models: Sequence[SparseModel], events: Sequence[bytes], batch: int = 1000) -> Scores:
    source = MemorySource(events, batch_records=batch)
    return score(models, source, make_parser("json", SPEC))


def test_the_figures_of_each_model_are_those_of_a_recount() -> None:
    events = lines(400)
    weights = [dense(1), dense(2)]
    for got, w in zip(scored([model(w) for w in weights], events).figures, weights, strict=True):
        wanted = recount(w, events)
        # the AUC takes p in bins
        assert asdict(got).pop("auc") == pytest.approx(wanted.pop("auc"), abs=0.002)
        assert {name: getattr(got, name) for name in wanted} == pytest.approx(wanted, rel=1e-6)


def test_nothing_is_learned_and_batches_do_not_matter() -> None:
    events, models = lines(300), [model(dense(1)), model(dense(2))]
    digests = [m.digest for m in models]
    once = scored(models, events)
    assert scored(models, events, batch=7) == once == scored(models, events)
    assert scored(models[::-1], events).figures == once.figures[::-1]
    assert [m.digest for m in models] == digests


def test_what_cannot_be_used_is_counted() -> None:
    events = [*lines(50), b"{", b"[]", b'{"features":{}}', b'{"label":7,"features":{}}']
    scores = scored([model(dense(1))], events)
    assert scores.figures == scored([model(dense(1))], lines(50)).figures
    assert sum(scores.rejected.values()) == 3
    assert scores.rejected["label"] == 1
    assert scores.skipped == 1


def test_no_events_have_no_figures() -> None:
    figures = scored([model(dense(1))], []).figures[0]
    assert figures.events == 0
    assert math.isnan(figures.log_loss)


def test_progress_is_told() -> None:
    told: list[int] = []
    source = MemorySource(lines(25), batch_records=10)
    score([model(dense(1))], source, make_parser("json", SPEC), told.append)
    assert told == [10, 20, 25]
