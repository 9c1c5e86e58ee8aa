"""The trainer's metrics: plain numbers in, Prometheus out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry

from ctr.observe.coverage import RecentCoverage
from ctr.observe.families import Families, Family

if TYPE_CHECKING:
    from ctr.metrics.progressive import Figures

Operation = Literal["checkpoint", "publish", "commit", "source", "dead_letters"]

OPERATIONS: tuple[Operation, ...] = ("checkpoint", "publish", "commit", "source", "dead_letters")
"""What may fail and is then tried again, each with a series of its own from the start."""

BOUNDS = ("calibration", "normalized_entropy", "event_rate")
"""What the gate before publishing watches."""


class TrainerMetrics:
    """What a trainer shows of itself.

    Every method takes numbers as they stand now. Counters take totals: those that a checkpoint
    carries go on from it after a restart. One thread calls the methods of one group (learning,
    checkpoints, publishing); scrapes come from another.

    >>> registry = CollectorRegistry()
    >>> metrics = TrainerMetrics(registry, "clicks")
    >>> metrics.learned(1_000_000, event_time_ms=1_700_000_000_000)
    >>> registry.get_sample_value("ctr_events_learned_total", {"model": "clicks"})
    1000000
    """

    def __init__(self, registry: CollectorRegistry, model: str) -> None:
        families = Families(model=model)
        self._name_learning(families)
        self._name_figures(families)
        self._name_state(families)
        self._name_writing(families)
        self._recent = RecentCoverage()
        for operation in OPERATIONS:
            self._failures.set(0, operation)
        totals = self._learned, self._subsampled, self._checkpoints, self._publishes, self._dead
        for total in totals:
            total.set(0)
        families.register(registry)

    # ---- learning

    def learned(self, events: int, event_time_ms: int) -> None:
        """Events learned since the model began, and the newest event's time."""
        self._learned.set(events)
        self._event_time.set(event_time_ms / 1000)

    def rejected(self, totals: Mapping[str, int]) -> None:
        """Bad events since the model began, by reason."""
        self._rejected.replace(totals)

    def subsampled(self, total: int) -> None:
        """Events without a click that were left out since the model began."""
        self._subsampled.set(total)

    def figures(self, total: Figures, window: Figures) -> None:
        """Progressive validation since the model began and over its window."""
        for name, figures in (("total", total), ("window", window)):
            self._log_loss.set(figures.log_loss, name)
            self._base_log_loss.set(figures.base_log_loss, name)
            self._normalized_entropy.set(figures.normalized_entropy, name)
            self._auc.set(figures.auc, name)
            self._calibration.set(figures.calibration, name)
        self._predicted.set(total.predicted_clicks)
        self._observed.set(total.observed_clicks)

    def coverage(self, totals: Mapping[str, int], events: int) -> None:
        """In how many of the ``events`` so far each feature name occurred."""
        self._feature_events.replace(totals)
        self._coverage.replace(self._recent.ratios(totals, events))

    def lag(self, behind: Mapping[str, int]) -> None:
        """How far each source (by URI) is behind its end: files in bytes, all else in records."""
        records: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for source, number in behind.items():
            kind, _, name = source.partition(":")
            (sizes if kind in ("file", "log") else records)[name] = number
        self._lag_records.replace(records)
        self._lag_bytes.replace(sizes)

    # ---- the model

    def model(self, nonzero: int, touched: int, bits: int, learning_rate: float) -> None:
        """Coordinates with a weight and ever updated, the table's size, and alpha(t) now."""
        self._nonzero.set(nonzero)
        self._touched.set(touched)
        self._coordinates.set(1 << bits)
        self._sparsity.set(1 - nonzero / touched if touched else float("nan"))
        self._learning_rate.set(learning_rate)

    def gate(self, is_open: bool, violated: Collection[str] = (), overridden: bool = False) -> None:
        """Whether the gate lets models out, which of its ``BOUNDS`` the last window broke, and
        whether an operator's override stands.
        """
        self._gate_open.set(int(is_open))
        self._gate_overridden.set(int(overridden))
        self._gate_violated.replace({bound: int(bound in violated) for bound in BOUNDS})

    # ---- writing

    def checkpointed(self, at: float, seconds: float, size: int) -> None:
        """A checkpoint became durable: when (Unix time), how long it took, its bytes."""
        self._checkpoints.add(1)
        self._checkpoint_time.set(at)
        self._checkpoint_seconds.set(seconds)
        self._checkpoint_bytes.set(size)

    def paused(self, seconds: float) -> None:
        """How long learning stood still while the last checkpoint's state was copied."""
        self._pause_seconds.set(seconds)

    def published(self, version: int, at: float, seconds: float, size: int) -> None:
        """A version was published whole: which, when (Unix time), how long it took, its bytes."""
        self._publishes.add(1)
        self._published_version.set(version)
        self._publish_time.set(at)
        self._publish_seconds.set(seconds)
        self._publish_bytes.set(size)

    def dead_letters(self, written: int, unacknowledged: int) -> None:
        """Bad events written by this process, and those not yet acknowledged."""
        self._dead.set(written)
        self._dead_waiting.set(unacknowledged)

    def failed(self, operation: Operation) -> None:
        """An operation failed and will be tried again."""
        self._failures.add(1, operation)

    # ---- the families

    def _name_learning(self, families: Families) -> None:
        counter, gauge = families.counter, families.gauge
        self._learned = counter("ctr_events_learned_total", "Events learned.")
        self._rejected = counter("ctr_events_rejected_total", "Bad events, by reason.", "reason")
        self._subsampled = counter(
            "ctr_events_subsampled_total", "Events without a click left out by subsampling."
        )
        self._event_time = gauge(
            "ctr_model_event_time_seconds", "Time of the newest event learned, Unix time."
        )
        self._feature_events = counter(
            "ctr_feature_events_total", "Events in which a feature name occurred.", "name"
        )
        self._coverage = gauge(
            "ctr_feature_coverage_ratio",
            "Share of the recent events in which a feature name occurred.",
            "name",
        )
        self._lag_records = gauge(
            "ctr_consumer_lag_records", "Records not yet learned, by partition.", "partition"
        )
        self._lag_bytes = gauge(
            "ctr_source_lag_bytes", "Bytes of a file or log directory not yet learned.", "source"
        )

    def _name_figures(self, families: Families) -> None:
        def progressive(name: str, about: str) -> Family:
            return families.gauge(name, f"{about}, progressive validation.", "window")

        self._log_loss = progressive("ctr_log_loss", "Mean log loss")
        self._base_log_loss = progressive("ctr_base_log_loss", "Log loss of the base rate")
        self._normalized_entropy = progressive(
            "ctr_normalized_entropy", "Log loss over the base rate's"
        )
        self._auc = progressive("ctr_auc", "Area under the ROC curve")
        self._calibration = progressive("ctr_calibration_ratio", "Predicted over observed clicks")
        self._predicted = families.counter(
            "ctr_predicted_clicks_total", "Sum of the probabilities predicted before learning."
        )
        self._observed = families.counter("ctr_observed_clicks_total", "Clicks observed.")

    def _name_state(self, families: Families) -> None:
        gauge = families.gauge
        self._nonzero = gauge("ctr_nonzero_weights", "Weights that are not zero.")
        self._touched = gauge("ctr_touched_coordinates", "Coordinates ever updated.")
        self._coordinates = gauge("ctr_table_coordinates", "Coordinates of the table.")
        self._sparsity = gauge(
            "ctr_weight_sparsity_ratio", "Share of the touched coordinates whose weight is zero."
        )
        self._learning_rate = gauge("ctr_learning_rate", "Scheduled learning rate alpha(t).")
        self._gate_open = gauge("ctr_gate_open", "1 when models may be published, else 0.")
        self._gate_overridden = gauge(
            "ctr_gate_overridden", "1 while an operator's override opens the gate, else 0."
        )
        self._gate_violated = gauge(
            "ctr_gate_violated", "1 when the gate's last window broke this bound.", "bound"
        )

    def _name_writing(self, families: Families) -> None:
        counter, gauge = families.counter, families.gauge
        self._checkpoints = counter("ctr_checkpoints_total", "Checkpoints made durable.")
        self._checkpoint_time = gauge(
            "ctr_last_checkpoint_timestamp_seconds", "When the last checkpoint became durable."
        )
        self._checkpoint_seconds = gauge(
            "ctr_checkpoint_duration_seconds", "How long the last checkpoint took to write."
        )
        self._checkpoint_bytes = gauge("ctr_checkpoint_size_bytes", "The last checkpoint's size.")
        self._pause_seconds = gauge(
            "ctr_checkpoint_pause_seconds", "How long learning stood still for the last checkpoint."
        )
        self._publishes = counter("ctr_publishes_total", "Versions published.")
        self._published_version = gauge("ctr_published_model_version", "Last published version.")
        self._publish_time = gauge(
            "ctr_last_publish_timestamp_seconds", "When the last version was published."
        )
        self._publish_seconds = gauge(
            "ctr_publish_duration_seconds", "How long the last publish took."
        )
        self._publish_bytes = gauge("ctr_publish_size_bytes", "Bytes of the last publish.")
        self._dead = counter("ctr_dead_letters_total", "Bad events handed to the dead letters.")
        self._dead_waiting = gauge(
            "ctr_dead_letters_unacknowledged", "Dead letters waiting for acknowledgement."
        )
        self._failures = counter(
            "ctr_failures_total", "Operations that failed and are tried again.", "operation"
        )
