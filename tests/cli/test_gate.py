"""``ctr gate`` on a directory: what it shows, and the orders it gives."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import msgspec
import pytest

from ctr.cli import times
from ctr.model.control_files import ControlFiles
from ctr.model.gate import Order, Status
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore
from ctr.model.sparse import SparseModel
from ctr.settings import Features
from tests.cli.conftest import Command
from tests.cli.test_errors import one_line

CLOSED = Status(
    open=False,
    reason="calibration 1.421 is outside [0.8, 1.25] over 1,000 events",
    violated=["calibration"],
    since_event=14_000,
    since=1_700_000_000_000,
    events=14_500,
    window=1000,
    figures={"calibration": 1.421, "normalized_entropy": None, "event_rate": 1234.5},
    bounds={
        "calibration": [0.8, 1.25],
        "normalized_entropy": [None, 1.0],
        "event_rate": [61.7, None],
    },
    good=1,
    needed=2,
)
DIRECTORY = ("--directory", "snapshots")


@pytest.fixture
def files(ctr: Command) -> ControlFiles:
    Path("snapshots").mkdir()
    return ControlFiles(SnapshotStore("snapshots"))


def say(files: ControlFiles, status: Status, age: float = 0) -> None:
    files.say(msgspec.structs.replace(status, time=int(1000 * (time.time() - age))))


def test_nothing_was_said_yet(ctr: Command, files: ControlFiles) -> None:
    said = ctr("gate", *DIRECTORY)
    assert said.code == 0
    assert "nothing was said of its gate yet" in said.out
    assert json.loads(ctr("gate", *DIRECTORY, "--json").out)["gate"] is None


def test_a_closed_gate_says_why(ctr: Command, files: ControlFiles) -> None:
    say(files, CLOSED, age=7200)
    said = ctr("gate", "status", *DIRECTORY)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "clicks, on the directory snapshots",
        "gate      closed, said 2 h ago",
        "since     event 14,000, of 2023-11-14 22:13:20 UTC",
        "reason    calibration 1.421 is outside [0.8, 1.25] over 1,000 events",
        "",
        "last window of 1,000 events               figure     least      most",
        "calibration                               1.4210       0.8      1.25  broken",
        "normalized entropy                             -                   1",
        "events a second                          1,234.5      61.7",
        "it opens after 2 good windows in a row; 1 so far",
    ]
    found = json.loads(ctr("gate", *DIRECTORY, "--json").out)
    assert msgspec.convert(found["gate"], Status) == files.status()


def test_a_version_that_came_later_says_it_better(ctr: Command, files: ControlFiles) -> None:
    say(files, CLOSED, age=60)
    status = Status(open=True, events=500, window=1000, time=int(1000 * time.time()))
    manifest = Manifest(
        version=1, spec=Features(bits=8), sections={"gate": msgspec.to_builtins(status)}
    )
    SnapshotStore("snapshots").write(manifest, SparseModel(8))
    said = ctr("gate", *DIRECTORY).out
    assert "gate      open, said 0 s ago" in said
    assert "no window of 1,000 events is full yet (500 events seen)" in said
    say(files, CLOSED, age=-1)
    assert "gate      closed" in ctr("gate", *DIRECTORY).out


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"enabled": False, "open": True}, "gate      disabled"),
        ({"overridden": True, "open": True}, "gate      open by an operator's override"),
    ],
)
def test_a_gate_that_is_open_all_the_same(
    ctr: Command, files: ControlFiles, status: dict[str, bool], shown: str
) -> None:
    say(files, msgspec.structs.replace(CLOSED, **status))
    assert shown in ctr("gate", *DIRECTORY).out


def test_an_order_that_nobody_obeys(ctr: Command, files: ControlFiles) -> None:
    say(files, CLOSED)
    said = ctr("gate", "override", "--wait", "0", "--reason", "a campaign", *DIRECTORY)
    assert said.code == 0
    assert said.err.startswith("the trainer has not obeyed yet; the order stands")
    assert "order     override until 20" in said.out
    assert ": a campaign (not obeyed yet)" in said.out
    order = files.order()
    assert order is not None
    assert order.until - order.time == 3_600_000
    assert "@" in order.by
    files.give(Order.override(time.time() - 7200, 60))
    assert "(never obeyed)" in ctr("gate", *DIRECTORY).out


@pytest.mark.parametrize("action", ["override", "restore"])
def test_an_order_is_waited_for(ctr: Command, files: ControlFiles, action: str) -> None:
    say(files, CLOSED)

    def obey() -> None:
        while (order := files.order()) is None:
            time.sleep(0.01)
        overridden = order.action == "override"
        obeyed = {"order": order, "overridden": overridden, "open": overridden}
        say(files, msgspec.structs.replace(CLOSED, **obeyed), age=-1)

    trainer = threading.Thread(target=obey)
    trainer.start()
    said = ctr("gate", action, "--wait", "60", *DIRECTORY)
    trainer.join()
    assert (said.code, said.err) == (0, "")
    if action == "override":
        assert "gate      open by an operator's override" in said.out
        assert "override  override until" not in said.out
        assert "override  until 20" in said.out
    else:
        assert "gate      closed" in said.out


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["override", "--for", "soon"], "--for must be a duration up to 30d, as 90s, 15m, 2h or"),
        (["override", "--for", "0s"], "--for must be a duration up to 30d"),
        (["override", "--for", "31d"], "--for must be a duration up to 30d"),
        (["override", "--for", "-1h"], "--for must be a duration up to 30d"),
        (["restore", "--for", "1h"], "--for must be given with `ctr gate override`, not restore"),
        (["--for", "1h"], "--for must be given with `ctr gate override`, not status"),
    ],
)
def test_wrong_arguments_order_nothing(
    ctr: Command, files: ControlFiles, arguments: list[str], wanted: str
) -> None:
    said = ctr("gate", *arguments, *DIRECTORY)
    one_line(said.err, wanted)
    assert (said.code, files.order()) == (1, None)
    assert ctr("gate", "open", *DIRECTORY).code == 2
    assert ctr("gate", "override", "--wait", "-1", *DIRECTORY).code == 2


def test_a_damaged_order_is_said_and_replaced(ctr: Command, files: ControlFiles) -> None:
    Path("snapshots/override.json").write_text("?")
    one_line(ctr("gate", *DIRECTORY).err, "the gate's order is damaged")
    assert ctr("gate", "restore", "--wait", "0", *DIRECTORY).code == 0
    assert files.order() is not None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7300, "2 h ago"), (2e5, "2 d ago")],
)
def test_ages(seconds: float, shown: str) -> None:
    assert times.ago(1_700_000_000_000, 1_700_000_000 + seconds) == shown
