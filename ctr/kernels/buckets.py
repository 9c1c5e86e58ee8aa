"""Buckets of numbers by their size: half-octaves (``docs/hashing.md``)."""

from __future__ import annotations

import numpy as np

from ctr.kernels.memory import double_bits
from ctr.kernels.options import inline

BELOW = np.int64(-(1 << 40))
"""The one bucket of every x <= 0."""

_HALF_OCTAVE = np.uint64(0x6A09E667F3BCD)  # fraction bits of sqrt(2): the middle of an octave
_FRACTION = np.uint64((1 << 52) - 1)


@inline
def log_bucket(x: float) -> int:
    """The half-octave of x = m 2^e, 1/2 <= m < 1: 2 e, or 2 e + 1 where m >= sqrt(1/2)."""
    if x <= 0.0:
        return BELOW
    bits = double_bits(x)
    exponent = np.int64(bits >> np.uint64(52)) - 1022
    return 2 * exponent + np.int64((bits & _FRACTION) >= _HALF_OCTAVE)
