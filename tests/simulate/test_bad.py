"""Bad events: as many as asked for, of every kind, and no good one touched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ctr.kernels.reasons import REASONS as KNOWN_REASONS
from ctr.simulate import KINDS, REASONS, Simulator, SimulatorSettings

LIMITS = {"max_event_bytes": 8192, "max_features": 100}


def simulate(count=20_000, **chosen):
    return Simulator(SimulatorSettings(**LIMITS, **chosen)).batch(count)


def strict(text):
    def refuse(token):
        raise ValueError(token)

    return json.loads(text, parse_constant=refuse)


def test_all_kinds_are_there_in_their_share_and_good_events_are_as_without():
    clean, spoiled = simulate(), simulate(bad_share=0.1)
    bad = spoiled.kinds >= 0
    assert bad.mean() == pytest.approx(0.1, rel=0.1)
    assert set(spoiled.kinds[bad]) == set(range(len(KINDS)))
    np.testing.assert_array_equal(np.isnan(spoiled.p), bad)
    np.testing.assert_array_equal(spoiled.labels == -1, bad)
    np.testing.assert_array_equal(spoiled.keys, clean.keys)
    pairs = zip(clean.lines, spoiled.lines, bad, strict=True)
    assert all((a == b) != is_bad for a, b, is_bad in pairs)


def test_no_bad_event_has_a_newline_in_it():
    events = simulate(bad_share=1.0)
    assert len(events.data.split(b"\n")) == len(events) + 1
    assert not any(b"\n" in line for line in events.lines)


def test_reasons_are_those_of_the_reader():
    assert set(REASONS) == set(KINDS)
    assert set(REASONS.values()) <= set(KNOWN_REASONS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_bad_in_its_own_way(kind):
    lines = simulate(300, bad_share=1.0, bad_kinds=(kind,)).lines
    assert len(lines) == 300
    for line in lines:
        assert is_bad[kind](line), line[:200]


def unreadable(line):
    line.decode("utf-8")
    try:
        strict(line)
    except ValueError:
        return bool(line)
    return False


def not_utf8(line):
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def lone_surrogate(line):
    try:
        json.dumps(strict(line), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def repeats(line):
    def check(pairs):
        return dict(pairs, _repeated=len({key for key, _ in pairs}) < len(pairs))

    return json.loads(line, object_pairs_hook=check)["_repeated"]


def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


def features(line):
    return strict(line)["features"]


is_bad = {
    "truncated": unreadable,
    "not_json": unreadable,
    "nan": lambda line: unreadable(line) and json.loads(line)["label"] in (0, 1),
    "infinite": lambda line: abs(features(line)["score"]) > 3.5e38,
    "not_object": lambda line: not isinstance(strict(line), dict),
    "invalid_utf8": not_utf8,
    "lone_surrogate": lone_surrogate,
    "wrong_label": lambda line: strict(line)["label"] not in (0, 1),
    "no_label": lambda line: strict(line).get("label") is None,
    "wrong_weight": lambda line: strict(line)["weight"] <= 0 and not repeats(line),
    "wrong_ts": lambda line: not isinstance(strict(line)["ts"], int),
    "nested": lambda line: any(isinstance(value, dict) for value in features(line).values()),
    "too_deep": lambda line: depth(strict(line)) > 32,
    "too_many_features": lambda line: len(features(line)["many"]) > LIMITS["max_features"],
    "too_long": lambda line: len(line) > LIMITS["max_event_bytes"] and bool(strict(line)),
    "repeated_key": repeats,
    "empty": lambda line: line == b"",
}
