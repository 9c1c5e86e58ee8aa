"""Who sees which ad, where and when: the observable part of a block of events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctr.simulate.draws import EVENTS, bits, generator, mix, wheel, zipf
from ctr.simulate.settings import SimulatorSettings
from ctr.types import Float64, Int64, UInt64

BLOCK = 4096
"""Events that are drawn together; how a stream is cut into batches does not depend on it."""

PAGES = 100_000
TAGS = 40
CATEGORIES = 16
COUNTRIES, CITIES = 20, 3
DEVICES, BROWSERS, PLACEMENTS, SEGMENTS = 3, 6, 4, 20
MOST_VISITS = 60

_LANES = 16
_SEGMENT = wheel([1 / (i + 3) for i in range(SEGMENTS)])
_COUNTRY = wheel([1 / (i + 2) for i in range(COUNTRIES)])
_DEVICE = wheel([6, 3, 1])
_BROWSER = wheel([50, 20, 12, 8, 6, 4])
_PLACEMENT = wheel([4, 3, 2, 1])
_TAG = wheel([1 / (i + 3) for i in range(TAGS)])
_TAGS = [np.concatenate((_TAG, np.full(none, TAGS))) for none in (256, 1024, 2048)]
# the low bits of a hash choose a Kafka partition: reversed, they spread the partitions in time
_LAG = np.array([int(f"{lane:04b}"[::-1], 2) for lane in range(_LANES)]) / (_LANES - 1)


@dataclass(slots=True)
class Ads:
    """The ads running now, by slot (popularity rank): their numbers and campaigns (int64)."""

    numbers: Int64
    campaigns: Int64


@dataclass(slots=True)
class Impressions:
    """Columns of consecutive events: int64 unless said otherwise, one element an event."""

    index: Int64
    """Number of the event in the stream."""
    ts: Int64
    """When the impression was, milliseconds; the event is sent later."""
    key: UInt64
    """Hash of the user: the Kafka record's key."""
    label_draw: Float64
    """Uniform in [0, 1): a click where it is below the true probability."""
    weight_draw: Float64
    user: Int64
    segment: Int64
    country: Int64
    city: Int64
    device: Int64
    browser: Int64
    """Some are ``BROWSERS``: unknown, sent as null."""
    session: Int64
    visits: Int64
    site: Int64
    page: Int64
    placement: Int64
    dwell: Int64
    """Hundredths of a second since the last event of the session; log-normal."""
    slot: Int64
    ad: Int64
    campaign: Int64
    category: Int64
    price: Int64
    """Cents; log-normal around the ad's own."""
    video: Int64
    """0, 1, or 2 where the field is absent."""
    tags: Int64
    """Shape (3, events); ``TAGS`` is no tag, the first of an event come first."""
    new: Int64


def draw(settings: SimulatorSettings, block: int, ads: Ads) -> Impressions:
    """The impressions of a block, from nothing but the settings, its number and the ads running."""
    s = settings
    rng = generator(s.seed, EVENTS, block)
    u = rng.random((16, BLOCK))
    normal = rng.standard_normal((2, BLOCK))
    index = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.int64)
    user = zipf(u[0], s.users, 1.1, 50.0)
    key = mix(user, s.seed)
    traits = mix(user, s.seed + 1)
    device = _DEVICE[bits(traits, 20, 10)]
    slot = zipf(u[1], s.ads, 1.1, 5.0)
    ad, campaign = ads.numbers[slot], ads.campaigns[slot]
    country = _COUNTRY[bits(traits, 10, 10)]
    delay = -np.log1p(-u[2]) * s.label_delay_ms + _LAG[bits(key, 0, 4)] * s.disorder_ms
    ts = s.start_ts_ms + (index * (1000 / s.events_per_second) - delay).astype(np.int64)
    return Impressions(
        index=index,
        ts=ts,
        key=key,
        label_draw=u[3],
        weight_draw=u[4],
        user=user,
        segment=_SEGMENT[bits(traits, 0, 10)],
        country=country,
        city=country * CITIES + bits(traits, 30, 4) % CITIES,
        device=device,
        browser=np.where(u[5] < 0.05, BROWSERS, _BROWSER[bits(traits, 34, 10)]),
        # one session a user and hour: nearly all are seen once, as 10 digits that mean nothing
        session=1_000_000_000 + bits(mix(key + (ts // 3_600_000).astype(np.uint64), 3), 11, 33),
        visits=np.minimum(((1 - u[6]) ** -0.7).astype(np.int64), MOST_VISITS),
        site=zipf(u[7], s.sites, 1.1, 3.0),
        page=zipf(u[8], PAGES, 1.2, 1.0),
        placement=_PLACEMENT[_place(u[9])],
        dwell=np.exp(7.5 + 1.2 * normal[0]).astype(np.int64),
        slot=slot,
        ad=ad,
        campaign=campaign,
        category=campaign % CATEGORIES,
        price=np.exp(6.5 + bits(mix(ad, s.seed + 2), 0, 10) / 512 + 0.7 * normal[1]).astype(
            np.int64
        ),
        video=np.where(u[10] < 0.1, 2, u[11] < 0.4).astype(np.int64),
        tags=_tags(u[12:15]),
        new=(u[15] < 0.3).astype(np.int64),
    )


def _place(uniform: Float64) -> Int64:
    return (uniform * 1024).astype(np.int64)


def _tags(uniform: Float64) -> Int64:
    """None to three different tags an event; the places left over are ``TAGS``."""
    first, second, third = (
        choices[(u * len(choices)).astype(np.int64)]
        for choices, u in zip(_TAGS, uniform, strict=True)
    )
    second[(second == first) | (first == TAGS)] = TAGS
    third[(third == first) | (third == second) | (second == TAGS)] = TAGS
    return np.stack((first, second, third))
