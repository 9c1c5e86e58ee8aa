"""The gate before publishing, against a slow twin that keeps every event."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr import settings as ctr_settings
from ctr.train.gate import Gate


def make(**overrides):
    return Gate(ctr_settings.Gate(**{"window": 40, "grace": 0, **overrides}))


# ---- the twin: design §6 in plain Python, from the start of the stream each time


def middle_seconds(times, window):
    """Span of the times but for a twentieth of a window's at each end; 1,024 are looked at."""
    every = math.ceil(window / 1024)
    cut = len(range(0, window, every)) // 20
    middle = sorted(times[::every])[cut:][: max(0, math.ceil(len(times) / every) - 2 * cut)]
    return (middle[-1] - middle[0]) / 1000 if middle else 0


def violated(events, last_seconds, bounds):
    """The names of the bounds that one full window of (p, label, weight, time) breaks."""
    weight = math.fsum(w for _, _, w, _ in events)
    clicks = math.fsum(w * y for _, y, w, _ in events)
    predicted = math.fsum(w * p for p, _, w, _ in events)
    loss = math.fsum(-w * math.log(max(p if y else 1 - p, 2**-25)) for p, y, w, _ in events)
    rate = clicks / weight
    broken = []
    if clicks == 0 or not bounds.min_calibration <= predicted / clicks <= bounds.max_calibration:
        broken.append("calibration")
    entropy = -sum(x * math.log(x) for x in (rate, 1 - rate) if x > 0)
    if entropy == 0 or not loss / weight / entropy < bounds.max_normalized_entropy:
        broken.append("normalized_entropy")
    if too_long(events, last_seconds, bounds):
        broken.append("event_rate")
    return broken


def too_long(events, last_seconds, bounds):
    if last_seconds is None:
        return False
    seconds = middle_seconds([t for *_, t in events], bounds.window)
    return seconds > bounds.max_rate_drop * max(last_seconds, 1.0)


def judge(stream, bounds):
    """After each event: (open, the bounds broken at the last look)."""
    stream = list(stream)
    checks = {math.ceil(eighth * bounds.window / 8) for eighth in range(1, 9)}
    is_open, broken, good, last_seconds = True, [], 0, None
    verdicts = []
    for n in range(1, len(stream) + 1):
        seen = n - bounds.grace
        within = (seen - 1) % bounds.window + 1
        if seen > 0 and within in checks:
            window = stream[n - within : n]
            full = within == bounds.window
            if full:
                broken = violated(window, last_seconds, bounds)
                last_seconds = middle_seconds([t for *_, t in window], bounds.window)
            if not full and too_long(window, last_seconds, bounds):
                broken, full = ["event_rate"], True
            if full:
                good = 0 if broken else good + 1
                is_open = not broken and (is_open or good >= bounds.reopen_after)
        verdicts.append((is_open, tuple(broken)))
    return verdicts


# ---- streams


def events(seed, count, rate=0.5, tilt=1.0, step=100, noise=0.0, start=1_700_000_000_000):
    """Events whose model predicts ``tilt`` times the truth, ``step`` ms apart."""
    draw = np.random.default_rng(seed)
    truth = draw.choice([0.1, 0.9], count) * rate * 2
    labels = (draw.random(count) < truth).astype(np.float32)
    p = np.clip(truth * tilt, 0.001, 0.999).astype(np.float32)
    weights = draw.choice(np.float32([0.5, 1.0, 2.0]), count)
    times = start + np.arange(count) * step + (draw.normal(0, 1, count) * noise).astype(np.int64)
    return p, labels, weights, times.astype(np.int64)


def joined(*pieces):
    return tuple(np.concatenate(columns) for columns in zip(*pieces, strict=True))


SEGMENT = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(1, 130),
    st.sampled_from([0.5, 0.3, 0.0, 1.0]),
    st.sampled_from([1.0, 1.0, 0.5, 1.6]),
    st.sampled_from([100, 100, 50_000]),
    st.sampled_from([0.0, 2000.0]),
)


def stream_of(segments):
    pieces, start = [], 1_700_000_000_000
    for segment in segments:
        piece = events(*segment, start=start)
        pieces.append(piece)
        start = int(piece[3].max())
    return joined(*pieces)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SEGMENT, min_size=1, max_size=6),
    st.lists(st.integers(0, 90), max_size=12),
    st.sampled_from([40, 17, 100]),
    st.sampled_from([0, 5, 200]),
    st.sampled_from([1, 2, 3]),
)
def test_against_the_twin_however_it_is_split(segments, sizes, window, grace, reopen_after):
    stream = stream_of(segments)
    gate = make(window=window, grace=grace, reopen_after=reopen_after)
    rows = zip(*(column.tolist() for column in stream), strict=True)
    verdicts = judge(rows, gate.settings)
    start = 0
    for size in [*sizes, len(stream[0])]:
        gate.observe(*(column[start : start + size] for column in stream))
        start = min(start + size, len(stream[0]))
        expected = verdicts[start - 1] if start else (True, ())
        assert (gate.open, gate.violated) == expected
        assert bool(gate.reason) == (not gate.open)
        assert gate.events == start


