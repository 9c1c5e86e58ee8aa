"""FTRL-Proximal event by event: McMahan et al. 2013, Algorithm 1, over the rows of a batch.

A row is gone through twice, eight features at a time (``ctr.kernels.lanes``): for its score, and
to update each cell from what it is by then. What is left of a row behind its last eight, rows of
which eight have a coordinate twice, and a power other than 1/2 go one by one, with the same
arithmetic. The first pass also finds, without a branch, whether the row is one for the second to
go through eight at a time, and whether all its pages are noted as changed.

The cells of later rows are asked for meanwhile. While the table is small half of them are in each
pass: so many misses at once as one pass makes would wait for each other. With a large one most
are misses that take long, and the sooner as many as can be are under way the better.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ctr.kernels.cells import (
    all_changed,
    ask_for_half,
    ask_for_one,
    load_cells,
    store_cells,
)
from ctr.kernels.ftrl import MAX, d_of, float_of, is_nonzero, single, step, weight, word_of
from ctr.kernels.lanes import (
    LANES,
    count,
    floats_of,
    halves,
    high_float,
    load,
    low_float,
    magnitude,
    narrow,
    numbers,
    repeated,
    signed,
    square_root,
    store,
    total,
    where,
    widen,
    with_sign,
    words_of,
)
from ctr.kernels.options import inline, jit
from ctr.kernels.schedules import observe, rate_from
from ctr.kernels.table import (
    N_NONZERO,
    N_TOUCHED,
    add_noise,
    coordinate,
    event_noise,
    feature_noise,
    is_changed,
    mark,
)

_AHEAD = 160
"""Keys from the one being read to the one being asked for: some events' worth of time."""

_LARGE = 1 << 27
"""Coordinates of a table whose cells are all asked for in the first pass."""

_ZERO, _ONE, _SIGN, _MAX = np.uint64(0), np.uint64(1), np.uint64(1 << 63), float(MAX)
_HALF = LANES // 2


@inline
def logistic(score: Any) -> Any:
    """1 / (1 + exp(-score)), for any score."""
    return 1.0 / (1.0 + math.exp(min(-score, 709.0)))


@jit
def room(indptr: Any) -> Any:
    """Room (uint64) for the places of the longest row."""
    longest = 0
    for i in range(len(indptr) - 1):
        longest = max(longest, indptr[i + 1] - indptr[i])
    return np.empty(longest, np.uint64)


@inline
def weights_of(z: Any, nd: Any, l1: Any, l2: Any) -> Any:
    """``ftrl.weight`` of lanes of cells, and whether it is not zero."""
    free = signed(nd)
    over = magnitude(z) - where(free, 0.0, l1)
    nonzero = over > 0.0
    w = with_sign(over, z) * -1.0 / (widen(high_float(nd)) + where(free, 0.0, l2))
    return where(nonzero, w, 0.0), nonzero


@inline
def score_row(
    words: Any,
    mask: Any,
    keys: Any,
    values: Any,
    first: Any,
    last: Any,
    l1: Any,
    l2: Any,
    ask: Any,
    places: Any,
    changed: Any,
) -> Any:
    """w.x of the features from ``first`` to ``last``; leaves where their cells are in ``places``.

    ``ask``: for how much of later rows' cells, in halves. Unless ``changed`` (see ``Pages``) is
    None also 1 if all the pages are noted there, or 0, and whether eight have a coordinate twice.
    """
    length = last - first
    whole, far = length // LANES * LANES, first + _AHEAD
    mine, x = keys[first:last], values[first:last]
    noted, twice = _ONE, False
    for j in range(0, whole, LANES):
        key = load(mine, j)
        low = key & mask
        low = where((low == _ZERO) & (key != _ZERO), _ONE, low)
        store(places, j, low << _ONE)
        if changed is not None:
            twice |= repeated(low)
    score = floats_of(numbers() * _ZERO)
    for j in range(0, whole, LANES):
        if ask > 0:
            ask_for_half(words, keys, far + j, mask)
        if ask > 1:
            ask_for_half(words, keys, far + j + _HALF, mask)
        if changed is not None:
            noted &= all_changed(changed, places, j)
        z, nd = load_cells(words, places, j)
        w, _ = weights_of(floats_of(z), nd, l1, l2)
        score = score + w * load(x, j)
    wx = total(score)
    for j in range(whole, length):
        if ask > 0:
            ask_for_one(words, keys, far + j, mask)
        place = coordinate(mine[j], mask) << _ONE
        places[j] = place
        if changed is not None:
            noted &= is_changed(changed, place >> _ONE)
        w = weight(float_of(words[place]), d_of(words[place + _ONE]), l1, l2)
        wx += w * np.float64(x[j])
    return wx, noted, twice


