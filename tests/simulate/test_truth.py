"""The hidden model, and the figures that follow from it."""

from __future__ import annotations

import json
import tomllib
from math import cos, exp, log, log2, pi, tanh

import numpy as np
import pytest

from ctr.config import convert
from ctr.settings import Features
from ctr.simulate import Simulator, SimulatorSettings, words
from ctr.simulate.impressions import BLOCK, CATEGORIES, SEGMENTS, TAGS
from ctr.simulate.truth import KNOWN_ADS, KNOWN_SITES, KNOWN_USERS, Truth


def words_of(text):
    return [json.loads(f'"{word}"') for word in text.split()]


class PlainTruth:
    """The true probability of an event, from its JSON: docs/simulator.md in plain Python."""

    def __init__(self, truth):
        self.weights, self.first, self.intercept = truth.weights, truth._first, truth.intercept
        self.countries, _ = words.places()

    def weight(self, effect, value):
        return self.weights[self.first[effect] + value]

    def probability(self, event):
        f = event["features"]
        number = {name: int(f[name][1:]) for name in ("user", "segment", "ad", "campaign")}
        site = int(f["site"].removeprefix("site").removesuffix(".example"))
        category = words_of(words.CATEGORIES).index(f["category"])
        hour = event["ts"] // 3_600_000 % 24
        logit = self.intercept + 0.35 * cos(2 * pi * (hour - 20) / 24)
        logit -= 0.35 * (log2(100 * f["price"] + 1) - 10.8)
        logit += 0.5 * tanh((log2(100 * f["dwell"] + 1) - 10.8) / 2)
        logit -= 0.12 * min(f["visits"], 8)
        if number["user"] < KNOWN_USERS:
            logit += self.weight("user", number["user"])
        logit += self.weight("segment", number["segment"])
        logit += self.weight("country", self.countries.index(f["country"]))
        logit += self.weight("device", words_of(words.DEVICES).index(f["device"]))
        if f["browser"] is not None:
            logit += self.weight("browser", words_of(words.BROWSERS).index(f["browser"]))
        logit += self.weight("placement", words_of(words.PLACEMENTS).index(f["placement"]))
        logit += self.weight("category", category)
        logit += sum(self.weight("tags", words_of(words.TAGS).index(tag)) for tag in f["tags"])
        if "video" in f:
            logit += self.weight("video", int(f["video"]))
        logit += self.weight("new", int(f["new"]))
        if site < KNOWN_SITES:
            logit += self.weight("site", site)
            logit += self.weight("site*category", site * CATEGORIES + category)
        if number["ad"] < KNOWN_ADS:  # no ad was replaced yet: an ad's number is its rank
            logit += self.weight("ad", number["ad"])
            logit += self.weight("ad*segment", number["ad"] * SEGMENTS + number["segment"])
        return 1 / (1 + exp(-logit))


@pytest.mark.parametrize("ads", [20, 1_000, 5_000])
def test_probabilities_are_a_function_of_what_the_events_say(ads):
    chosen = SimulatorSettings(seed=5, ads=ads)
    events = Simulator(chosen).batch(600)
    plain = PlainTruth(Truth(chosen))
    expected = [plain.probability(json.loads(line)) for line in events.lines]
    np.testing.assert_allclose(events.p, expected, rtol=1e-9)


def test_tables_of_words_are_as_long_as_the_draws_want():
    assert len(words.CATEGORIES.split()) == CATEGORIES
    assert len(words.TAGS.split()) == len(set(words.TAGS.split())) == TAGS
    countries, objects = words.places()
    assert len(set(countries)) == 20
    assert len(set(objects)) == 60


def test_labels_are_drawn_with_the_true_probability():
    events = Simulator(SimulatorSettings(seed=2)).batch(120_000)
    order = np.argsort(events.p)
    for rows in np.array_split(order, 12):
        p = events.p[rows]
        deviation = np.sqrt((p * (1 - p)).sum())
        assert abs(events.labels[rows].sum() - p.sum()) < 4.5 * deviation


