"""FOBOS to the letter: every event shrinks every weight, and not only those of its own features.

Duchi & Singer 2009, section 5: a weight need not be touched until its feature occurs again, as
what it has missed can be caught up with then. ``ctr.learn.FOBOS`` leaves idle weights alone, as
all of ``ctr`` does; this one is here to tell what of the difference to the paper that explains.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ctr.kernels.ftrl_rows import logistic
from ctr.kernels.rivals import soft
from ctr.kernels.table import coordinate
from ctr.settings import Learner as Settings
from ctr.types import Batch

_W, _N, _D, _T = range(4)


class ShrinkingFOBOS:
    """Logistic regression by forward-backward splitting, rates per coordinate, no l2.

    The bias (coordinate 0) is not shrunk.
    """

    def __init__(self, settings: Settings, bits: int) -> None:
        self._cells = np.zeros((1 << bits, 4))
        self._rates = np.array([settings.alpha, settings.beta, settings.l1])
        self._t = 0

    def learn(self, batch: Batch) -> np.ndarray:
        """Each row's probability before it was learned."""
        return self._rows(batch, True)

    def predict(self, batch: Batch) -> np.ndarray:
        return self._rows(batch, False)

    @property
    def nonzero(self) -> int:
        return int(np.count_nonzero(_all_weights(self._cells, self._rates, self._t)))

    def _rows(self, batch: Batch, learning: bool) -> np.ndarray:
        out = np.empty(len(batch), np.float32)
        rows = batch.indptr, batch.keys, batch.values, batch.labels
        _learn(self._cells, self._rates, self._t, *rows, learning, out)
        self._t += len(batch) if learning else 0
        return out


@numba.njit(nogil=True)
def _weight(cell: Any, c: Any, l1: float, t: int) -> float:
    """The weight now: shrunk by l1/d for every event since it was last touched."""
    if cell[_D] == 0.0 or c == 0:
        return cell[_W]
    return soft(cell[_W], l1 / cell[_D] * (t - cell[_T]))


@numba.njit(nogil=True)
def _learn(
    cells: Any,
    rates: Any,
    t: int,
    indptr: Any,
    keys: Any,
    values: Any,
    labels: Any,
    learning: bool,
    out: Any,
) -> None:
    alpha, beta, l1 = rates
    mask = np.uint64(len(cells) - 1)
    for i in range(len(labels)):
        score = 0.0
        for j in range(indptr[i], indptr[i + 1]):
            c = coordinate(keys[j], mask)
            score += _weight(cells[c], c, l1, t) * values[j]
        out[i] = p = logistic(score)
        for j in range(indptr[i], indptr[i + 1] if learning else indptr[i]):
            c, g = coordinate(keys[j], mask), (p - labels[i]) * values[j]
            w = _weight(cells[c], c, l1, t)
            cells[c, _N] += g * g
            cells[c, _D] = (beta + np.sqrt(cells[c, _N])) / alpha
            cells[c, _W] = w - g / cells[c, _D]
            cells[c, _T] = t
        t += int(learning)


@numba.njit(nogil=True)
def _all_weights(cells: Any, rates: Any, t: int) -> Any:
    out = np.empty(len(cells))
    for c in range(len(cells)):
        out[c] = _weight(cells[c], c, rates[2], t)
    return out
