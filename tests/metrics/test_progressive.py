"""Progressive metrics against recounts, over all events and over the window."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.errors import IncompatibleError, SettingError
from ctr.kernels import metrics as kernels
from ctr.metrics.progressive import Figures, Progressive
from tests import naive

probabilities = st.one_of(
    st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0, 0.5, 2.0**-30, 2.0**-24])
)
weights = st.one_of(st.just(1.0), st.floats(0.0625, 128, width=32))
Row = tuple[float, int, float]
rows = st.lists(st.tuples(probabilities, st.integers(0, 1), weights), max_size=80)


def columns(given_rows: list[Row]) -> tuple[list[float], list[int], list[float]]:
    p, labels, w = zip(*given_rows, strict=True) if given_rows else ((), (), ())
    return list(p), list(labels), list(w)


def bin_of(p: float) -> int:
    """The bin of the logit, as the docstring of Progressive has it."""
    p = min(max(p, 2**-24), 1 - 2**-24)
    end = math.log((1 - 2**-24) / 2**-24)
    return min(4095, max(0, math.floor((math.log(p) - math.log1p(-p) + end) / (2 * end) * 4096)))


def agree(found: Figures, given_rows: list[Row]) -> None:
    """Every figure is what a recount of these rows gives."""
    p, labels, w = columns(given_rows)
    wanted: dict[str, Any] = naive.figures(p, labels, w)
    wanted["auc"] = naive.auc([bin_of(q) for q in p], labels, w)
    for name, value in dataclasses.asdict(found).items():
        assert value == pytest.approx(wanted[name], rel=1e-9, abs=1e-12, nan_ok=True), name


@given(rows)
def test_figures_are_those_of_a_recount(given_rows: list[Row]) -> None:
    progressive = Progressive(window=1000)
    progressive.update(*columns(given_rows))
    agree(progressive.total, given_rows)
    agree(progressive.window, given_rows)


@given(rows, st.integers(1, 45))
def test_the_window_holds_the_last_parts(given_rows: list[Row], window: int) -> None:
    progressive = Progressive(window)
    progressive.update(*columns(given_rows))
    start = naive.window_start(len(given_rows), window)
    agree(progressive.total, given_rows)
    agree(progressive.window, given_rows[start:])
    if len(given_rows) >= window:
        held = progressive.window.events
        assert window - 2 * math.ceil(window / 10) < held <= window


def test_the_window_forgets_and_the_total_does_not() -> None:
    progressive = Progressive(window=1000)
    progressive.update(np.full(5000, 0.9), np.zeros(5000))
    assert progressive.window.calibration != progressive.window.calibration  # no clicks: NaN
    progressive.update(np.full(1000, 0.5), np.arange(1000) % 2)
    assert progressive.window.events == 1000
    assert progressive.window.log_loss == pytest.approx(math.log(2))
    assert progressive.window.calibration == pytest.approx(1)
    assert progressive.total.events == 6000
    assert progressive.total.log_loss == pytest.approx(
        (5000 * math.log(10) + 1000 * math.log(2)) / 6000
    )
    for events in range(1, 400):
        progressive.update([0.5], [1])
        assert 900 < progressive.window.events <= 1000, events


@given(rows, st.lists(st.integers(0, 80), max_size=5), st.integers(1, 40))
def test_no_split_into_batches_changes_a_bit(
    given_rows: list[Row], cuts: list[int], window: int
) -> None:
    p, labels, w = columns(given_rows)
    whole, parts = Progressive(window), Progressive(window)
    whole.update(p, labels, w)
    edges = [0, *sorted(min(cut, len(p)) for cut in cuts), len(p)]
    for a, b in pairwise(edges):
        parts.update(p[a:b], labels[a:b], w[a:b])
    one, other = whole.state(), parts.state()
    assert one[0] == other[0]
    assert all(one[1][name].tobytes() == other[1][name].tobytes() for name in one[1])


@given(rows, rows, st.integers(1, 40))
def test_restore_goes_on_as_if_never_interrupted(
    first: list[Row], second: list[Row], window: int
) -> None:
    uninterrupted, before = Progressive(window), Progressive(window)
    for given_rows in (first, second):
        uninterrupted.update(*columns(given_rows))
    before.update(*columns(first))
    meta, arrays = before.state()
    before.update(*columns(second))
    after = Progressive(window)
    after.update([0.3], [1])
    after.restore(meta, arrays)
    after.update(*columns(second))
    assert repr((after.total, after.window)) == repr((uninterrupted.total, uninterrupted.window))


def test_under_another_window_the_total_goes_on_and_the_window_starts_empty() -> None:
    progressive, other = Progressive(500), Progressive(60)
    progressive.update(np.full(700, 0.25), np.arange(700) % 4 == 0)
    other.restore(*progressive.state())
    assert other.total == progressive.total
    assert other.window.events == 0
    other.update(np.full(1000, 0.5), np.arange(1000) % 2)
    assert other.total.events == 1700
    assert 54 <= other.window.events <= 60
    assert other.window.base_rate == pytest.approx(0.5)


def test_auc_is_that_of_all_pairs_to_the_documented_resolution() -> None:
    random = np.random.default_rng(8)
    for spread, rate in ((1.0, -2.0), (0.3, -4.0), (3.0, 0.0)):
        logit = random.normal(rate, spread, 1500)
        labels = random.random(1500) < 1 / (1 + np.exp(-logit))
        p = (1 / (1 + np.exp(-logit))).astype(np.float32)
        progressive = Progressive(1000)
        progressive.update(p, labels)
        exact = naive.auc(p.tolist(), labels.tolist(), [1.0] * 1500)
        bins = np.array([bin_of(float(q)) for q in p])
        clicks, others = np.bincount(bins[labels]), np.bincount(bins[~labels])
        size = min(len(clicks), len(others))
        shared = (clicks[:size] * others[:size]).sum() / (clicks.sum() * others.sum())
        error = abs(progressive.total.auc - exact)
        assert error <= shared / 2
        assert error < 1e-3


def test_auc_of_a_perfect_and_of_a_perfectly_wrong_ranking() -> None:
    for p, wanted in (([0.9, 0.1], 1.0), ([0.1, 0.9], 0.0), ([0.4, 0.4], 0.5)):
        progressive = Progressive(10)
        progressive.update(p, [1, 0])
        assert progressive.total.auc == wanted


def test_figures_of_nothing_are_nan_and_no_error() -> None:
    progressive = Progressive(100)
    for figures in (progressive.total, progressive.window):
        assert figures.events == 0
        assert figures.predicted_clicks == figures.observed_clicks == 0
        rest = dataclasses.asdict(figures)
        for name in ("events", "predicted_clicks", "observed_clicks"):
            del rest[name]
        assert all(math.isnan(value) for value in rest.values())


def test_figures_without_one_of_the_classes() -> None:
    progressive = Progressive(100)
    progressive.update([0.25, 0.5], [0, 0])
    figures = progressive.total
    assert (figures.base_rate, figures.base_log_loss) == (0, 0)
    assert math.isnan(figures.normalized_entropy)
    assert math.isnan(figures.calibration)
    assert math.isnan(figures.auc)
    assert figures.log_loss == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


def test_the_worst_prediction_has_a_finite_loss() -> None:
    progressive = Progressive(100)
    progressive.update([0.0, 1.0], [1, 0])
    assert progressive.total.log_loss == pytest.approx(24 * math.log(2), rel=1e-6)
    assert progressive.total.auc == 0


def test_bad_arguments_are_named() -> None:
    for window in (0, -1, 2.5, True):
        with pytest.raises(SettingError, match=r"metrics\.window must be a whole number > 0; got"):
            Progressive(window)  # type: ignore[arg-type]
    progressive = Progressive(100)
    with pytest.raises(SettingError, match=r"must be the same; got \(2, 1, 0\)"):
        progressive.update([0.1, 0.2], [1])
    with pytest.raises(SettingError, match=r"got \(1, 1, 2\)"):
        progressive.update([0.1], [1], [1.0, 2.0])
    meta, arrays = progressive.state()
    coarse = {**arrays, "histograms": arrays["histograms"][:, :, ::2]}
    with pytest.raises(IncompatibleError, match="2048 bins, these have 4096"):
        progressive.restore(meta, coarse)
    assert kernels.BINS == 4096
