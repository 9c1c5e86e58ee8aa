"""What a trainer has learned, and how one batch of records changes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.errors import IncompatibleError
from ctr.features.parser import REASONS
from ctr.features.prepared import Prepared
from ctr.features.spec import same_table
from ctr.learn import Learner, make
from ctr.metrics.coverage import Coverage
from ctr.metrics.progressive import Progressive
from ctr.settings import Config, Features
from ctr.train.checkpoint import Checkpoint, Part
from ctr.train.gate import Gate
from ctr.types import Positions

PARTS = ("stream", "learner", "progressive", "coverage", "gate")


class State:
    """Learner, progressive metrics, gate and positions, which only change together.

    ``learn`` takes prepared events through learn and evaluate; ``parts`` is what a checkpoint holds
    of it and ``restore`` its inverse. Not for two threads at once.
    """

    def __init__(self, config: Config) -> None:
        self.spec: Features = config.features
        self.learner: Learner = make(config.learner, config.features.bits, config.model.seed)
        self.progressive = Progressive(config.metrics.window)
        self.coverage = Coverage(max(1, config.metrics.coverage_names))
        self.gate = Gate(config.gate)
        self.positions: Positions = {}
        self.rejected: dict[str, int] = {}
        self.skipped = 0
        self.subsampled = 0
        """Events without a click that subsampling has left out."""
        self.event_time = 0
        """The latest time of an event, left out or not, milliseconds since the epoch."""
        self.version = 0
        """The last version of the model that was published."""

    def learn(self, prepared: Prepared) -> None:
        """Learn every good event of one ``Records``; the bad ones are for the caller to keep."""
        events, batch = prepared.events, prepared.events.batch
        if len(events):
            p = self.learner.learn(batch)
            self.progressive.update(p, batch.labels, batch.weights)
            self.gate.observe(p, batch.labels, batch.weights, events.ts)
            self.coverage.update(events.name_ids, batch.indptr, prepared.names)
        self.event_time = max(self.event_time, prepared.latest)
        self.subsampled += prepared.subsampled
        for code, count in enumerate(np.bincount(events.rejected.reasons)):
            if count:
                reason = REASONS[code]
                self.rejected[reason] = self.rejected.get(reason, 0) + int(count)
        self.skipped += events.skipped
        self.positions[events.source.source] = events.source.after

    def parts(self) -> dict[str, Part]:
        """Copies of everything that changes, by name."""
        stream: dict[str, Any] = {
            "spec": {"bits": self.spec.bits, "hash_seed": self.spec.hash_seed},
            "rejected": dict(self.rejected),
            "skipped": self.skipped,
            "subsampled": self.subsampled,
            "event_time": self.event_time,
            "version": self.version,
        }
        return {
            "stream": (stream, {}),
            "learner": self.learner.state(),
            "progressive": self.progressive.state(),
            "coverage": self.coverage.state(),
            "gate": self.gate.state(),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from ``checkpoint``. Raises IncompatibleError, naming both sides, if it cannot."""
        missing = [name for name in PARTS if name not in checkpoint.parts]
        if missing:
            raise IncompatibleError(f"{checkpoint.path} has no part {', '.join(missing)}")
        stream, _ = checkpoint.parts["stream"]
        same_table(self.spec, Features(**stream["spec"]), str(checkpoint.path))
        self.learner.restore(*checkpoint.parts["learner"])
        self.progressive.restore(*checkpoint.parts["progressive"])
        self.coverage.restore(*checkpoint.parts["coverage"])
        self.gate.restore(*checkpoint.parts["gate"])
        self.positions = dict(checkpoint.positions)
        self.rejected = {str(reason): int(n) for reason, n in stream["rejected"].items()}
        self.skipped, self.event_time = int(stream["skipped"]), int(stream["event_time"])
        self.subsampled = int(stream.get("subsampled", 0))  # not in the first checkpoints
        self.version = int(stream["version"])