@settings(max_examples=40, deadline=None)
@given(
    st.lists(SEGMENT, min_size=1, max_size=5),
    st.lists(st.integers(0, 90), max_size=9),
    st.sampled_from([33, 2500]),
)
def test_any_split_and_any_restart_give_the_same_bits(segments, sizes, window):
    stream = stream_of(segments)
    whole = make(window=window, grace=10)
    whole.observe(*stream)
    pieces = make(window=window, grace=10)
    start = 0
    for size in [*sizes, len(stream[0])]:
        pieces.observe(*(column[start : start + size] for column in stream))
        start += size
        meta, arrays = pieces.state()
        pieces = make(window=window, grace=10)
        pieces.restore(json.loads(json.dumps(meta, allow_nan=False)), arrays)
    assert pieces.reason == whole.reason
    meta, arrays = whole.state()
    assert pieces.state()[0] == meta
    for name, array in arrays.items():
        assert pieces.state()[1][name].tobytes() == array.tobytes()


def test_a_long_window_keeps_a_sample_of_times():
    gate = make(window=5000)
    stream = joined(events(1, 5000), events(2, 5000, step=30_000, start=1_700_001_000_000))
    verdicts = judge(zip(*(c.tolist() for c in stream), strict=True), gate.settings)
    closed_at = next(n for n, (is_open, _) in enumerate(verdicts, 1) if not is_open)
    gate.observe(*(column[: closed_at - 1] for column in stream))
    assert gate.open
    gate.observe(*(column[closed_at - 1 :] for column in stream))
    assert not gate.open
    assert 5000 < closed_at < 10_000


# ---- what it says


def test_a_good_stream_is_let_through():
    gate = make(window=1000)
    gate.observe(*events(1, 5500))
    assert (gate.open, gate.reason, gate.violated) == (True, "", ())
    assert gate.last.events == 1000
    assert 0.8 < gate.last.calibration < 1.25
    assert 0.3 < gate.last.normalized_entropy < 0.7
    assert gate.last.seconds == pytest.approx(90, abs=1)


def test_calibration_closes_it_and_two_good_windows_open_it():
    gate = make(window=1000)
    gate.observe(*events(1, 1000))
    gate.observe(*events(2, 999, tilt=1.5, rate=0.3))
    assert gate.open
    gate.observe(*events(3, 1, tilt=1.5, rate=0.3))
    assert not gate.open
    assert gate.violated == ("calibration",)
    calibration = gate.last.calibration
    assert gate.reason == f"calibration {calibration:.4g} is outside [0.8, 1.25] over 1,000 events"
    reason = gate.reason
    gate.observe(*events(4, 1000))
    assert not gate.open
    assert gate.reason == f"{reason}; good windows since: 1 of 2"
    gate.observe(*events(5, 1000))
    assert (gate.open, gate.reason) == (True, "")


def test_a_bad_window_between_starts_the_count_again():
    gate = make(window=1000)
    for seed, tilt in enumerate([1.5, 1.0, 1.5, 1.0]):
        gate.observe(*events(seed, 1000, tilt=tilt, rate=0.3))
        assert not gate.open
    gate.observe(*events(9, 1000, rate=0.3))
    assert gate.open


def test_predictions_that_are_no_better_than_the_base_rate():
    gate = make(window=1000)
    p, labels, weights, times = events(1, 1000)
    base = float((weights * labels).sum() / weights.sum())
    draw = np.random.default_rng(2)
    gate.observe(np.float32(base + draw.choice([-0.2, 0.2], 1000)), labels, weights, times)
    assert gate.violated == ("normalized_entropy",)
    entropy = gate.last.normalized_entropy
    assert gate.reason == f"normalized entropy {entropy:.4g} is not below 1.0 over 1,000 events"
    assert p.shape == labels.shape


def test_a_stream_without_clicks():
    gate = make(window=1000)
    gate.observe(*events(1, 1000, rate=0.0))
    assert gate.reason.startswith("calibration inf (there is no click) is outside [0.8, 1.25]; ")
    assert gate.violated == ("calibration", "normalized_entropy")


