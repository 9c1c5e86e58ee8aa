"""The metrics of shadow and prediction log: numbers in, series out, all of them documented."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from ctr.observe.watchers import (
    DIFFERENCES,
    OUTCOMES,
    REASONS,
    PredictionLogMetrics,
    ShadowMetrics,
)

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
PROBABILITY = st.floats(0, 1, width=32)


def value(registry: CollectorRegistry, metric: str, **labels: str) -> float | None:
    return registry.get_sample_value(metric, {"model": "clicks", **labels})


@given(st.lists(st.lists(st.tuples(PROBABILITY, PROBABILITY))))
def test_both_models_side_by_side(requests: list[list[tuple[float, float]]]) -> None:
    registry, theirs = CollectorRegistry(), CollectorRegistry()
    metrics = ShadowMetrics(registry, "clicks")
    reference = Histogram("difference", "About.", buckets=DIFFERENCES, registry=theirs)
    for pairs in requests:
        served, shadow = np.array(pairs, np.float32).reshape(-1, 2).T
        metrics.scored(served, shadow)
        for p, q in pairs:
            reference.observe(abs(q - p))
    pairs = [pair for request in requests for pair in request]
    assert value(registry, "ctr_shadow_requests_total", outcome="scored") == len(requests)
    assert value(registry, "ctr_shadow_predictions_total") == len(pairs)
    for k, by in enumerate(("served", "shadow")):
        clicks = value(registry, "ctr_shadow_predicted_clicks_total", by=by)
        assert clicks == pytest.approx(sum(pair[k] for pair in pairs))
    for bound in [*map(str, DIFFERENCES), "+Inf"]:
        mine = value(registry, "ctr_shadow_difference_ratio_bucket", le=bound)
        assert mine == theirs.get_sample_value("difference_bucket", {"le": bound})
    mine = value(registry, "ctr_shadow_difference_ratio_sum")
    assert mine == pytest.approx(theirs.get_sample_value("difference_sum"))


def test_the_shadow_has_all_its_series_from_the_start() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry, "clicks")
    assert value(registry, "ctr_shadow_model_ready") == 0
    assert value(registry, "ctr_shadow_model_version") is None
    for outcome in OUTCOMES:
        assert value(registry, "ctr_shadow_requests_total", outcome=outcome) == 0
        metrics.passed_over(outcome)
        assert value(registry, "ctr_shadow_requests_total", outcome=outcome) == 1
    metrics.failed(3)
    metrics.updated(7, 1_700_000_000_500, nonzero=5, size=40, held=False, at=0.0, pause=0.0)
    expected = {
        "ctr_shadow_follow_failures_total": 3,
        "ctr_shadow_model_ready": 1,
        "ctr_shadow_model_version": 7,
        "ctr_shadow_model_event_time_seconds": 1_700_000_000.5,
        "ctr_shadow_model_size_bytes": 40,
    }
    assert {name: value(registry, name) for name in expected} == expected


def test_the_prediction_log_has_all_its_series_from_the_start() -> None:
    registry = CollectorRegistry()
    metrics = PredictionLogMetrics(registry, "clicks")
    assert value(registry, "ctr_prediction_log_events_total") == 0
    assert value(registry, "ctr_prediction_log_failures_total") == 0
    assert value(registry, "ctr_prediction_log_waiting_requests") == 0
    for reason in REASONS:
        assert value(registry, "ctr_prediction_log_dropped_total", reason=reason) == 0
        metrics.dropped(2, reason)
        metrics.dropped(1, reason)
        assert value(registry, "ctr_prediction_log_dropped_total", reason=reason) == 3
    metrics.written(10)
    metrics.written(5)
    metrics.failed()
    metrics.waiting(4)
    metrics.waiting(2)
    assert value(registry, "ctr_prediction_log_events_total") == 15
    assert value(registry, "ctr_prediction_log_failures_total") == 1
    assert value(registry, "ctr_prediction_log_waiting_requests") == 2


def test_every_metric_is_documented() -> None:
    registry = CollectorRegistry()
    ShadowMetrics(registry, "clicks")
    PredictionLogMetrics(registry, "clicks")
    text = DOCS.read_text("utf-8")
    families = list(registry.collect())
    assert len(families) == 13
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        row = re.search(rf"^\| `{name}` \| (\w+) \|", text, re.M)
        assert row, f"{name} is not in docs/metrics.md"
        assert row[1] == family.type
    for outcome in OUTCOMES:
        assert f"`{outcome}`" in text
    for reason in REASONS:
        assert f"`{reason}`" in text