@inline
def update_lanes(
    words: Any, places: Any, j: Any, g: Any, beta: Any, pace: Any, noise: Any, rules: Any
) -> Any:
    """``update`` of the cells at ``places[j:]``, no two of them the same, at power 1/2."""
    first, nd = load_cells(words, places, j)
    z, d = floats_of(first), high_float(nd)
    w, before = weights_of(z, nd, rules.l1, rules.l2)
    n = widen(low_float(nd)) + g * g
    n = where(n < _MAX, n, _MAX)
    risen = (square_root(narrow(n)) + beta) * pace
    risen = where(risen < MAX, risen, MAX)
    new_d = where(d > risen, d, risen)
    new_z = z + g - (widen(new_d) - widen(d)) * w
    new_n = floats_of(add_noise(words_of(n), noise))
    new_nd = halves(narrow(new_n), new_d) | (nd & _SIGN)
    store_cells(words, places, j, words_of(new_z), new_nd)
    after = magnitude(new_z) > where(signed(nd), 0.0, rules.l1)
    return count(widen(d) == 0.0), count(after) - count(before)


@inline
def update(words: Any, place: Any, g: Any, pace: Any, noise: Any, rules: Any) -> Any:
    """Update one cell by its gradient; returns what that adds to touched and to nonzero."""
    z, nd = float_of(words[place]), words[place + _ONE]
    new_z, new_nd = step(z, nd, g, pace, noise, rules)
    words[place], words[place + _ONE] = word_of(new_z), new_nd
    d = d_of(nd)
    return int(d == 0.0), is_nonzero(new_z, d, rules.l1) - is_nonzero(z, d, rules.l1)


@jit
def learn(
    pages: Any,
    rules: Any,
    t: Any,
    indptr: Any,
    keys: Any,
    values: Any,
    labels: Any,
    weights: Any,
    out: Any,
) -> None:
    """Predict and then learn each row of a batch (see ``ctr.types.Batch``), in order.

    ``t``: events learned before; ``weights``: float32, one a row, or of length 0 for all 1;
    ``out``: float32, one a row, receives p before the row was learned. Mutates ``pages``.
    """
    words, places = pages.words.reshape(-1), room(indptr)
    beta = np.float32(rules.beta)
    at_once = rules.power == 0.5
    halves_first = 1 if at_once and len(pages.words) < _LARGE else 2
    touched = nonzero = 0
    anchor, anchored = -1, 0.0
    for i in range(len(labels)):
        first, last = indptr[i], indptr[i + 1]
        x, length = values[first:last], last - first
        far = first + _AHEAD
        ask = halves_first * int(far + length <= len(keys))
        wx, noted, twice = score_row(
            words,
            pages.mask,
            keys,
            values,
            first,
            last,
            rules.l1,
            rules.l2,
            ask,
            places,
            pages.changed,
        )
        if noted == _ZERO:
            for k in range(length):
                mark(pages, places[k] >> _ONE)
        p = logistic(wx)
        out[i] = p
        label = np.float64(labels[i])
        importance = np.float64(weights[i]) if len(weights) > 0 else 1.0
        slope = (p - label) * importance
        alpha_t, anchor, anchored = rate_from(
            rules.schedule, rules.rates, rules.alpha, t + i, anchor, anchored
        )
        pace = 1.0 / alpha_t
        observe(rules.schedule, rules.rates, p, label, importance)
        noise = event_noise(rules.seed, t + i)
        noises = numbers() * feature_noise(_ZERO, _ONE) + noise
        pace_32 = single(pace)
        whole = length // LANES * LANES if at_once and not twice else 0
        for j in range(0, whole, LANES):
            if ask == 1:
                ask_for_half(words, keys, far + j + _HALF, pages.mask)
            g_8, noise_8 = load(x, j) * slope, feature_noise(noises, np.uint64(j))
            more = update_lanes(words, places, j, g_8, beta, pace_32, noise_8, rules)
            touched += more[0]
            nonzero += more[1]
        for k in range(whole, length):
            g, noise_k = slope * x[k], feature_noise(noise, np.uint64(k))
            more = update(words, places[k], g, pace, noise_k, rules)
            touched += more[0]
            nonzero += more[1]
    pages.counts[N_TOUCHED] += touched
    pages.counts[N_NONZERO] += nonzero


@jit
def score(
    pages: Any, rules: Any, indptr: Any, keys: Any, values: Any, probability: Any, out: Any
) -> None:
    """The score w.x of each row of a batch into ``out`` (float32), or p if ``probability``."""
    words, places = pages.words.reshape(-1), room(indptr)
    for i in range(len(indptr) - 1):
        first, last = indptr[i], indptr[i + 1]
        ask = 2 * int(last + _AHEAD <= len(keys))
        wx, _, _ = score_row(
            words, pages.mask, keys, values, first, last, rules.l1, rules.l2, ask, places, None
        )
        out[i] = logistic(wx) if probability else wx
