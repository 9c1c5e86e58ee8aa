"""What trainer and server export: names, values, and what promtool and the docs say of them."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ctr.metrics.progressive import Progressive
from ctr.observe.server import SECONDS, ServerMetrics
from ctr.observe.trainer import OPERATIONS, TrainerMetrics

from .figures import server, trainer

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ROLES = {"trainer": trainer, "server": server}


def value(registry: CollectorRegistry, metric: str, **labels: str) -> float | None:
    return registry.get_sample_value(metric, {"model": "clicks", **labels})


def test_the_trainer_exports_what_it_was_told() -> None:
    registry, _ = trainer()
    expected = {
        "ctr_events_learned_total": 1000,
        "ctr_events_subsampled_total": 250,
        "ctr_model_event_time_seconds": 1_700_000_000.5,
        "ctr_predicted_clicks_total": 99.5,
        "ctr_observed_clicks_total": 100,
        "ctr_nonzero_weights": 25,
        "ctr_touched_coordinates": 100,
        "ctr_table_coordinates": 1 << 22,
        "ctr_weight_sparsity_ratio": 0.75,
        "ctr_learning_rate": 0.05,
        "ctr_gate_open": 0,
        "ctr_gate_overridden": 0,
        "ctr_last_checkpoint_timestamp_seconds": 1_700_000_001.5,
        "ctr_checkpoint_duration_seconds": 0.25,
        "ctr_last_publish_timestamp_seconds": 1_700_000_002.5,
        "ctr_publish_duration_seconds": 0.125,
        "ctr_dead_letters_total": 3,
        "ctr_dead_letters_unacknowledged": 1,
    }
    assert {name: value(registry, name) for name in expected} == expected
    assert value(registry, "ctr_events_rejected_total", reason="syntax") == 3
    assert value(registry, "ctr_events_rejected_total", reason="utf-8") == 0
    assert value(registry, "ctr_log_loss", window="total") == 0.25
    assert value(registry, "ctr_log_loss", window="window") == 0.2
    assert value(registry, "ctr_feature_coverage_ratio", name="ad*site") == 0.01
    assert value(registry, "ctr_consumer_lag_records", partition="events/0") == 7
    assert value(registry, "ctr_source_lag_bytes", source="a directory") == 4096
    assert value(registry, "ctr_gate_violated", bound="calibration") == 1
    assert value(registry, "ctr_gate_violated", bound="event_rate") == 0
    for operation in OPERATIONS:
        assert value(registry, "ctr_failures_total", operation=operation) == 1


def test_an_override_shows_beside_the_gate() -> None:
    registry, metrics = trainer()
    metrics.gate(True, ["calibration"], overridden=True)
    names = ("ctr_gate_open", "ctr_gate_overridden")
    assert [value(registry, name) for name in names] == [1, 1]
    assert value(registry, "ctr_gate_violated", bound="calibration") == 1


def test_the_newest_version_is_shown_once_there_is_one() -> None:
    registry = CollectorRegistry()
    served = ServerMetrics(registry).model("clicks")
    served.seen(-1)
    assert value(registry, "ctr_newest_model_version") is None
    served.seen(14)
    assert value(registry, "ctr_newest_model_version") == 14
    served.seen(-1)
    assert value(registry, "ctr_newest_model_version") == 14


def test_the_server_exports_what_it_was_told() -> None:
    registry, _ = server()
    expected = {
        "ctr_served_model_version": 12,
        "ctr_newest_model_version": 13,
        "ctr_served_model_event_time_seconds": 1_700_000_000.5,
        "ctr_served_model_ready": 1,
        "ctr_predictions_total": 100,
        "ctr_request_duration_seconds_count": 2,
        "ctr_follow_failures_total": 1,
        "ctr_model_updates_total": 1,
    }
    assert {name: value(registry, name) for name in expected} == expected
    assert value(registry, "ctr_requests_total", code="200") == 1
    assert value(registry, "ctr_requests_total", code="422") == 1


def test_rates_can_be_taken_from_the_first_scrape_on() -> None:
    """A counter that appears with its first failure has no increase to alert on."""
    registry = CollectorRegistry()
    TrainerMetrics(registry, "clicks")
    assert value(registry, "ctr_events_learned_total") == 0
    assert value(registry, "ctr_failures_total", operation="publish") == 0


def test_figures_of_nothing_are_not_numbers_and_not_errors() -> None:
    registry = CollectorRegistry()
    metrics = TrainerMetrics(registry, "clicks")
    nothing = Progressive(window=100)
    metrics.figures(nothing.total, nothing.window)
    metrics.model(nonzero=0, touched=0, bits=22, learning_rate=0.1)
    metrics.coverage({}, events=0)
    assert math.isnan(value(registry, "ctr_auc", window="window") or 0)
    assert math.isnan(value(registry, "ctr_weight_sparsity_ratio") or 0)
    generate_latest(registry)


def test_a_field_that_vanishes_shows() -> None:
    registry, metrics = trainer()
    metrics.coverage({"user": 101_000, "site": 50_500}, events=101_000)
    metrics.coverage({"user": 151_000, "site": 50_500}, events=151_000)
    assert value(registry, "ctr_feature_coverage_ratio", name="user") == 1
    assert value(registry, "ctr_feature_coverage_ratio", name="site") == 0


def test_most_buckets_are_below_a_millisecond_apart() -> None:
    assert sum(end < 1e-3 for end in SECONDS) >= 8
    assert list(SECONDS) == sorted(SECONDS)


@pytest.mark.parametrize("role", ROLES)
def test_promtool_finds_nothing(role: str, prometheus_binaries: Any) -> None:
    registry, _ = ROLES[role]()
    checked = subprocess.run(
        [prometheus_binaries.promtool, "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        timeout=30,
    )
    assert checked.stdout + checked.stderr == b""
    assert checked.returncode == 0


def test_promtool_would_find_something(prometheus_binaries: Any) -> None:
    checked = subprocess.run(
        [prometheus_binaries.promtool, "check", "metrics"],
        input=b"# HELP ctr_events Events.\n# TYPE ctr_events counter\nctr_events 1\n",
        capture_output=True,
        timeout=30,
    )
    assert b"_total" in checked.stdout + checked.stderr
    assert checked.returncode != 0


def test_the_docs_list_every_metric_with_its_labels_and_no_other() -> None:
    documented = {}
    row = re.compile(r"^\| `(ctr_\w+)` \| (\w+) \| ([^|]*?) *\|", re.MULTILINE)
    for name, kind, labels in row.findall(DOCS.read_text("utf-8")):
        named = set(re.findall(r"`(\w+)`", labels))
        # an address and its keys are of all models
        documented[name] = (kind, named if named & {"address", "key"} else named | {"model"})
    exported = {}
    for role in ROLES.values():
        for family in role()[0].collect():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            if name.startswith("ctr_"):
                exported[name] = (family.type, labels)
    assert documented == exported
