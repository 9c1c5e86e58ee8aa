"""Logits of rows from a sparse model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ctr.kernels.memory import prefetch
from ctr.kernels.options import jit
from ctr.kernels.pages import page_of, units_of, weight_at
from ctr.kernels.table import coordinate

AHEAD = 16
"""How many coordinates ahead directory entries are fetched; values half as many."""


@jit
def score(
    indptr: Any,
    keys: Any,
    values: Any,
    mask: Any,
    directory: Any,
    narrow: Any,
    wide: Any,
    out: Any,
) -> None:
    """Set ``out[i]`` (float32) to the sum of weight times value over row i, added in float64.

    ``mask`` is 2^bits - 1 (uint64); the model's arrays are those of ``ctr.kernels.pages``.
    """
    end = len(keys)
    for i in range(len(indptr) - 1):
        total = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            if k + AHEAD < end:
                far, near = keys[k + AHEAD], keys[k + AHEAD // 2]
                prefetch(directory, page_of(coordinate(far, mask)))
                offset = directory[page_of(coordinate(near, mask))]["offset"]
                prefetch(narrow, units_of(offset))
            weight = weight_at(directory, narrow, wide, coordinate(keys[k], mask))
            total += np.float64(weight) * np.float64(values[k])
        out[i] = np.float32(total)


@jit
def probabilities(logits: Any) -> Any:
    """The logistic function of each logit, float32."""
    out = np.empty(len(logits), np.float32)
    for i in range(len(logits)):
        out[i] = np.float32(1.0 / (1.0 + math.exp(min(-np.float64(logits[i]), 709.0))))
    return out
