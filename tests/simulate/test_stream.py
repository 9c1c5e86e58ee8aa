"""The stream: the same however it is cut, and JSON as documented."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.simulate import FIELDS, Simulator, SimulatorSettings
from ctr.simulate.impressions import BLOCK

HOUR = 3_600_000
EVERYTHING = SimulatorSettings(
    seed=3,
    bad_share=0.05,
    max_event_bytes=4096,
    max_features=50,
    drift=2.0,
    new_ads_every=700,
    vanish_after=5000,
)


def features(events):
    return [json.loads(line)["features"] for line in events.lines]


def test_same_settings_are_the_same_bytes():
    first, second = (Simulator(EVERYTHING).batch(3 * BLOCK) for _ in range(2))
    assert first.data == second.data
    np.testing.assert_array_equal(first.p, second.p)
    assert Simulator(SimulatorSettings(seed=4)).batch(100).data != first.data[:100]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2 * BLOCK), min_size=1, max_size=5))
def test_no_cut_changes_the_stream(sizes):
    whole = Simulator(EVERYTHING).batch(sum(sizes))
    simulator = Simulator(EVERYTHING)
    parts = [simulator.batch(size) for size in sizes]
    assert [len(part) for part in parts] == sizes
    assert b"".join(part.data for part in parts) == whole.data
    assert [line for part in parts for line in part.lines] == whole.lines
    for name in ("p", "labels", "keys", "kinds"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_seek_goes_forward_and_back():
    whole = Simulator(EVERYTHING).batch(5 * BLOCK).lines
    simulator = Simulator(EVERYTHING)
    for position in (4 * BLOCK + 17, 3, BLOCK - 1, 2 * BLOCK):
        simulator.seek(position)
        assert simulator.batch(20).lines == whole[position : position + 20]
        assert simulator.position == position + 20
    with pytest.raises(SettingError, match="position must be >= 0; got -1"):
        simulator.seek(-1)


def test_goes_on_in_another_process():
    simulator = Simulator(EVERYTHING)
    simulator.batch(3000)
    simulator.figures()
    simulator.batch(3000)
    other = Simulator(EVERYTHING)
    other.restore(json.loads(json.dumps(simulator.state())))
    assert other.batch(3000).data == simulator.batch(3000).data
    assert other.figures() == simulator.figures()
    with pytest.raises(SettingError, match=r"simulate\.seed must be 3; got 1"):
        Simulator().restore(simulator.state())


def test_events_have_the_documented_form():
    events = Simulator(SimulatorSettings(new_ads_every=500)).batch(5000)
    parsed = [json.loads(line) for line in events.lines]
    assert len({event["id"] for event in parsed}) == len(parsed)
    assert [event["label"] for event in parsed] == events.labels.tolist()
    seen = Counter()
    for event in parsed:
        assert set(event) - {"weight"} == {"id", "ts", "label", "geo", "features"}
        assert event.get("weight", 1.0) in (0.5, 1.0, 2.0)
        assert event["geo"]["country"] == event["features"]["country"]
        f = event["features"]
        assert set(f) | {"video"} == set(FIELDS)
        seen.update(f.keys())
        assert type(f["session"]) is int
        assert len(str(f["session"])) == 10
        assert type(f["price"]) is float
        assert type(f["dwell"]) is float
        assert len(set(f["tags"])) == len(f["tags"]) <= 3
        assert f["page"].startswith("/" + f["site"].removesuffix(".example") + "/")
        assert type(f["new"]) is bool
    assert seen["video"] < 0.95 * len(parsed) < seen["site"]
    assert any("weight" in event for event in parsed)
    assert None in {event["features"]["browser"] for event in parsed}
    assert 300 < len(events.data) / len(events) < 500


def test_popularity_has_a_head_and_a_long_tail():
    rows = features(Simulator().batch(50_000))
    counts = {
        name: sorted(Counter(row[name] for row in rows).values())
        for name in ("user", "ad", "site", "page", "session")
    }
    once = {name: sum(c == 1 for c in found) / len(found) for name, found in counts.items()}
    assert once["user"] > 0.6
    assert once["page"] > 0.6
    assert once["session"] > 0.7
    head = {name: sum(found[-20:]) / len(rows) for name, found in counts.items()}
    assert 0.05 < head["user"] < 0.5
    assert 0.3 < head["ad"] < 0.8
    assert 0.3 < head["site"] < 0.8


def test_a_field_vanishes():
    for field in FIELDS:
        chosen = SimulatorSettings(vanish_after=100, vanish_field=field)
        rows = features(Simulator(chosen).batch(200))
        assert all(field in row for row in rows[:100]) or field == "video"
        assert not any(field in row for row in rows[100:])
        assert set(rows[150]) | {"video"} == set(FIELDS) - {field} | {"video"}
        assert all(len(row) >= len(FIELDS) - 2 for row in rows)


def test_new_ads_take_the_place_of_old_ones():
    rows = features(Simulator(SimulatorSettings(ads=50, new_ads_every=200)).batch(10 * BLOCK))
    first, last = ({row["ad"] for row in part} for part in (rows[:BLOCK], rows[-BLOCK:]))
    assert first <= {f"a{i}" for i in range(50)}
    assert len(last - first) > 20
    assert max(int(ad[1:]) for ad in last) >= 50 + 9 * BLOCK // 200 - 30
    still = features(Simulator(SimulatorSettings(ads=50, new_ads_every=0)).batch(10 * BLOCK))
    assert {row["ad"] for row in still} <= {f"a{i}" for i in range(50)}


def sent_and_happened(**chosen):
    simulator = Simulator(SimulatorSettings(events_per_second=1000.0, **chosen))
    events = simulator.batch(8000)
    sent = simulator.settings.start_ts_ms + np.arange(len(events))
    return sent, np.array([json.loads(line)["ts"] for line in events.lines]), events.keys


def test_times_without_delay_are_the_pace():
    sent, happened, _ = sent_and_happened(label_delay_ms=0, disorder_ms=0)
    np.testing.assert_array_equal(sent, happened)


def test_labels_are_known_later():
    sent, happened, _ = sent_and_happened(label_delay_ms=5000, disorder_ms=0)
    assert (happened <= sent).all()
    assert 4500 < (sent - happened).mean() < 5500


def test_partitions_are_out_of_order_and_each_is_in_order_for_a_user():
    sent, happened, keys = sent_and_happened(label_delay_ms=0, disorder_ms=1000)
    lag = sent - happened
    assert lag.min() == 0
    assert lag.max() == 1000
    means = [lag[keys % np.uint64(4) == part].mean() for part in range(4)]
    assert max(means) - min(means) > 500
    for key in np.unique(keys)[:50]:
        assert (np.diff(happened[keys == key]) > 0).all()


def test_partitions_hold_every_event_once_and_one_user_is_in_one():
    events = Simulator(EVERYTHING).batch(6000)
    parts = events.partition(3)
    assert sum(len(part) for part in parts) == len(events)
    assert Counter(line for part in parts for line in part.lines) == Counter(events.lines)
    users = [
        {json.loads(x)["features"]["user"] for x in p.take(p.labels >= 0).lines} for p in parts
    ]
    assert all(users)
    assert len(set.union(*users)) == sum(map(len, users))
    place = {line: i for i, line in enumerate(events.lines)}
    for i, part in enumerate(parts):
        assert (part.keys % np.uint64(3) == i).all()
        order = [place[line] for line in part.take(part.labels >= 0).lines]
        assert order == sorted(order)
