"""The hidden true model: sparse logistic weights with crosses, which drift, and ads that change."""

from __future__ import annotations

import numpy as np

from ctr.simulate.draws import AD, START, WALK, generator
from ctr.simulate.impressions import (
    BLOCK,
    BROWSERS,
    CATEGORIES,
    COUNTRIES,
    DEVICES,
    PLACEMENTS,
    SEGMENTS,
    TAGS,
    Ads,
    Impressions,
    draw,
)
from ctr.simulate.settings import SimulatorSettings
from ctr.types import Float64, Int64

CROSSES = [["segment", "ad"], ["site", "category"]]
"""The pairs of fields that have effects of their own in the true model."""

# Only values that are common enough to be learned have an effect of their own (rank below these);
# what there is to know about the others is in their segment, campaign or category.
KNOWN_USERS, KNOWN_SITES, KNOWN_ADS = 2_000, 300, 1_000

_EFFECTS = {
    # field or cross: values of the first and second field; standard deviation of a weight that is
    # not zero, and the share of those
    "user": (KNOWN_USERS, 1, 0.6, 0.5),
    "segment": (SEGMENTS, 1, 0.5, 1.0),
    "country": (COUNTRIES, 1, 0.35, 0.7),
    "device": (DEVICES, 1, 0.4, 1.0),
    "browser": (BROWSERS, 1, 0.3, 0.7),
    "site": (KNOWN_SITES, 1, 0.6, 0.6),
    "placement": (PLACEMENTS, 1, 0.5, 1.0),
    "ad": (KNOWN_ADS, 1, 0.6, 0.6),
    "category": (CATEGORIES, 1, 0.6, 1.0),
    "tags": (TAGS, 1, 0.4, 0.5),
    "video": (2, 1, 0.3, 1.0),
    "new": (2, 1, 0.3, 1.0),
    "ad*segment": (KNOWN_ADS, SEGMENTS, 0.8, 0.4),
    "site*category": (KNOWN_SITES, CATEGORIES, 0.8, 0.4),
}


class Truth:
    """The true model as of one block of events; ``at`` moves it there.

    The weights of all effects lie in one float64 vector, each effect's after the other's. The
    last value of a first field stands for all that have no effect: its weights are 0.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self._first: dict[str, int] = {}
        size = 0
        for name, (values, inner, _, _) in _EFFECTS.items():
            self._first[name], size = size, size + (values + 1) * inner
        self._scales = np.zeros(size)
        self._restart()
        self.intercept = self._intercept()

    def at(self, block: int) -> None:
        """Become the truth of ``block``: forward by steps, backward from the start."""
        if block < self.block:
            self._restart()
        while self.block < block:
            self.block += 1
            self._walk()
            self._bring_new_ads()

    def probability(self, impressions: Impressions) -> Float64:
        """The true probability of a click, float64 of one element an event."""
        return np.clip(_sigmoid(self.intercept + self._logit(impressions)), 1e-9, 1 - 1e-9)

    def _restart(self) -> None:
        rng = generator(self.settings.seed, START, 0)
        for name, (values, inner, deviation, share) in _EFFECTS.items():
            chosen = rng.random(values * inner) < share
            self._scales[self._first[name] :][: len(chosen)] = deviation * chosen
        self.weights = self._scales * rng.standard_normal(len(self._scales))
        count = self.settings.ads
        self._campaigns = max(4, min(count // 8, 200))
        self.ads = Ads(np.arange(count), rng.integers(0, self._campaigns, count))
        self.block = 0

    def _intercept(self) -> float:
        """By bisection: the mean probability over a day is the base rate."""
        day = draw(self.settings, 0, self.ads)
        day.ts = np.linspace(0, 86_400_000, BLOCK, endpoint=False).astype(np.int64)
        logit = self._logit(day)
        low, high = -50.0, 50.0
        for _ in range(60):
            middle = (low + high) / 2
            if _sigmoid(middle + logit).mean() < self.settings.base_rate:
                low = middle
            else:
                high = middle
        return middle

    def _logit(self, rows: Impressions) -> Float64:
        w, first = self.weights, self._first
        site = np.minimum(rows.site, KNOWN_SITES)
        slot = np.minimum(rows.slot, KNOWN_ADS)
        logit = _of_hour(rows.ts) + _of_price(rows.price) + _of_dwell(rows.dwell)
        logit += _of_visits(rows.visits)
        for name, value in (
            ("user", np.minimum(rows.user, KNOWN_USERS)),
            ("segment", rows.segment),
            ("country", rows.country),
            ("device", rows.device),
            ("browser", rows.browser),
            ("site", site),
            ("placement", rows.placement),
            ("ad", slot),
            ("category", rows.category),
            ("tags", rows.tags[0]),
            ("tags", rows.tags[1]),
            ("tags", rows.tags[2]),
            ("video", rows.video),
            ("new", rows.new),
            ("ad*segment", slot * SEGMENTS + rows.segment),
            ("site*category", site * CATEGORIES + rows.category),
        ):
            logit += w[first[name] + value]
        return logit

    def _walk(self) -> None:
        """One step of a first-order autoregression, so that the effects keep their size."""
        if self.settings.drift:
            rng = generator(self.settings.seed, WALK, self.block)
            keep = np.exp(-0.5 * self.settings.drift**2 * BLOCK / 1e6)
            step = np.sqrt(1 - keep**2) * rng.standard_normal(len(self.weights))
            self.weights = keep * self.weights + step * self._scales

    def _bring_new_ads(self) -> None:
        every = self.settings.new_ads_every
        if not every:
            return
        for number in range((self.block - 1) * BLOCK // every, self.block * BLOCK // every):
            rng = generator(self.settings.seed, AD, number)
            slot = int(rng.integers(0, self.settings.ads))
            self.ads.numbers[slot] = self.settings.ads + number
            self.ads.campaigns[slot] = rng.integers(0, self._campaigns)
            if slot < KNOWN_ADS:
                self._redraw("ad", slot, 1, rng)
                self._redraw("ad*segment", slot * SEGMENTS, SEGMENTS, rng)

    def _redraw(self, name: str, first: int, count: int, rng: np.random.Generator) -> None:
        _, _, deviation, share = _EFFECTS[name]
        places = slice(self._first[name] + first, self._first[name] + first + count)
        self._scales[places] = deviation * (rng.random(count) < share)
        self.weights[places] = self._scales[places] * rng.standard_normal(count)


def _sigmoid(logit: Float64) -> Float64:
    p: Float64 = 1 / (1 + np.exp(-logit))
    return p


def _of_hour(ts: Int64) -> Float64:
    hour = (ts // 3_600_000) % 24
    effect: Float64 = 0.35 * np.cos(2 * np.pi * (hour - 20) / 24)
    return effect


def _of_price(cents: Int64) -> Float64:
    """Cheap things are clicked more: a straight line in the logarithm."""
    effect: Float64 = -0.35 * (np.log2(cents + 1.0) - 10.8)
    return effect


def _of_dwell(hundredths: Int64) -> Float64:
    """Rises from quick to slow readers and levels off."""
    effect: Float64 = 0.5 * np.tanh(0.5 * (np.log2(hundredths + 1.0) - 10.8))
    return effect


def _of_visits(visits: Int64) -> Float64:
    """Falls with each repetition, and no more after the eighth."""
    effect: Float64 = -0.12 * np.minimum(visits, 8)
    return effect
