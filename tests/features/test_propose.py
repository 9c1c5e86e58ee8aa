"""Settings proposed for events of many shapes: they load, and they read what can be read."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr import config
from ctr.features.propose import Proposal, propose
from ctr.settings import Features
from ctr.simulate import Simulator, SimulatorSettings

Event = dict[str, Any]


def lines_of(make: Callable[[int, random.Random], Event], count: int = 2000) -> list[bytes]:
    rng = random.Random(1)
    return [json.dumps(make(k, rng)).encode() for k in range(count)]


def proposed(make: Callable[[int, random.Random], Event], count: int = 2000) -> Proposal:
    """A proposal for events that are all good; that it reads them all is a matter of course."""
    proposal = propose(lines_of(make, count))
    assert (proposal.read, proposal.rejected) == (count, {})
    return proposal


def rows(proposal: Proposal) -> dict[str, str]:
    return {row.column: row.proposed for row in proposal.table}


# ---- streams as they are


@pytest.mark.parametrize("bad_share", [0.0, 0.05, 0.1])
def test_the_simulators_stream_needs_next_to_nothing(bad_share: float) -> None:
    events = Simulator(SimulatorSettings(bad_share=bad_share)).batch(4096)
    proposal = propose(events.lines)
    assert proposal.features == Features(
        columns={"session": "categorical"}, time_features=["hour", "dow"]
    )
    assert proposal.label == "label"
    assert proposal.read == (events.kinds < 0).sum()
    table = rows(proposal)
    assert [table[name] for name in ("id", "ts", "weight", "geo.city", "price")] == [
        *("id", "ts", "weight", "not read", "log_bucket")
    ]


def test_rows_of_a_contest_are_read_flat() -> None:
    def avazu(k: int, rng: random.Random) -> Event:
        return {
            "id": rng.getrandbits(64),
            "click": int(rng.random() < 0.17),
            "hour": 14102100,
            "C1": rng.choice([1005, 1002]),
            "site_id": f"{rng.getrandbits(7):08x}",
            "app_domain": "7801e8d9",
            "device_ip": f"{rng.getrandbits(32):08x}",
            "C14": 15700 + int(rng.expovariate(0.01)),
            "C20": rng.choice([-1, 100084]),
        }

    proposal = proposed(avazu)
    assert proposal.features == Features(features="", label="click")
    assert rows(proposal)["id"] == "id"
    assert set(rows(proposal).values()) == {"id", "label", "categorical"}


def test_flat_events_with_everything_that_can_go_wrong() -> None:
    def flat(k: int, rng: random.Random) -> Event:
        clicked = rng.random() < 0.1
        return {
            "is_click": clicked,
            "timestamp": f"2024-05-01T12:{k % 60:02d}:00Z",
            "userId": rng.getrandbits(40),
            "adId": rng.randrange(50),
            "price": rng.choice([1, 2.5, 3]),
            "age": rng.randrange(18, 90),
            "converted": int(clicked and rng.random() < 0.3),
            "clickDelay": rng.randrange(10_000) if clicked else None,
            "landing": "seen" if clicked else "none",
            "trace": f"{rng.getrandbits(128):032x}",
            "bid": {"auction_id": rng.getrandbits(60), "floor": rng.random()},
            "sizes": [300, 250],
            "position": rng.randrange(5),
            "weight": rng.choice([1200, 850.5]),
            "lat": 48 + rng.random() / 2,
        }

    proposal = proposed(flat)
    assert proposal.features == Features(
        features="",
        label="is_click",
        weight="_weight",
        id="bid.auction_id",
        exclude=["timestamp", "converted", "landing", "trace", "sizes", "clickDelay"],
        columns={
            "userId": "categorical",
            "price": "log_bucket",
            "age": "log_bucket",
            "weight": "log_bucket",
        },
    )
    why = {row.column: row.why for row in proposal.table}
    assert why["converted"] == "another outcome, known only after the event"
    assert why["clickDelay"].startswith("tells 9")
    assert why["landing"].startswith("tells 9")
    assert why["trace"] == "2,000 different in 2,000: an id of the event, nothing to learn from"
    assert "perhaps linear" in why["lat"]
    assert any("timestamp is a time written as text" in note for note in proposal.notes)
    assert "Reserved names, which are not read: position." in proposal.notes


def test_nested_events_are_read_by_dotted_paths() -> None:
    def nested(k: int, rng: random.Random) -> Event:
        return {
            "event": {"id": k, "time": 1_700_000_000_000 + 1000 * k},
            "outcome": {"clicked": int(rng.random() < 0.2)},
            "user": {
                "id": f"u{rng.randrange(500)}",
                "geo": {"zip": rng.choice(["10115", "75001"])},
            },
            "ad": {"tags": ["a", "b"], "sizes": [{"w": 1}]},
        }

    proposal = proposed(nested)
    assert proposal.features == Features(
        features="",
        label="outcome.clicked",
        id="event.id",
        ts="event.time",
        time_features=["hour", "dow"],
        exclude=["ad.sizes"],
    )
    assert rows(proposal)["user.geo.zip"] == "categorical"


def test_an_object_of_features_may_have_the_label_or_objects_in_it() -> None:
    def inner_label(k: int, rng: random.Random) -> Event:
        return {"features": {"click": k % 3 // 2, "ad": f"a{k % 7}"}}

    def inner_object(k: int, rng: random.Random) -> Event:
        return {"label": k % 3 // 2, "features": {"user": {"geo": "de"}, "ad": f"a{k % 7}"}}

    assert proposed(inner_label).features == Features(features="", label="features.click")
    assert proposed(inner_object).features == Features(features="", label="label")


# ---- single columns


def with_column(value: Callable[[int, random.Random], object], name: str = "x") -> Proposal:
    return proposed(lambda k, rng: {"label": int(rng.random() < 0.3), name: value(k, rng)})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("x", lambda k, rng: k % 7, "categorical"),
        ("x", lambda k, rng: k, "excluded"),
        ("ad_id", lambda k, rng: k, "categorical"),
        ("price", lambda k, rng: k, "log_bucket"),
        ("x", lambda k, rng: 10**9 + k % 50, "categorical"),
        ("x", lambda k, rng: [1, 1.5][k % 2], "log_bucket"),
        ("x", lambda k, rng: ["n/a", 1.5, 2.5][k % 3], "log_bucket"),
        ("x", lambda k, rng: ["a", "b", 2.5][k % 3], "categorical"),
        ("x", lambda k, rng: f"v{k}", "excluded"),
        ("site", lambda k, rng: f"v{k}", "categorical"),
        ("x", lambda k, rng: [f"v{k % 9}", "w"], "categorical"),
        ("x", lambda k, rng: [k], "excluded"),
        ("x", lambda k, rng: 10**70 + k % 9, "excluded"),
        ("x", lambda k, rng: True, "categorical"),
        ("created_at", lambda k, rng: 1_700_000_000_000 + k % 500, "excluded"),
        ("updated", lambda k, rng: "2024-05-01 10:00", "excluded"),
    ],
)
def test_a_column_is_read_by_what_it_holds_and_how_it_is_called(
    name: str, value: Callable[[int, random.Random], object], wanted: str
) -> None:
    if name == "created_at":  # beside a time of the event
        proposal = proposed(
            lambda k, rng: {"label": k % 3 // 2, "ts": 1_700_000_000_000 + k, name: value(k, rng)}
        )
    else:
        proposal = with_column(value, name)
    assert rows(proposal)[name] == wanted


def test_a_column_that_tells_the_label_is_found_by_what_it_would_have_predicted() -> None:
    def proposal_with(share: float) -> Proposal:
        def event(k: int, rng: random.Random) -> Event:
            click = rng.random() < 0.2
            told = click if rng.random() < share else rng.random() < 0.2
            return {"label": int(click), "told": str(told), "user": f"u{k}"}

        return proposed(event)

    assert rows(proposal_with(1.0))["told"] == "excluded"
    assert rows(proposal_with(0.5))["told"] == "categorical"
    assert rows(proposal_with(1.0))["user"] == "categorical"


# ---- roles


@pytest.mark.parametrize("name", ["label", "click", "isClicked", "y", "TARGET", "conversion"])
@pytest.mark.parametrize("values", [(0, 1), (False, True), (0.0, 1.0)])
def test_labels_are_found_by_name_and_value(name: str, values: tuple[object, object]) -> None:
    proposal = proposed(lambda k, rng: {name: values[k % 3 // 2], "new": k % 2, "ad": f"a{k % 5}"})
    assert (proposal.label, proposal.features.label) == (name, name)


def test_the_only_binary_column_is_the_label() -> None:
    proposal = proposed(lambda k, rng: {"won": k % 3 // 2, "ad": f"a{k % 5}"})
    assert proposal.label == "won"
    assert "it alone is 0 or 1" in " ".join(proposal.notes)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"click": "yes", "a": "x"}, "click is named like one, but holds 'yes'"),
        ({"a": "x"}, "No column is 0 or 1"),
    ],
)
def test_what_is_no_label_is_not_taken_for_one(event: Event, said: str) -> None:
    proposal = propose([json.dumps(event).encode()] * 50)
    assert (proposal.label, proposal.rejected) == ("", {"no_label": 50})
    assert said in " ".join(proposal.notes)
    assert 'label = "label"  # none was found' in proposal.toml


def test_of_many_binary_columns_none_is_taken() -> None:
    proposal = propose(lines_of(lambda k, rng: {"a": k % 2, "b": k % 3 // 2}))
    assert proposal.label == ""
    assert "a, b are 0 or 1 in every event" in " ".join(proposal.notes)


@pytest.mark.parametrize(
    ("ts", "unit"),
    [
        (1_700_000_000, "seconds"),
        (1_700_000_000_000_000, "microseconds"),
        (1_700_000_000.5, "seconds"),
        ("2024-05-01T10:00:00Z", "text"),
    ],
)
@pytest.mark.parametrize("holder", ["", "features"])
def test_times_that_cannot_be_used_are_said_and_kept_from_being_read(
    ts: object, unit: str, holder: str
) -> None:
    def event(k: int, rng: random.Random) -> Event:
        features = {"ad": f"a{k % 5}"}
        return {"label": k % 3 // 2, "ts": ts, **({"features": features} if holder else features)}

    proposal = proposed(event)
    assert proposal.features.ts == "_ts"
    assert proposal.features.time_features == []
    assert f"ts is a time written as {unit}" in " ".join(proposal.notes)


def test_an_id_that_comes_again_is_a_feature() -> None:
    proposal = proposed(lambda k, rng: {"label": k % 3 // 2, "id": f"u{k % 40}"})
    assert (proposal.features.id, rows(proposal)["id"]) == ("_id", "categorical")


def test_events_without_label_are_passed_over_when_there_are_many() -> None:
    def event(k: int, rng: random.Random) -> Event:
        return {"label": None if k % 4 else k % 3 // 2, "features": {"ad": f"a{k % 5}"}}

    proposal = propose(lines_of(event))
    assert proposal.features.on_missing_label == "skip"
    assert (proposal.read, proposal.rejected) == (500, {})


def test_limits_are_raised_for_wide_events() -> None:
    proposal = proposed(lambda k, rng: {"label": k % 2, "tags": ["t"] * 1500}, 50)
    assert proposal.features.max_features == 2048


def test_names_that_are_data_are_said_to_be() -> None:
    lines = lines_of(
        lambda k, rng: {"label": k % 2, "features": {f"ad{k}": 1, f"user{k % 900}": 2.5}}
    )
    proposal = propose(lines)
    assert proposal.read == len(lines)
    assert any("2,900 different names" in note for note in proposal.notes)
    assert "… and 2,801 more columns" in str(proposal)


# ---- whatever comes


def test_the_file_to_start_from_is_loaded_as_configuration(tmp_path: Path) -> None:
    lines = [
        b'{"clicked":%d,"pri\\u0022ce\\u007f":%s}' % (k % 2, [b"1", b"2.5"][k % 3 // 2])
        for k in range(99)
    ]
    proposal = propose(lines)
    file = tmp_path / "ctr.toml"
    file.write_text(proposal.toml, "utf-8")
    assert config.load(file, {}).features == proposal.features
    assert proposal.features.columns == {'pri"ce\x7f': "log_bucket"}


def test_the_page_has_the_table_the_notes_and_the_file() -> None:
    proposal = propose(
        lines_of(lambda k, rng: {"y": k % 2, "ad\n": "a\x1b[31m", "n": [1, 2.5][k % 2]})
    )
    page = str(proposal)
    assert page.startswith("column")
    assert "\x1b" not in page
    for row in proposal.table:
        assert row.column in page
    for note in proposal.notes:
        assert note[:60] in page
    assert page.endswith(proposal.toml)


def test_only_so_many_lines_are_looked_at() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b'{"label":1,"features":{"a":"x"}}\n'
            yield b"\n"

    assert propose(endless(), 100).read == 100


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.text(max_size=6) | st.sampled_from(["label", "id", "ts", "weight", "features", "click"])


@given(
    st.lists(st.dictionaries(names, values, max_size=6).map(json.dumps) | st.text(), max_size=20)
)
@settings(max_examples=300)
def test_there_is_a_proposal_for_whatever_stands_in_a_file(lines: list[str]) -> None:
    proposal = propose([line.encode("utf-8", "surrogatepass") for line in lines])
    tree = tomllib.loads(proposal.toml)
    assert config.convert(tree["features"], Features, "features") == proposal.features
    assert str(proposal).endswith(proposal.toml)
