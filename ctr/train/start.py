"""Putting a trainer together in the order that keeps two of them apart."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from ctr.config import masked
from ctr.features.parser import REASONS, Parser
from ctr.features.prepared import preparing
from ctr.observe.trainer import TrainerMetrics
from ctr.settings import Config
from ctr.stream import open_dead_letters, open_source
from ctr.stream.pipeline import Pipeline, worker_count
from ctr.stream.source import Source
from ctr.train.checkpoint import CheckpointStore
from ctr.train.loop import Trainer
from ctr.train.publish import make_publisher
from ctr.train.state import PARTS, State
from ctr.types import Positions

_log = logging.getLogger(__name__)


def train(
    config: Config,
    stop: threading.Event,
    registry: CollectorRegistry,
    *,
    open_events: Callable[[Config, Positions], Source] = open_source,
    on_progress: Callable[[Trainer], None] = lambda trainer: None,
) -> State:
    """Train until ``stop`` is set or the source has ended; returns what was learned.

    The checkpoint directory is locked first, then its newest checkpoint loaded, then the model
    topic claimed, and only then is anything read. ``open_events`` opens the source at positions.
    Raises LockedError, DamagedFileError, IncompatibleError, SettingError before any event is
    read, and what ``Trainer.run`` raises.
    """
    store = CheckpointStore(Path(config.path(config.checkpoint.directory)), config.checkpoint.keep)
    try:
        trainer = _assemble(config, store, registry, open_events, on_progress)
    except BaseException:
        store.close()
        raise
    trainer.run(stop)
    return trainer.state


def _assemble(
    config: Config,
    store: CheckpointStore,
    registry: CollectorRegistry,
    open_events: Callable[[Config, Positions], Source],
    on_progress: Callable[[Trainer], None],
) -> Trainer:
    state = State(config)
    share, seed = config.events.keep_without_click, config.model.seed
    parsers = [Parser(config.features) for _ in range(worker_count(config.events.parsers))]
    checkpoint = store.load(config.checkpoint.load, known=PARTS)
    if checkpoint is not None:
        state.restore(checkpoint)
        _log.info("going on from %s, %d events", checkpoint.path, state.learner.events_learned)
        if config.checkpoint.load:
            # a crash before the next checkpoint must not fall back to what was to be left
            store.save(state.parts(), state.positions, checkpoint.letters, masked(config))
    metrics = TrainerMetrics(registry, config.model.name)
    publisher = make_publisher(config, state, str(uuid.uuid4()), metrics)
    source = open_events(config, state.positions)
    events = Pipeline(source, [preparing(parser, share, seed) for parser in parsers])
    # last, as it has a thread that would outlive an error of the others
    letters = open_dead_letters(config, REASONS)
    if checkpoint is not None:
        letters.resend(checkpoint.letters)
    return Trainer(config, state, events, letters, store, publisher, metrics, on_progress)
