"""The feature hash: decoded bytes -> 64-bit keys. Specified in ``docs/hashing.md``.

Every step is a bijection of the running state (xor, odd product, xor-shift), so two strings that
differ in one 8-byte word never meet inside that step. Not for hostile input: anybody can compute
collisions, as with every hash whose seed is public.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.memory import double_bits, load64
from ctr.kernels.options import inline

K0 = np.uint64(0x9E3779B97F4A7C15)
K1 = np.uint64(0xFF51AFD7ED558CCD)
K2 = np.uint64(0xC4CEB9FE1A85EC53)

TEXT, DOUBLE, BUCKET, LINEAR = (np.uint64(kind) for kind in range(4))
"""What a value is, so that the bucket 5 and the string "5" are different features."""

_29, _31, _32, _33 = np.uint64(29), np.uint64(31), np.uint64(32), np.uint64(33)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@inline
def step(h: Any, word: Any) -> Any:
    """Take 8 more bytes into the running state."""
    h = (h ^ word) * K1
    return h ^ (h >> _32)


@inline
def finish(h: Any, length: int) -> Any:
    """The hash of ``length`` bytes (or words) that went through ``step``."""
    h = h ^ (np.uint64(length) * K0)
    h = (h ^ (h >> _33)) * K2
    return h ^ (h >> _29)


@inline
def low_bytes(word: Any, count: int) -> Any:
    """``word`` with all but its first ``count`` bytes (0 to 7) in memory zeroed."""
    return word & ~(_ALL << np.uint64(8 * count))


@inline
def hash_bytes(buffer: Any, start: int, end: int, seed: Any) -> Any:
    """The hash of ``buffer[start:end]``; 8 bytes past ``end`` must be readable."""
    h = seed
    i = start
    while i + 8 <= end:
        h = step(h, load64(buffer, i))
        i += 8
    if i < end:
        h = step(h, low_bytes(load64(buffer, i), end - i))
    return finish(h, end - start)


@inline
def feature_key(name: Any, kind: Any, value: Any) -> Any:
    """The key of a feature from the hash of its name and of its value; never 0, the bias's."""
    k = (name ^ ((value << _31) | (value >> _33))) + kind * K0
    k = (k ^ (k >> _32)) * K1
    k = (k ^ (k >> _29)) * K2
    k = k ^ (k >> _32)
    return k if k != _ZERO else _ONE


@inline
def hash_double(x: float, seed: Any) -> Any:
    """The hash of a number that is a category: of its eight bytes, -0 taken as 0."""
    return finish(step(seed, double_bits(x + 0.0)), 8)


@inline
def nested_name(parent: Any, name: Any) -> Any:
    """The hash of a dotted path from its parent's hash and its last part's.

    Two steps: in one the two hashes would meet in a xor, and ``a.a`` and ``b.b`` be the same.
    """
    return finish(step(step(K2, parent), name), 2)