def test_a_rate_that_collapses_is_seen_before_the_window_is_full():
    gate = make(window=1000)
    gate.observe(*events(1, 2000, step=10))  # 100 a second, 10 seconds a window
    gate.observe(*events(2, 300, step=2000, start=1_700_000_100_000))
    assert not gate.open
    assert gate.violated == ("event_rate",)
    assert gate.reason == (
        "event rate fell more than 20-fold, from 111 to 0.839 a second, over 250 events"
    )


def test_a_rate_that_falls_less_is_let_through():
    gate = make(window=1000)
    gate.observe(*events(1, 2000, step=10))
    gate.observe(*events(2, 4000, step=150, start=1_700_000_100_000))
    assert gate.open


@pytest.mark.parametrize("wrong", [0, 1_700_000_000, 2**62, -(2**62)])
def test_a_few_wrong_clocks_do_not_matter(wrong):
    gate = make(window=1000)
    for seed in range(5):
        p, labels, weights, times = events(seed, 1000, start=1_700_000_000_000 + seed * 100_000)
        times[seed * 7 : seed * 7 + 30] = wrong
        gate.observe(p, labels, weights, times)
        assert gate.open


def test_bulk_loads_whose_times_stand_still():
    gate = make(window=1000)
    for seed, step in enumerate([0, 0, 1, 10, 0]):
        gate.observe(*events(seed, 1000, step=step))
        assert gate.open


def test_the_grace_is_not_judged():
    gate = make(window=1000, grace=1500)
    gate.observe(*events(1, 1500, tilt=0.1))
    gate.observe(*events(2, 1000))
    assert gate.open
    assert gate.last.calibration > 0.8


def test_disabled_it_is_open_and_says_what_it_sees():
    gate = make(window=1000, enabled=False)
    gate.observe(*events(1, 1000, tilt=0.5))
    assert gate.open
    assert gate.violated == ("calibration",)
    assert gate.reason.startswith(
        "disabled (gate.enabled = false); it would be closed: calibration"
    )
    meta, arrays = gate.state()
    enabled = make(window=1000)
    enabled.restore(meta, arrays)
    assert not enabled.open


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_model_of_numbers_that_are_none(broken):
    gate = make(window=1000)
    p, labels, weights, times = events(1, 1000)
    p[500] = broken
    gate.observe(p, labels, weights, times)
    assert not gate.open
    assert "calibration" in gate.violated


def test_certain_and_wrong_is_finite():
    gate = make(window=100)
    labels = np.tile(np.float32([0, 1]), 50)
    gate.observe(1 - labels, labels, None, np.arange(100))
    assert gate.last.log_loss == pytest.approx(25 * math.log(2))


def test_no_weights_are_weights_of_one():
    p, labels, weights, times = events(1, 1000)
    with_ones, without = make(), make()
    with_ones.observe(p, labels, np.ones_like(weights), times)
    without.observe(p, labels, None, times)
    assert with_ones.last == without.last


def test_nothing_it_is_given_is_changed():
    stream = events(1, 1000)
    before = [column.copy() for column in stream]
    for column in stream:
        column.setflags(write=False)
    gate = make()
    gate.observe(*stream)
    gate.observe(*(column[:0] for column in stream))
    assert all((a == b).all() for a, b in zip(stream, before, strict=True))


def test_another_window_at_a_restart_starts_a_window_and_keeps_the_verdict():
    gate = make(window=1000)
    gate.observe(*events(1, 1500, tilt=0.5, step=10))
    other = make(window=100)
    other.restore(*gate.state())
    assert not other.open
    other.observe(*events(2, 100, step=20, rate=0.5))  # a tenth of the events, twice as slow
    assert "event_rate" not in other.violated
    assert other.last.events == 100
    assert other.events == 1600


def test_the_kernel_gives_the_same_without_the_jit():
    program = (
        "import numpy as np, sys; from ctr.kernels.gate import add_events;"
        "draw = np.random.default_rng(3); sums = np.zeros(4);"
        "p = draw.random(50).astype('f4'); p[:2] = 0, 1;"
        "y = (draw.random(50) < p).astype('f4'); y[:2] = 1, 0;"
        "add_events(p, y, np.ones(50, 'f4'), 0, 50, sums); print(sums.tolist())"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"NUMBA_DISABLE_JIT": flag},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for flag in ("0", "1")
    ]
    compiled, plain = (json.loads(output) for output in outputs)
    assert compiled == pytest.approx(plain, rel=1e-6)
    assert compiled[3] > 30  # the two that were certain and wrong
