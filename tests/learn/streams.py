"""Streams of events for tests of learners, as hypothesis strategies and at random."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from ctr.types import Batch
from tests.naive import Event, Feature
from tests.naive_learners import Schedule

FUNCTIONS_OF_T: dict[str, Schedule] = {
    "constant": ("constant",),
    "power(r=20,c=0.5)": ("power", 20, 0.5),
    "power(r=3,c=2)": ("power", 3, 2),
    "exponential(r=50)": ("exponential", 50),
    "piecewise(5:0.5,12:0.25)": ("piecewise", (5, 0.5), (12, 0.25)),
}
"""Schedules by their text, in the form that the twins take."""

SCHEDULES: dict[str, Schedule] = FUNCTIONS_OF_T | {
    "performance(window=1,factor=0.97)": ("performance", 1, 0.97),
    "performance(window=7,factor=0.5,tolerance=0.01)": ("performance", 7, 0.5, 0.01),
}

numbers = st.floats(-3, 3, width=32).filter(lambda x: abs(x) > 1e-3)
amounts = st.sampled_from([0.0, 0.03, 0.3, 1.0, 2.5])


def events(keys: st.SearchStrategy[int], most: int = 40) -> st.SearchStrategy[list[Event]]:
    """Up to ``most`` events with up to 6 features; some keys come twice in an event."""
    features = st.lists(st.tuples(keys, st.one_of(st.just(1.0), numbers)), max_size=6)
    event = st.builds(
        Event,
        features=features,
        label=st.integers(0, 1),
        weight=st.one_of(st.just(1.0), st.floats(0.125, 8, width=32)),
    )
    return st.lists(event, min_size=1, max_size=most)


def settings() -> st.SearchStrategy[dict[str, float]]:
    """alpha, beta, l1, l2 and power of a learner."""
    return st.fixed_dictionaries(
        {
            "alpha": st.sampled_from([0.01, 0.1, 0.5, 1.5]),
            "beta": st.sampled_from([0.1, 1.0, 4.0]),
            "l1": amounts,
            "l2": amounts,
            "power": st.sampled_from([0.5, 0.5, 0.5, 0.0, 0.3, 1.0]),
        }
    )


def batch(rows: Sequence[Event]) -> Batch:
    """The events as one batch."""
    features: list[Feature] = [feature for row in rows for feature in row.features]
    return Batch(
        indptr=np.cumsum([0, *(len(row.features) for row in rows)]),
        keys=np.array([key for key, _ in features], np.uint64),
        values=np.array([x for _, x in features], np.float32),
        labels=np.array([row.label for row in rows], np.float32),
        weights=np.array([row.weight for row in rows], np.float32),
    )


def random_batch(rows: int, features: int, keys: int, seed: int) -> Batch:
    """A batch with a bias (key 0) in front, some learnable truth, and hot and rare keys."""
    random = np.random.default_rng(seed)
    ids = np.minimum(random.pareto(0.6, (rows, features)), keys - 1).astype(np.uint64)
    ids += np.uint64(1) + (np.arange(features, dtype=np.uint64) << np.uint64(32))
    truth = (ids * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(60)).astype(float) - 7.5
    labels = random.random(rows) < 1 / (1 + np.exp(1.5 - 0.15 * truth.sum(axis=1)))
    all_keys = np.concatenate([np.zeros((rows, 1), np.uint64), ids], axis=1)
    width = features + 1
    return Batch(
        indptr=np.arange(0, rows * width + 1, width),
        keys=(all_keys * np.uint64(0xD1342543DE82EF95)).reshape(-1),
        values=np.ones(rows * width),
        labels=labels,
    )


@functools.cache
def long_stream(rows: int) -> tuple[Batch, list[Event]]:
    """A batch of 5 features a row, with weights and other x than 1, and the same as events."""
    keys = random_batch(rows, features=4, keys=4000, seed=21).keys
    random = np.random.default_rng(22)
    x = random.choice([1.0, 1.0, 1.0, 0.5, -1.5], (rows, 5))
    x[:, 0] = 1.0  # the bias's
    different, which = np.unique(keys, return_inverse=True)
    logits = (random.normal(0, 0.8, len(different))[which].reshape(rows, 5) * x).sum(axis=1)
    labels = random.random(rows) < 1 / (1 + np.exp(1.5 - logits))
    weights = random.choice([1.0, 1.0, 0.5, 2.0], rows)
    whole = Batch(np.arange(0, 5 * rows + 1, 5), keys, x.reshape(-1), labels, weights)
    made = [
        Event(list(zip(*features, strict=True)), int(label), weight)
        for *features, label, weight in zip(
            keys.reshape(rows, 5).tolist(), x.tolist(), labels, weights.tolist(), strict=True
        )
    ]
    return whole, made


def split(whole: Batch, at: Sequence[int]) -> Iterator[Batch]:
    """``whole`` cut before the rows ``at`` (sorted)."""
    cuts = [0, *at, len(whole)]
    for first, last in pairwise(cuts):
        a, b = whole.indptr[first], whole.indptr[last]
        yield Batch(
            whole.indptr[first : last + 1] - a,
            whole.keys[a:b],
            whole.values[a:b],
            whole.labels[first:last],
            None if whole.weights is None else whole.weights[first:last],
        )
