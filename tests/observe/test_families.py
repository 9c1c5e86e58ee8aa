"""Families against the exposition that prometheus_client's own instruments make of the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from ctr.observe.families import Families

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def samples(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a scraper reads, without the creation times that only the client's own have."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.floats(0, 10) | st.sampled_from(BOUNDS)))
def test_a_histogram_is_the_clients_histogram(values: list[float]) -> None:
    registry, theirs = CollectorRegistry(), CollectorRegistry()
    families = Families()
    mine = families.histogram("seconds", "About.", BOUNDS, "model").of("a")
    families.register(registry)
    reference = Histogram("seconds", "About.", ["model"], buckets=BOUNDS, registry=theirs)
    for value in values:
        mine.observe(value)
        reference.labels("a").observe(value)
    reference.labels("a")
    assert samples(registry) == samples(theirs)


@given(
    st.lists(st.tuples(st.sampled_from(["a", 'quo"te', "back\\slash", "new\nline"]), st.floats(0))),
)
def test_counters_and_gauges_are_the_clients(updates: list[tuple[str, float]]) -> None:
    registry, theirs = CollectorRegistry(), CollectorRegistry()
    families = Families(model="clicks")
    counter = families.counter("events_total", "About.", "reason")
    gauge = families.gauge("rate", "About.", "window")
    families.register(registry)
    labels = ["model", "reason"]
    their_counter = Counter("events_total", "About.", labels, registry=theirs)
    their_gauge = Gauge("rate", "About.", ["model", "window"], registry=theirs)
    for label, value in updates:
        counter.add(value, label)
        gauge.set(value, label)
        their_counter.labels("clicks", label).inc(value)
        their_gauge.labels("clicks", label).set(value)
    assert samples(registry) == samples(theirs)


def test_a_counter_goes_on_from_a_checkpoints_total() -> None:
    registry = CollectorRegistry()
    families = Families()
    learned = families.counter("events_total", "About.")
    families.register(registry)
    learned.set(1_000_000_000_001)
    assert samples(registry) == {("events_total", frozenset()): 1_000_000_000_001}
    assert b"_created" not in generate_latest(registry)


def test_replacing_makes_series_vanish_and_nan_stays_nan() -> None:
    registry = CollectorRegistry()
    families = Families()
    lag = families.gauge("lag_records", "About.", "partition")
    families.register(registry)
    lag.replace({"events/0": 3, "events/1": 4})
    lag.replace({"events/1": math.nan})
    [(key, value)] = samples(registry).items()
    assert key == ("lag_records", frozenset({("partition", "events/1")}))
    assert math.isnan(value)


def test_openmetrics_has_the_same_and_ends() -> None:
    registry = CollectorRegistry()
    families = Families(model="clicks")
    families.counter("events_total", "About.").set(3)
    families.register(registry)
    text = generate_openmetrics(registry).decode()
    assert "# TYPE events counter" in text
    assert 'events_total{model="clicks"} 3' in text
    assert text.endswith("# EOF\n")


def test_a_name_can_be_registered_once() -> None:
    registry = CollectorRegistry()
    for attempt in range(2):
        families = Families()
        families.counter("events_total", "About.")
        if attempt:
            with pytest.raises(ValueError, match="Duplicated"):
                families.register(registry)
        else:
            families.register(registry)
