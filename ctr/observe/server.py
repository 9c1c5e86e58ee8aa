"""The server's metrics: plain numbers in, Prometheus out."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ctr.observe.families import Families

SECONDS = (
    *(50e-6, 100e-6, 150e-6, 200e-6, 300e-6, 400e-6, 500e-6, 700e-6),
    *(1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, 10e-3, 20e-3, 50e-3),
    *(0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Upper ends of the request durations' buckets: most answers take well under a millisecond."""


class ServerMetrics:
    """What a server shows of the models it serves; one registry, one ``ModelMetrics`` a model.

    >>> registry = CollectorRegistry()
    >>> clicks = ServerMetrics(registry).model("clicks")
    >>> clicks.answered(200, predictions=3, seconds=0.0004)
    >>> registry.get_sample_value("ctr_predictions_total", {"model": "clicks"})
    3
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        families = Families()
        counter, gauge = families.counter, families.gauge
        self.requests = counter(
            "ctr_requests_total", "Prediction requests answered, by status.", "model", "code"
        )
        self.predictions = counter("ctr_predictions_total", "Probabilities answered.", "model")
        self.seconds = families.histogram(
            "ctr_request_duration_seconds",
            "From a prediction request's headers to its answer in the socket's buffer.",
            SECONDS,
            "model",
        )
        self.version = gauge("ctr_served_model_version", "Version of the model served.", "model")
        self.event_time = gauge(
            "ctr_served_model_event_time_seconds",
            "Time of the newest event the served model learned, Unix time.",
            "model",
        )
        self.nonzero = gauge("ctr_served_nonzero_weights", "Weights in memory.", "model")
        self.size = gauge("ctr_served_model_size_bytes", "Memory of the weights.", "model")
        self.ready = gauge("ctr_served_model_ready", "1 when a model is loaded, else 0.", "model")
        self.held = gauge(
            "ctr_served_model_held", "1 when an operator's hold chose the version.", "model"
        )
        self.updates = counter("ctr_model_updates_total", "Updates applied.", "model")
        self.update_time = gauge(
            "ctr_last_model_update_timestamp_seconds", "When the last update was applied.", "model"
        )
        self.update_seconds = gauge(
            "ctr_model_update_pause_seconds",
            "How long requests waited for the last update to be applied.",
            "model",
        )
        self.failures = counter(
            "ctr_follow_failures_total", "Failed attempts to read the model's updates.", "model"
        )
        families.register(registry)

    def model(self, name: str) -> ModelMetrics:
        """The metrics of one served model."""
        return ModelMetrics(self, name)


class ModelMetrics:
    """The metrics of one served model: ``answered`` is the event loop's to call, the other methods
    are the following thread's.
    """

    def __init__(self, families: ServerMetrics, name: str) -> None:
        self._families, self._name = families, name
        self._duration = families.seconds.of(name)
        self._codes: dict[int, str] = {}
        for none_yet in (families.ready, families.held):
            none_yet.set(0, name)
        families.requests.set(0, name, "200")
        for total in (families.predictions, families.updates, families.failures):
            total.set(0, name)

    def answered(self, code: int, predictions: int, seconds: float) -> None:
        """One prediction request was answered."""
        text = self._codes.get(code) or self._codes.setdefault(code, str(code))
        self._families.requests.add(1, self._name, text)
        self._families.predictions.add(predictions, self._name)
        self._duration.observe(seconds)

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
        """A version was switched to: at which Unix time, and how long requests waited for it."""
        families, name = self._families, self._name
        families.ready.set(1, name)
        families.version.set(version, name)
        families.event_time.set(event_time_ms / 1000, name)
        families.nonzero.set(nonzero, name)
        families.size.set(size, name)
        families.held.set(int(held), name)
        families.updates.add(1, name)
        families.update_time.set(at, name)
        families.update_seconds.set(pause, name)

    def failed(self, failures: int) -> None:
        """How often the model's updates could not be read, until now."""
        self._families.failures.set(failures, self._name)
