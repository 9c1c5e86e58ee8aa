"""The gate and its operator: an override opens it, for a while; and what it says of itself."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from ctr.model.gate import Order, Status, status_from

from .test_gate import events, make

NOW = 1_700_000_000.0


def closed(**settings):
    gate = make(window=1000, **settings)
    gate.observe(*events(1, 1000, tilt=1.5, rate=0.3))
    assert not gate.open
    return gate


def again(gate):
    """The gate as it is after a restart."""
    meta, arrays = gate.state()
    restored = make(window=gate.settings.window)
    restored.restore(json.loads(json.dumps(meta, allow_nan=False)), arrays)
    return restored


def test_an_override_opens_it_until_its_time_is_up():
    gate = closed()
    assert not gate.obey(None, NOW)
    order = Order.override(NOW, 60, "a campaign", "anna")
    assert gate.obey(order, NOW)
    assert (gate.open, gate.overridden, gate.order) == (True, True, order)
    assert gate.reason.startswith("overridden; it would be closed: calibration 1.")
    assert gate.violated == ("calibration",)
    assert not gate.obey(order, NOW + 59.9)
    assert gate.open
    assert gate.obey(order, NOW + 60)
    assert (gate.open, gate.overridden) == (False, False)
    assert not gate.obey(order, NOW + 61)
    # nor does a clock that is set back bring it back
    assert not gate.obey(order, NOW)
    assert not gate.open


def test_an_order_that_comes_too_late_changes_nothing():
    gate = closed()
    order = Order.override(NOW, 60)
    gate.obey(order, NOW + 3600)
    assert (gate.open, gate.order) == (False, order)


def test_restored_it_decides_again():
    gate = closed()
    gate.obey(Order.override(NOW, 60), NOW)
    gate.obey(Order.restore(NOW + 1), NOW + 1)
    assert (gate.open, gate.overridden) == (False, False)
    gate.obey(Order.override(NOW + 2, 60), NOW + 2)
    assert gate.open


def test_the_override_ends_when_the_gate_opens_by_itself():
    gate = closed()
    order = Order.override(NOW, 3600)
    gate.obey(order, NOW)
    gate.observe(*events(2, 1000))
    gate.obey(order, NOW + 1)
    assert gate.overridden
    gate.observe(*events(3, 1000))
    gate.obey(order, NOW + 2)
    assert (gate.open, gate.overridden, gate.reason) == (True, False, "")
    gate.observe(*events(4, 1000, tilt=1.5, rate=0.3))
    gate.obey(order, NOW + 3)
    assert not gate.open


def test_one_given_while_it_is_open_keeps_it_open():
    gate = make(window=1000)
    gate.observe(*events(1, 1000))
    gate.obey(Order.override(NOW, 3600), NOW)
    for seed in (2, 3):
        gate.observe(*events(seed, 1000))
    assert gate.overridden
    gate.observe(*events(4, 1000, tilt=1.5, rate=0.3))
    assert gate.open
    assert gate.reason.startswith("overridden; it would be closed")


def test_it_survives_a_restart():
    gate = closed()
    order = Order.override(NOW, 60, "a", "b")
    gate.obey(order, NOW)
    restored = again(gate)
    assert (restored.open, restored.overridden, restored.order) == (True, True, order)
    assert restored.since == gate.since
    restored.obey(None, NOW + 61)
    assert not restored.open
    # what was obeyed before is not obeyed anew
    assert not again(restored).obey(order, NOW)


def test_the_state_of_a_checkpoint_that_knew_no_overrides():
    gate = closed()
    meta, arrays = gate.state()
    for name in ("order", "overridden", "since"):
        del meta[name]
    restored = make(window=1000)
    restored.restore(meta, arrays)
    assert (restored.open, restored.order, restored.since) == (False, None, (0, 0))


@pytest.mark.parametrize("size", [1, 7, 1000, 5000])
def test_where_it_closed_and_opened_does_not_depend_on_batches(size):
    gate = make(window=1000, grace=500)
    seen = []
    start, at = 1_700_000_000_000, 0
    for seed, tilt in enumerate([1.0, 1.5, 1.0, 1.0, 1.0]):
        stream = events(seed, 1100, tilt=tilt, rate=0.3, start=start)
        for first in range(0, 1100, size):
            before = gate.since
            gate.observe(*(column[first : first + size] for column in stream))
            if gate.since != before:
                seen.append(gate.since)
        start, at = int(stream[3][-1]), at + 1100
    assert [since.event for since in seen][-1] == gate.since.event
    assert gate.since.event in (4500, 5500)
    assert (gate.since.event - 500) % 1000 == 0
    # the event time there, but for the twentieth that may be of wrong clocks
    assert 0 <= gate.since.time - 1_700_000_000_000 <= 5500 * 100
    assert abs((gate.since.time - 1_700_000_000_000) / 100 - gate.since.event) < 200


def test_it_says_how_it_is():
    gate = make(window=1000)
    assert gate.status() == Status(
        open=True,
        window=1000,
        bounds={
            "calibration": [0.8, 1.25],
            "normalized_entropy": [None, 1.0],
            "event_rate": [None, None],
        },
        needed=2,
    )
    gate.observe(*events(1, 1000, tilt=1.5, rate=0.3, step=10))
    status = gate.status()
    assert not status.open
    assert status.reason == gate.reason
    assert (status.violated, status.events, status.good) == (["calibration"], 1000, 0)
    assert status.since_event == 1000
    assert status.figures["calibration"] == gate.last.calibration
    assert status.figures["event_rate"] == pytest.approx(1000 / gate.last.seconds)
    # a window of a thousand events that lasts twenty times as long is too slow
    assert status.bounds["event_rate"][0] == pytest.approx(status.figures["event_rate"] / 20)
    gate.obey(Order.override(NOW, 60), NOW)
    assert gate.status().open
    assert gate.status().overridden
    assert gate.status().order == gate.order


def test_it_says_so_in_json_whatever_the_figures():
    gate = make(window=1000)
    p, labels, weights, times = events(1, 1000, rate=0.0)
    p[3] = math.nan
    gate.observe(p, labels, weights, times)
    status = status_from(msgspec.json.encode(gate.status()))
    assert status.figures["calibration"] is None
    assert status.violated == ["calibration", "normalized_entropy"]
