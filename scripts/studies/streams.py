"""Streams held in memory, parsed and hashed once, for learner after learner."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctr import config
from ctr.features.formats import make_parser, with_defaults
from ctr.features.parser import Parser
from ctr.features.subsample import subsample
from ctr.settings import Features
from ctr.simulate import Simulator, SimulatorSettings
from ctr.stream.files import FileSource
from ctr.types import Batch, Records

BATCH = 50_000
HELD_OUT = 0.8
"""What is held out begins after this share of a stream."""


@dataclass(frozen=True)
class Stream:
    """A named stream: its batches in order, and the true probabilities where they are known."""

    name: str
    batches: list[Batch]
    truth: np.ndarray | None
    bits: int

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.batches)

    @property
    def labels(self) -> np.ndarray:
        return np.concatenate([batch.labels for batch in self.batches])

    def parts(self) -> tuple[list[Batch], list[Batch]]:
        """The batches to learn from and those held out."""
        cut = max(1, min(len(self.batches) - 1, round(HELD_OUT * len(self.batches))))
        return self.batches[:cut], self.batches[cut:]


def simulated(
    seed: int, events: int, *, drifting: bool, bits: int = 22, keep: float = 1.0
) -> Stream:
    """A stream of the simulator, with the crosses of its true model among the features.

    Stationary: no true weight moves and no ad is replaced. Drifting: as ``ctr simulate`` does by
    default, five times as fast. ``keep``: the share of the events without a click that are kept.
    """
    drift = {"drift": 1.0} if drifting else {"drift": 0.0, "new_ads_every": 0}
    # some events an hour of its clock, so that all hours of the day occur
    pace = {"events_per_second": 10_000, "label_delay_ms": 0}
    simulator = Simulator(SimulatorSettings(seed=seed, **drift, **pace))
    spec = features_of(simulator, bits)
    parser, batches, truth = Parser(spec), [], []
    for first in range(0, events, BATCH):
        made = simulator.batch(min(BATCH, events - first))
        events_of = subsample(parser.parse(Records.of(made.lines, "simulator", first)), keep, seed)
        batches.append(events_of.batch)
        truth.append(made.p)
    name = f"{'drifting' if drifting else 'stationary'}, seed {seed}"
    return Stream(name, batches, np.concatenate(truth) if keep == 1 else None, bits)


def features_of(simulator: Simulator, bits: int) -> Features:
    """The features with which all of the truth can be found."""
    found = tomllib.loads(simulator.spec_toml())["features"]
    overrides = {f"features.{name}": value for name, value in found.items()}
    return config.load(environment={}, overrides={**overrides, "features.bits": bits}).features


def from_files(files: list[Path], form: str, spec: Features, name: str = "") -> Stream:
    """The events of files in any of the formats; what cannot be read is left out."""
    spec = with_defaults(form, spec)
    batches = list(_resized(_read(files, form, spec)))
    return Stream(name or files[0].name, batches, None, spec.bits)


def _read(files: list[Path], form: str, spec: Features) -> Iterator[Batch]:
    parser = make_parser(form, spec)
    source = FileSource([str(file) for file in files])
    try:
        while not source.ended():
            records = source.next_batch(0.1)
            if records is not None:
                yield parser.parse(records).batch
    finally:
        source.close()


def _resized(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same rows in at least twenty batches, so that a share of them can be held out."""
    found = [batch for batch in batches if len(batch)]
    rows = sum(len(batch) for batch in found)
    size = max(1, min(BATCH, rows // 20))
    for batch in found:
        for first in range(0, len(batch), size):
            last = min(first + size, len(batch))
            a, b = batch.indptr[first], batch.indptr[last]
            yield Batch(
                batch.indptr[first : last + 1] - a,
                batch.keys[a:b],
                batch.values[a:b],
                batch.labels[first:last],
                None if batch.weights is None else batch.weights[first:last],
            )
