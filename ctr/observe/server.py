"""The server's metrics: plain numbers in, Prometheus out."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ctr.observe.families import Families, Number

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
        self.newest = gauge(
            "ctr_newest_model_version",
            "Newest version known to be published, served or not.",
            "model",
        )
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
        self.connections = gauge(
            "ctr_open_connections", "Connections that are open.", "address", summed=True
        )
        self.refusals = counter(
            "ctr_refusals_total",
            "Requests and connections refused before any route had a say.",
            "address",
            "reason",
        )
        self.key_requests = counter("ctr_key_requests_total", "Requests let in, by key.", "key")
        self.workers = gauge("ctr_workers", "Processes that answer requests.", "model")
        self.worker_restarts = counter(
            "ctr_worker_restarts_total", "Processes that ended and were started again.", "model"
        )
        families.register(registry)

    def model(self, name: str) -> ModelMetrics:
        """The metrics of one served model."""
        return ModelMetrics(self, name)

    def traffic(self, address: str) -> TrafficMetrics:
        """The metrics of one address: ``predictions`` or ``admin``."""
        return TrafficMetrics(self, address)


REFUSALS = (
    *("malformed", "incomplete", "slow", "silent", "unread"),
    *("requests", "overload", "connections", "key"),
)
"""Why a request or connection is refused before any route has a say."""


class TrafficMetrics:
    """The metrics of one address; the event loop's thread calls."""

    def __init__(self, families: ServerMetrics, address: str) -> None:
        self.connections = families.connections.of(address)
        self._refusals = {reason: families.refusals.of(address, reason) for reason in REFUSALS}

    def refused(self, reason: str) -> None:
        """One of REFUSALS."""
        self._refusals[reason].add(1)


class ModelMetrics:
    """The metrics of one served model: ``answered`` is the event loop's to call, the other methods
    are the following thread's.
    """

    def __init__(self, families: ServerMetrics, name: str) -> None:
        self._families, self._name = families, name
        self._duration = families.seconds.of(name)
        self._predictions = families.predictions.of(name)
        self._requests: dict[int, Number] = {}
        self._of_code(200)
        for none_yet in (families.ready, families.held):
            none_yet.set(0, name)
        families.workers.set(1, name)
        for total in (families.updates, families.failures, families.worker_restarts):
            total.set(0, name)

    def answered(self, code: int, predictions: int, seconds: float) -> None:
        """One prediction request was answered."""
        (self._requests.get(code) or self._of_code(code)).add(1)
        self._predictions.add(predictions)
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

    def seen(self, newest: int) -> None:
        """The newest version known to be published, served or not; none as long as it is < 0."""
        if newest >= 0:
            self._families.newest.set(newest, self._name)

    def failed(self, failures: int) -> None:
        """How often the model's updates could not be read, until now."""
        self._families.failures.set(failures, self._name)

    def workers(self, running: int) -> None:
        """How many processes answer requests."""
        self._families.workers.set(running, self._name)

    def restarted(self) -> None:
        """A process that answers requests has ended, and another is started."""
        self._families.worker_restarts.add(1, self._name)

    def _of_code(self, code: int) -> Number:
        return self._requests.setdefault(code, self._families.requests.of(self._name, str(code)))
