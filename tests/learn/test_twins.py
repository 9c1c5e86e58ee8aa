"""Every learner against its twin written from the paper, and against its objective."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ctr.learn import LEARNERS
from tests import naive_learners
from tests.learn.streams import (
    FUNCTIONS_OF_T,
    SCHEDULES,
    batch,
    events,
    long_stream,
    settings,
)
from tests.learn.variants import VARIANTS, dense, learner_and_twin, near
from tests.naive import Event
from tests.naive_learners import Update, least

KEYS = st.integers(0, 40)
FREE = (0, 5)

OBJECTIVES = {
    "ftrl": naive_learners.ftrl_objective,
    "rda": naive_learners.rda_objective,
}

LONG: list[tuple[str, naive_learners.Schedule]] = [
    ("constant", ("constant",)),
    ("power(r=3e4,c=0.5)", ("power", 30_000, 0.5)),
    ("exponential(r=2e5)", ("exponential", 200_000)),
    ("piecewise(2e4:0.5,7e4:0.2)", ("piecewise", (20_000, 0.5), (70_000, 0.2))),
    ("performance(window=2500,factor=0.7)", ("performance", 2500, 0.7)),
]
"""Schedules that matter over a long stream."""


@pytest.mark.parametrize(
    ("variant", "schedule", "twin_schedule"),
    [
        (variant, *LONG[(first + first // 5 + i) % len(LONG)])
        for first, variant in enumerate(VARIANTS)
        for i in range(2 if variant in ("ftrl", "ogd, momentum") else 1)
    ],
)
def test_after_100_000_events_every_weight_is_the_twin_s(
    variant: str, schedule: str, twin_schedule: naive_learners.Schedule
) -> None:
    whole, rows = long_stream(100_000)
    name, own = VARIANTS[variant]
    given_settings = {
        "alpha": 0.01 if "momentum" in own else 0.05 if "rates" in own else 0.1,
        "l1": {"ftrl": 1.0, "rda": 1.0, "fobos": 0.01}.get(name, 0.01),
        "l2": 0.05,
        "unpenalised": [0],
    }
    learner, twin = learner_and_twin(variant, 13, schedule, twin_schedule, **given_settings)
    p = learner.learn(whole)
    assert near(p, [twin.learn(row) for row in rows])
    weights = [twin.weight(c) for c in range(2**13)]
    assert near(dense(learner), weights)
    assert np.array_equal(dense(learner) != 0, np.array(weights) != 0)
    assert learner.learning_rate == pytest.approx(twin.learning_rate(), rel=1e-9)
    assert learner.learning_rate == learner.alpha or schedule != "constant"
    assert learner.nonzero > 300
    assert p[50_000:].std() > 0.05


@pytest.mark.parametrize("variant", VARIANTS)
@hypothesis_settings(max_examples=60)
@given(data=st.data())
def test_it_is_its_twin_at_every_event(variant: str, data: st.DataObject) -> None:
    rows = data.draw(events(KEYS))
    given_settings = data.draw(settings()) | {"unpenalised": FREE}
    if variant.startswith("ogd-count"):
        given_settings["min_count"] = data.draw(st.integers(0, 4))
    schedule = data.draw(st.sampled_from(sorted(SCHEDULES)))
    bits = data.draw(st.sampled_from([3, 8]))
    learner, twin = learner_and_twin(variant, bits, schedule, SCHEDULES[schedule], **given_settings)
    p = learner.learn(batch(rows))
    wanted = [twin.learn(row) for row in rows]
    assume(decided(twin))
    assert near(p, wanted)
    assert near(dense(learner), [twin.weight(c) for c in range(2**bits)])
    assert learner.touched == len(twin.cells)
    assert learner.learning_rate == pytest.approx(twin.learning_rate())


def decided(twin: naive_learners.Learner) -> bool:
    """Whether nothing in the twin's past would have gone another way by a rounding."""
    margins = [getattr(twin, "closest", 1.0)]
    if twin.performance:
        margins.append(twin.performance.closest)
    return min(margins) > 1e-6


@pytest.mark.parametrize("state", ["default", "float64"])
@pytest.mark.parametrize("name", ["ftrl", "rda"])
@hypothesis_settings(max_examples=30)
@given(
    rows=events(st.integers(1, 6), most=12),
    given_settings=settings(),
    schedule=st.sampled_from(sorted(FUNCTIONS_OF_T)),
    rates=st.sampled_from(["per-coordinate", "global"]),
)
def test_each_weight_minimises_its_objective(
    name: str,
    state: str,
    rows: list[Event],
    given_settings: dict[str, float],
    schedule: str,
    rates: str,
) -> None:
    """Only the objective, the gradient and the rate are taken from the paper; no twin."""
    learner = LEARNERS[name](8, **given_settings, schedule=schedule, rates=rates, state=state)
    history: dict[int, list[Update]] = {c: [] for c in range(1, 7)}
    n, d = dict.fromkeys(history, 0.0), dict.fromkeys(history, 0.0)
    for t, row in enumerate(rows):
        row.features = list(dict(row.features).items())
        weights = dense(learner)
        p = float(learner.learn(batch([row]))[0])
        alpha = naive_learners.rate(FUNCTIONS_OF_T[schedule], given_settings["alpha"], t)
        for c, x in row.features:
            g = (p - row.label) * x * row.weight
            n[c] += g * g
            slowness = given_settings["beta"] + n[c] ** given_settings["power"]
            d[c] = max(d[c], (1.0 if rates == "global" else slowness) / alpha)
            history[c].append((g, float(weights[c]), d[c]))
    weights, objective = dense(learner), OBJECTIVES[name]
    l1, l2 = given_settings["l1"], given_settings["l2"]
    for c, updates in history.items():
        best = least(lambda w, u=updates: objective(w, u, l1, l2), -1000, 1000)
        assert near([weights[c]], [best if updates else 0.0])
