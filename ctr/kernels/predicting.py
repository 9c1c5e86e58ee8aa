"""Rows of a request -> probabilities."""

from __future__ import annotations

import numpy as np

from ctr.kernels.arguments import arrays_at, asking_at, rows_at
from ctr.kernels.asking import EVENTS
from ctr.kernels.options import jit
from ctr.kernels.scoring import logistic, score_rows, weight_at
from ctr.kernels.table import coordinate

_ONE = np.uint64(1)


@jit
def predict(address: int, count: int, bits: int) -> None:
    """Write the probabilities of the ``count`` rows that ``parse`` made of a request to ``out``.

    What a context adds to every row of candidates is added up once, first as in a row that holds
    it, so that no bit of a sum depends on how a request was written.
    """
    rows, asking, arrays = rows_at(address), asking_at(address), arrays_at(address)
    mask = (_ONE << np.uint64(bits)) - _ONE
    base = 0.0
    if asking.ask[0].kind > EVENTS:
        for k in range(asking.ask[0].prefix):
            weight = weight_at(arrays, coordinate(rows.keys[k], mask))
            base += np.float64(weight) * np.float64(rows.values[k])
    indptr, out = rows.indptr[: count + 1], asking.out
    score_rows(indptr, rows.keys[: indptr[count]], rows.values, base, mask, arrays, out)
    for i in range(count):
        out[i] = logistic(out[i])
