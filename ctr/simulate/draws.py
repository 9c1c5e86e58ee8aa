"""Random draws that can be had again for any block of events, without those before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctr.types import Float64, Int64, UInt64

EVENTS, AD, WALK, START, BAD = range(5)
"""What a generator is for: each purpose and number has a stream of random numbers of its own."""


def generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    """The generator of one block, new ad or step of the walk.

    >>> bool(generator(1, AD, 7).random() == generator(1, AD, 7).random())
    True
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose, number])))


def zipf(uniform: Float64, count: int, exponent: float, shift: float) -> Int64:
    """Ranks in [0, count) with P(rank) about ``(rank + 1 + shift)^-exponent`` (Zipf-Mandelbrot).

    By inversion of the continuous law, so that a billion ranks cost no memory. ``exponent != 1``.

    >>> zipf(np.array([0.0, 0.5, 0.9999999]), 1000, 1.1, 2.0).tolist()
    [0, 33, 999]
    """
    power = 1.0 - exponent
    first, last = (1.0 + shift) ** power, (count + 1.0 + shift) ** power
    ranks = ((first + uniform * (last - first)) ** (1.0 / power) - (1.0 + shift)).astype(np.int64)
    within: Int64 = np.minimum(ranks, count - 1)
    return within


def mix(values: Int64 | UInt64, seed: int) -> UInt64:
    """A 64-bit hash of each value (the finaliser of splitmix64, Steele et al. 2014).

    >>> len(set(mix(np.arange(1000), 1).tolist()))
    1000
    """
    h = values.astype(np.uint64)
    h += np.uint64((seed * 2 + 1) * 0x9E3779B97F4A7C15 % 2**64)
    h ^= h >> np.uint64(30)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(27)
    h *= np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return h


def bits(hashes: UInt64, first: int, count: int) -> Int64:
    """``count`` bits of each hash, from bit ``first`` on, as a number."""
    return ((hashes >> np.uint64(first)) & np.uint64((1 << count) - 1)).astype(np.int64)


def wheel(shares: Sequence[float], size: int = 1024) -> Int64:
    """A table of ``size`` places in which choice i has its share of them: indexed, it draws.

    >>> np.bincount(wheel([3, 1], 8)).tolist()
    [6, 2]
    """
    edges = np.round(np.cumsum(shares) / np.sum(shares) * size).astype(np.int64)
    return np.repeat(np.arange(len(shares)), np.diff(edges, prepend=0))
