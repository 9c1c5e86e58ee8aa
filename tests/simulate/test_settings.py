"""Settings: errors that say what was wanted, and a page that knows them all."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ctr.errors import SettingError
from ctr.simulate import FIELDS, KINDS, Simulator, SimulatorSettings

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("base_rate", 2, "simulate.base_rate must be in (0, 1); got 2"),
        ("base_rate", 0.0, "simulate.base_rate must be in (0, 1); got 0.0"),
        ("base_rate", float("nan"), "simulate.base_rate must be in (0, 1); got nan"),
        ("seed", -1, "simulate.seed must be in [0, 9223372036854775807]; got -1"),
        ("users", 0, "simulate.users must be in [1, 1000000000000]; got 0"),
        ("users", 1e6, "simulate.users must be a whole number; got 1000000.0"),
        ("users", True, "simulate.users must be a whole number; got True"),
        ("bad_share", 1.5, "simulate.bad_share must be in [0, 1]; got 1.5"),
        ("drift", -0.1, "simulate.drift must be in [0, 100]; got -0.1"),
        ("new_ads_every", -1, "simulate.new_ads_every must be in [0, 1000000000000]; got -1"),
        (
            "events_per_second",
            0,
            "simulate.events_per_second must be in [0.001, 1000000000]; got 0",
        ),
        ("vanish_after", -5, "simulate.vanish_after must be >= 0; got -5"),
        ("vanish_field", "sight", f"must be one of {', '.join(FIELDS)}; got 'sight'"),
        ("bad_kinds", ("rude",), "simulate.bad_kinds must be some of truncated, not_json"),
        ("bad_kinds", (), "simulate.bad_kinds must be some of"),
    ],
)
def test_errors_name_key_value_and_wanted(name, value, message):
    with pytest.raises(SettingError) as caught:
        SimulatorSettings(**{name: value})
    assert message in str(caught.value)


def test_a_negative_count_is_refused():
    with pytest.raises(SettingError, match="count must be >= 0; got -3"):
        Simulator().batch(-3)


@pytest.mark.parametrize(
    "extreme",
    [
        {"users": 1, "ads": 1, "sites": 1},
        {"users": 10**12, "ads": 100_000, "sites": 10**9},
        {"base_rate": 1e-12},
        {"base_rate": 1 - 1e-12},
        {"seed": 2**63 - 1, "start_ts_ms": 10**13 - 1, "events_per_second": 0.001},
        {"label_delay_ms": 10**9, "disorder_ms": 10**9, "start_ts_ms": 10**12},
    ],
)
def test_extremes_work(extreme):
    import json

    simulator = Simulator(SimulatorSettings(**extreme))
    events = simulator.batch(1000)
    assert all(json.loads(line)["ts"] > 0 for line in events.lines)
    assert ((events.p > 0) & (events.p < 1)).all()
    json.dumps(simulator.figures(), allow_nan=False)


def test_the_page_names_every_setting_field_and_kind():
    text = PAGE.read_text("utf-8")
    names = [field.name for field in fields(SimulatorSettings)]
    missing = [name for name in (*names, *FIELDS, *KINDS) if f"`{name}`" not in text]
    assert not missing


def test_the_page_gives_the_defaults():
    rows = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`"):
            rows[cells[0].strip("`")] = cells[1].replace(" ", "")
    for field in fields(SimulatorSettings):
        shown = {"bad_kinds": "all", "vanish_after": "none"}.get(field.name, str(field.default))
        assert rows[field.name] == shown, field.name
