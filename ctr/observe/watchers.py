"""The metrics of what watches the answers: the shadow model and the prediction log."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry

from ctr.observe.families import Families
from ctr.observe.server import ModelMetrics, ServerMetrics
from ctr.types import Float32

DIFFERENCES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Upper ends of the buckets of |p' - p|: click rates are small, and so are their differences."""

OUTCOMES = ("scored", "rejected", "not_ready", "dropped", "fault")
"""What becomes of a request that a shadow sees."""

REASONS = ("full", "refused", "fault", "stopped")
"""Why predictions are not logged."""


class ShadowMetrics(ModelMetrics):
    """What a shadow shows of its model, and of it beside the served one.

    ``dropped("full")`` is called by the thread that answers, the others by those of the shadow.

    >>> registry = CollectorRegistry()
    >>> metrics = ShadowMetrics(registry, "clicks")
    >>> metrics.scored(np.array([0.5, 0.25], np.float32), np.array([0.5, 0.5], np.float32))
    >>> value = registry.get_sample_value
    >>> value("ctr_shadow_predicted_clicks_total", {"model": "clicks", "by": "served"})
    0.75
    >>> value("ctr_shadow_difference_ratio_bucket", {"model": "clicks", "le": "1e-05"})
    1
    """

    def __init__(self, registry: CollectorRegistry, model: str) -> None:
        # what else a served model counts (its requests) a shadow has none of
        super().__init__(ServerMetrics(CollectorRegistry()), model)
        families = Families(model=model)
        counter, gauge = families.counter, families.gauge
        self._ready = gauge("ctr_shadow_model_ready", "1 when the shadow has a model, else 0.")
        self._version = gauge("ctr_shadow_model_version", "Version of the shadow.")
        self._event_time = gauge(
            "ctr_shadow_model_event_time_seconds",
            "Time of the newest event the shadow learned, Unix time.",
        )
        self._size = gauge("ctr_shadow_model_size_bytes", "Memory of the shadow's weights.")
        self._failures = counter(
            "ctr_shadow_follow_failures_total", "Failed attempts to read the shadow's updates."
        )
        self._outcomes = counter(
            "ctr_shadow_requests_total", "Answered requests, by what the shadow did.", "outcome"
        )
        self._scored = counter(
            "ctr_shadow_predictions_total", "Predictions made by both, served model and shadow."
        )
        self._clicks = counter(
            "ctr_shadow_predicted_clicks_total", "Sum of these predictions, by whom.", "by"
        )
        difference = families.histogram(
            "ctr_shadow_difference_ratio",
            "Size of the difference of shadow's and served probability.",
            DIFFERENCES,
        )
        self._difference = difference.of()
        self._ready.set(0)
        for total in (self._failures, self._scored):
            total.set(0)
        for outcome in OUTCOMES:
            self._outcomes.set(0, outcome)
        for by in ("served", "shadow"):
            self._clicks.set(0, by)
        families.register(registry)

    def updated(
        self,
        version: int,
        event_time_ms: int,
        *,
        nonzero: int,
        size: int,
        held: bool,
        at: float,
        pause: float,
    ) -> None:
        """The shadow has another version."""
        self._ready.set(1)
        self._version.set(version)
        self._event_time.set(event_time_ms / 1000)
        self._size.set(size)

    def failed(self, failures: int) -> None:
        """How often the shadow's updates could not be read, until now."""
        self._failures.set(failures)

    def scored(self, served: Float32, shadow: Float32) -> None:
        """The probabilities of one request, float32[N] each."""
        self._outcomes.add(1, "scored")
        self._scored.add(len(served))
        self._clicks.add(float(served.sum(dtype=np.float64)), "served")
        self._clicks.add(float(shadow.sum(dtype=np.float64)), "shadow")
        sizes = np.abs(shadow.astype(np.float64) - served)
        buckets = np.searchsorted(DIFFERENCES, sizes)
        self._difference.add(np.bincount(buckets).tolist(), float(sizes.sum()))

    def passed_over(self, outcome: str) -> None:
        """A request was not scored: why, one of OUTCOMES."""
        self._outcomes.add(1, outcome)


class PredictionLogMetrics:
    """What the prediction log shows of itself; all but the requests are counted in events.

    ``dropped("full")`` is called by the thread that answers, the others by the log's own.

    >>> registry = CollectorRegistry()
    >>> metrics = PredictionLogMetrics(registry, "clicks")
    >>> metrics.written(3)
    >>> registry.get_sample_value("ctr_prediction_log_events_total", {"model": "clicks"})
    3
    """

    def __init__(self, registry: CollectorRegistry, model: str) -> None:
        families = Families(model=model)
        counter = families.counter
        self._events = counter("ctr_prediction_log_events_total", "Predictions logged.")
        self._dropped = counter(
            "ctr_prediction_log_dropped_total", "Predictions sampled but not logged.", "reason"
        )
        self._failures = counter(
            "ctr_prediction_log_failures_total", "Failed attempts to write the log."
        )
        self._waiting = families.gauge(
            "ctr_prediction_log_waiting_requests", "Requests that wait to be logged.", summed=True
        )
        for total in (self._events, self._failures, self._waiting):
            total.set(0)
        for reason in REASONS:
            self._dropped.set(0, reason)
        families.register(registry)

    def written(self, events: int) -> None:
        """So many more events are acknowledged."""
        self._events.add(events)

    def dropped(self, events: int, reason: str) -> None:
        """So many more are lost, for one of REASONS."""
        self._dropped.add(events, reason)

    def failed(self) -> None:
        """Writing failed, and is tried again."""
        self._failures.add(1)

    def waiting(self, requests: int) -> None:
        """So many requests wait now."""
        self._waiting.set(requests)
