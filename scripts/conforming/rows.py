"""The rows that every system learns, and the figures that they are compared by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctr.types import Batch

COLUMNS, VALUES = 5, 3000
"""Each row has one of 3,000 values in each of 5 columns."""

BITS = 18
"""2^18 coordinates: a value has the coordinate 1 + 3,000 x column + value, none falls on another's,
and the rows use 15,000 of them."""

ALPHA, BETA = 0.1, 1.0


@dataclass(frozen=True)
class Rows:
    """``values``: whole numbers of shape (rows, COLUMNS); ``x``: float64 of the same shape, what
    the value counts for; ``labels``: bool; ``weights``: float64."""

    values: NDArray[np.int64]
    x: NDArray[np.float64]
    labels: NDArray[np.bool_]
    weights: NDArray[np.float64]

    @property
    def coordinates(self) -> NDArray[np.int64]:
        return 1 + VALUES * np.arange(COLUMNS) + self.values

    def batch(self, constant: int | None = None) -> Batch:
        """For ctr; ``constant`` is a coordinate to add behind the others of every row."""
        keys, x = self.coordinates, self.x
        if constant is not None:
            keys = np.insert(keys, COLUMNS, constant, axis=1)
            x = np.insert(x, COLUMNS, 1.0, axis=1)
        ends = np.arange(len(keys) + 1) * keys.shape[1]
        return Batch(ends, keys.reshape(-1), x.reshape(-1), self.labels, self.weights)

    def log_loss(self, p: NDArray[np.float64]) -> float:
        """The weighted mean log loss of these probabilities."""
        losses = -np.log(np.where(self.labels, p, 1 - p))
        return float((losses * self.weights).sum() / self.weights.sum())


def make(rows: int, seed: int = 1, plain: bool = False) -> Rows:
    """Frequent and rare values, and clicks that depend on them. ``plain``: x and weights are 1.

    x and the weights are multiples of 1/8, so that no system rounds them on reading.
    """
    random = np.random.default_rng(seed)
    values = np.minimum(random.pareto(0.6, (rows, COLUMNS)), VALUES - 1).astype(np.int64)
    x, weights = np.ones((rows, COLUMNS)), np.ones(rows)
    if not plain:
        x[:, -1] = random.choice([-2, -0.5, 0.125, 0.75, 1, 1.5], rows)
        weights = random.choice([0.5, 1, 1, 1, 2.5], rows)
    truth = random.normal(0, 1, (COLUMNS, VALUES))
    logits = (truth[np.arange(COLUMNS), values] * x).sum(axis=1) - 1.5
    labels = random.random(rows) < 1 / (1 + np.exp(-logits))
    return Rows(values, x, labels, weights)
