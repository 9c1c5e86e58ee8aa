"""Bad events of every kind: each is a good event's line, spoiled in one way."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Limits:
    """The reader's limits, which ``too_many_features`` and ``too_long`` go over."""

    max_features: int
    max_event_bytes: int


Spoil = Callable[[bytes, np.random.Generator, Limits], bytes]


def _instead(*lines: bytes) -> Spoil:
    """Something else altogether."""
    return lambda line, rng, limits: lines[rng.integers(len(lines))]


def _change(pattern: bytes, *changes: bytes) -> Spoil:
    """One of the texts in place of the first match."""
    find = re.compile(pattern)

    def spoil(line: bytes, rng: np.random.Generator, limits: Limits) -> bytes:
        change = changes[rng.integers(len(changes))]
        return find.sub(lambda match: change, line, count=1)

    return spoil


def _feature(*texts: bytes) -> Spoil:
    """One more feature, by its JSON text."""
    return _change(rb'(?<="features":\{)', *texts)


def _key(*texts: bytes) -> Spoil:
    """One more key beside the features, by its JSON text."""
    return lambda line, rng, limits: line[:-1] + b"," + texts[rng.integers(len(texts))] + b"}"


def _truncated(line: bytes, rng: np.random.Generator, limits: Limits) -> bytes:
    cut = line[: int(rng.integers(1, len(line)))]
    return cut.decode("utf-8", "ignore").encode("utf-8")


def _too_many(line: bytes, rng: np.random.Generator, limits: Limits) -> bytes:
    values = b",".join(b'"%d"' % i for i in range(limits.max_features + 1))
    return _feature(b'"many":[' + values + b"],")(line, rng, limits)


def _too_long(line: bytes, rng: np.random.Generator, limits: Limits) -> bytes:
    return _key(b'"padding":"' + b"x" * limits.max_event_bytes + b'"')(line, rng, limits)


_WEIGHT = rb'(?<="label":\d)(,"weight":[\d.]+)?'
_KINDS: dict[str, tuple[str, Spoil]] = {
    # kind: the reason a reader is to give, and how to make one
    "truncated": ("syntax", _truncated),
    "not_json": ("syntax", _instead(b"<html>502 Bad Gateway</html>", b"user=u1&label=0", b"{]")),
    "nan": ("syntax", _feature(b'"score":NaN,', b'"score":Infinity,', b'"score":-Infinity,')),
    "infinite": ("number", _feature(b'"score":1e999,', b'"score":-4e38,')),
    "not_object": ("not_object", _instead(b"[1,2]", b'"click"', b"17", b"null", b"true")),
    "invalid_utf8": ("utf8", _feature(b'"a":"\xff",', b'"a":"\xc3",', b'"\xed\xa0\x80":"a",')),
    "lone_surrogate": ("surrogate", _feature(b'"a":"\\ud800",', b'"\\udc00":"a",')),
    "wrong_label": ("label", _change(rb'"label":\d', b'"label":2', b'"label":-1', b'"label":"1"')),
    "no_label": ("no_label", _change(rb',"label":\d', b"", b',"label":null')),
    "wrong_weight": ("weight", _change(_WEIGHT, b',"weight":0', b',"weight":-1.0')),
    "wrong_ts": ("ts", _change(rb'"ts":\d+', b'"ts":"yesterday"', b'"ts":1.5')),
    "nested": ("nested", _feature(b'"geo":{"country":"de"},', b'"a":{},')),
    "too_deep": ("depth", _key(b'"deep":' + b"[" * 40 + b"]" * 40)),
    "too_many_features": ("too_many_features", _too_many),
    "too_long": ("too_long", _too_long),
    "repeated_key": ("repeated_key", _key(b'"ts":0', b'"\\u0069d":"again"')),
    "empty": ("empty", _instead(b"")),
}

KINDS = tuple(_KINDS)
"""The kinds of bad events. ``empty`` is a record without a byte: a file has no such thing."""

REASONS = {kind: reason for kind, (reason, _) in _KINDS.items()}
"""Kind -> the reason for which a reader is to reject it (``ctr.kernels.reasons``)."""


def shares(kinds: Sequence[str]) -> list[float]:
    """How often each kind is taken: all alike, but the huge one fifty times less."""
    return [0.02 if kind == "too_long" else 1.0 for kind in kinds]


def spoil(kind: str, line: bytes, rng: np.random.Generator, limits: Limits) -> bytes:
    """``line`` (a good event as the simulator writes it) made bad."""
    return _KINDS[kind][1](line, rng, limits)