@pytest.mark.parametrize("base_rate", [0.01, 0.1, 0.5])
def test_base_rate_is_that_of_a_whole_day(base_rate):
    pace = 10 * BLOCK / 86_400
    chosen = SimulatorSettings(
        base_rate=base_rate, drift=0, new_ads_every=0, events_per_second=pace
    )
    p = Simulator(chosen).batch(10 * BLOCK).p
    assert p.mean() == pytest.approx(base_rate, rel=0.1)


def test_hour_of_day_has_an_effect():
    start = 1_700_006_400_000  # midnight, UTC
    at = [
        Simulator(SimulatorSettings(start_ts_ms=start + hour * 3_600_000)).batch(4000).p.mean()
        for hour in (9, 21)
    ]
    assert at[1] > 1.2 * at[0]


def distance(drift, blocks):
    chosen = SimulatorSettings(drift=drift, new_ads_every=0)
    truth = Truth(chosen)
    before = truth.weights.copy()
    truth.at(blocks)
    return np.sqrt(((truth.weights - before) ** 2).sum() / (before**2).sum())


def test_drift_walks_by_its_strength_in_a_million_events():
    assert distance(0.0, 50) == 0
    quarter = round(250_000 / BLOCK)
    assert distance(0.4, quarter) == pytest.approx(0.4 * np.sqrt(0.25), rel=0.1)
    assert distance(0.2, 4 * quarter) == pytest.approx(0.2, rel=0.1)


def test_drift_changes_p_and_leaves_the_spread():
    chosen = SimulatorSettings(drift=3.0)
    truth = Truth(chosen)
    spread = truth.weights.std()
    steady, walking = (
        Simulator(SimulatorSettings(drift=drift, new_ads_every=0)) for drift in (0.0, 3.0)
    )
    np.testing.assert_array_equal(steady.batch(BLOCK).p, walking.batch(BLOCK).p)
    for simulator in (steady, walking):
        simulator.seek(200 * BLOCK)
    assert np.corrcoef(np.log(steady.batch(BLOCK).p), np.log(walking.batch(BLOCK).p))[0, 1] < 0.9
    truth.at(400)
    assert truth.weights.std() == pytest.approx(spread, rel=0.1)


def test_figures_are_those_of_a_recount():
    simulator = Simulator(SimulatorSettings(bad_share=0.1, bad_kinds=("no_label", "truncated")))
    parts = [simulator.batch(n) for n in (3000, 5000)]
    figures = simulator.figures()
    window = simulator.batch(2500)
    later = simulator.figures()
    for got, events in (
        (figures, parts),
        (figures["window"], parts),
        (later, [*parts, window]),
        (later["window"], [window]),
    ):
        pairs = [
            (float(p), int(label))
            for part in events
            for p, label in zip(part.p, part.labels, strict=True)
            if label >= 0
        ]
        count = len(pairs)
        rate = sum(label for _, label in pairs) / count
        assert got["events"] == count
        assert got["bad"] == sum(len(part) for part in events) - count
        assert got["base_rate"] == pytest.approx(rate)
        assert got["base_log_loss"] == pytest.approx(
            -sum(log(rate if label else 1 - rate) for _, label in pairs) / count
        )
        assert got["best_log_loss"] == pytest.approx(
            -sum(p * log(p) + (1 - p) * log(1 - p) for p, _ in pairs) / count
        )
        assert got["realized_log_loss"] == pytest.approx(
            -sum(log(p if label else 1 - p) for p, label in pairs) / count
        )
    assert later["position"] == 10_500
    json.dumps(later)


def test_figures_before_the_first_event_are_unknown_not_wrong():
    figures = Simulator().figures()
    assert figures["events"] == 0
    assert figures["best_log_loss"] is None
    json.dumps(figures, allow_nan=False)


def test_there_is_much_to_learn():
    simulator = Simulator()
    simulator.batch(50_000)
    totals = simulator.totals
    assert totals.best_log_loss < 0.85 * totals.base_log_loss
    assert totals.realized_log_loss == pytest.approx(totals.best_log_loss, rel=0.03)


def test_recommended_features_are_settings():
    tree = tomllib.loads(Simulator().spec_toml())
    features = convert(tree["features"], Features, "features")
    assert features.crosses == Simulator.true_crosses
    assert features.time_features == ["hour"]
