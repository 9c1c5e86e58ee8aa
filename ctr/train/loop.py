"""The trainer: source -> decode, hash -> learn, evaluate -> checkpoint -> publish."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ctr.config import masked
from ctr.errors import CtrError, FencedError
from ctr.features.prepared import Prepared
from ctr.model.gate import Order
from ctr.observe.trainer import Operation, TrainerMetrics
from ctr.settings import Config
from ctr.stream.dead_letters import DeadLetters
from ctr.stream.pipeline import Pipeline
from ctr.train.checkpoint import CheckpointStore
from ctr.train.lane import Lane
from ctr.train.publish import Publisher
from ctr.train.state import State

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_METRICS_SECONDS = 0.5
_RETRY_SECONDS = 1.0
_SOURCE_FAILURES = ("outages", "corrupt_batches", "offsets_lost")
_LAST_LETTERS_SECONDS = 2.0
_LAST_ATTEMPTS = 5
_LAST_PUBLISH_SECONDS = 10.0
_OVER = "no override any more"


class Trainer:
    """Learns every one of ``events`` once, whatever stops it and wherever.

    All parts are arguments: ``state`` restored from ``store``, ``events`` of a source opened at its
    positions, ``letters`` for the bad ones, ``publisher`` (or None), ``metrics``. ``run`` owns
    them until it returns and closes them then. ``on_progress`` is called about twice a second.
    """

    def __init__(
        self,
        config: Config,
        state: State,
        events: Pipeline[Prepared],
        letters: DeadLetters,
        store: CheckpointStore,
        publisher: Publisher | None,
        metrics: TrainerMetrics,
        on_progress: Callable[[Trainer], None] = lambda trainer: None,
    ) -> None:
        self.config, self.state, self.source = config, state, events.source
        self._events = events
        self._letters, self._store = letters, store
        self._publisher, self._metrics, self._on_progress = publisher, metrics, on_progress
        self._settings = masked(config)
        self._saving = Lane("ctr-checkpoint")
        self._next_checkpoint = time.monotonic() + config.checkpoint.interval_seconds
        self._next_metrics = 0.0
        self._durable = False
        self._failures: dict[Operation, int] = {}
        self._was_open = state.gate.open
        self._was_overridden = state.gate.overridden

    def run(self, stop: threading.Event) -> None:
        """Learn until ``stop`` is set or the source has ended; then checkpoint and publish.

        Raises FencedError when another writer has taken over, and then writes nothing more;
        OffsetsLostError and SourceError from the source, after a last checkpoint.
        """
        try:
            self._claim(stop)
            self._learn_until(stop)
            self._finish()
        except FencedError:
            raise
        except CtrError:
            self._finish()
            raise
        finally:
            self._close()

    def _claim(self, stop: threading.Event) -> None:
        if self._publisher is not None:
            self._publisher.claim(stop)

    def _learn_until(self, stop: threading.Event) -> None:
        with self._events:
            while not stop.is_set():
                if self._letters.is_full():
                    stop.wait(_POLL_SECONDS)  # intake stalls, and nothing else does
                elif (prepared := self._events.next(_POLL_SECONDS)) is not None:
                    if not self.state.learner.events_learned:
                        self._next_metrics = 0.0  # that a new model learns is shown at once
                    self.state.learn(prepared)
                    self._letters.write(prepared.events.source, prepared.events.rejected)
                elif self._events.ended():
                    return
                self._keep_up()

    def _keep_up(self) -> None:
        """Whatever is due beside learning; none of it waits for a disk or a broker."""
        now = time.monotonic()
        if self._publisher is not None:
            self._publisher.check()
            is_open = self._gate_is_open(self._publisher.order)
            if is_open and self._publisher.due():
                self._publisher.publish()
            elif self._publisher.attends():
                self._publisher.attend()
        self._saving.check()
        if now >= self._next_checkpoint and not self._saving.busy:
            self._next_checkpoint = now + self.config.checkpoint.interval_seconds
            self._checkpoint()
        if now >= self._next_metrics:
            self._next_metrics = now + _METRICS_SECONDS
            self.show()

    def _gate_is_open(self, order: Order | None) -> bool:
        gate = self.state.gate
        gate.obey(order, time.time())
        if gate.overridden != self._was_overridden:
            self._was_overridden = gate.overridden
            _log.warning("gate: %s", _override(gate.order) if gate.overridden else _OVER)
        if gate.open != self._was_open:
            self._was_open = gate.open
            _log.warning("gate %s", "opened again" if gate.open else f"closed: {gate.reason}")
        return gate.open

    # ---- checkpoints

    def _checkpoint(self) -> None:
        """Copy state, positions and unacknowledged dead letters together; write them beside."""
        started = time.monotonic()
        if self._publisher is not None:
            self.state.version = max(self.state.version, self._publisher.version)
        parts, letters = self.state.parts(), self._letters.pending()
        positions = {**self.source.start(), **self.state.positions}
        self._metrics.paused(time.monotonic() - started)

        self._durable = False

        def save() -> None:
            begun = time.monotonic()
            try:
                path = self._store.save(parts, positions, letters, self._settings)
            except OSError as error:
                self._metrics.failed("checkpoint")
                self._next_checkpoint = time.monotonic() + _RETRY_SECONDS
                _log.warning("checkpoint not written, trying again: %s", error)
                return
            self._durable = True
            size = path.stat().st_size
            self._metrics.checkpointed(time.time(), time.monotonic() - begun, size)
            self.source.commit(positions)

        self._saving.start(save)

    def _finish(self) -> None:
        """The last checkpoint, whatever it takes for a while; then the last publish."""
        self._saving.wait(60.0)
        self._saving.check()
        # what this checkpoint holds is sent again after a restart
        self._letters.flush(_LAST_LETTERS_SECONDS)
        for attempt in range(_LAST_ATTEMPTS):
            self._checkpoint()
            self._saving.wait(60.0)
            self._saving.check()
            if self._durable:
                break
            time.sleep(_RETRY_SECONDS * (attempt + 1))
        if self._publisher is not None and self.state.gate.open:
            self._publisher.finish(_LAST_PUBLISH_SECONDS)
            self._publisher.check()
        self.show()

    def _close(self) -> None:
        self._letters.close()
        self.source.close()
        if self._publisher is not None:
            self._publisher.close()
        self._saving.wait(60.0)
        self._store.close()

    # ---- what is shown

    def lag(self) -> dict[str, int]:
        """How far each URI is behind its end, as ``Source.lag``: what is not learned yet."""
        return self._events.lag()

    def show(self) -> None:
        """Bring the metrics up to date."""
        state, metrics = self.state, self._metrics
        learner, progressive = state.learner, state.progressive
        metrics.learned(learner.events_learned, state.event_time)
        metrics.rejected(state.rejected)
        metrics.subsampled(state.subsampled)
        metrics.figures(progressive.total, progressive.window)
        metrics.model(learner.nonzero, learner.touched, learner.bits, learner.learning_rate)
        metrics.coverage(state.coverage.total(), learner.events_learned)
        metrics.gate(state.gate.open, state.gate.violated, state.gate.overridden)
        metrics.lag(self.lag())
        counted = self._letters.counters()
        metrics.dead_letters(counted["written"], counted["unacknowledged"])
        self._show_failures(counted["failures"])
        self._on_progress(self)

    def _show_failures(self, dead_letters: int) -> None:
        """Count what has failed in the source and the dead letters since this was last called."""
        source = self.source.counters()
        failures: dict[Operation, int] = {
            "source": sum(source.get(name, 0) for name in _SOURCE_FAILURES),
            "commit": source.get("commit_failures", 0),
            "dead_letters": dead_letters,
        }
        for operation, total in failures.items():
            for _ in range(self._failures.get(operation, 0), total):
                self._metrics.failed(operation)
        self._failures = failures


def _override(order: Order | None) -> str:
    """What to say of an order that opens the gate."""
    if order is None:
        return "overridden"
    until = datetime.fromtimestamp(order.until / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"overridden until {until} by {order.by or 'an operator'}: {order.reason or 'no reason'}"
