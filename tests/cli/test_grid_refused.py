"""Grids that are refused, before any event is read, with the key, the value and the range."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ctr import config as configs
from ctr import grid
from ctr.errors import SettingError
from ctr.memory import available_memory
from tests.cli.conftest import Command
from tests.cli.test_errors import one_line

GRID = ["--grid", "alpha=0.05,0.2", "--grid", "l1=0.5,1,3"]

HUNDRED = ",".join(map(str, range(100)))
WRONG = [
    (["alhpa=0.1"], "learner.alhpa is not a setting; did you mean 'alpha'?"),
    (["learner.schedul=constant"], "learner.schedul is not a setting; did you mean 'schedule'?"),
    (["features.bits=20,22"], "--grid must be KEY=V1,V2,... with a KEY of [learner]; got"),
    (["alpha"], "--grid must be KEY=V1,V2,... with a KEY of [learner]; got 'alpha'"),
    (["alpha="], "--grid alpha must be one value, or several between commas; got ''"),
    (["alpha=0.1,,0.2"], "must be one value, or several between commas; got '0.1,,0.2'"),
    (["alpha=0.1", "learner.alpha=0.2"], "--grid alpha must be given once"),
    (["alpha=0.1,0.10"], "--grid alpha must be values that differ; got '0.1,0.10'"),
    (["alpha=0.1,-0.5"], "learner.alpha must be > 0; got '-0.5'"),
    (["l1=-1"], "learner.l1 must be >= 0; got '-1'"),
    (["l1=1,many"], "learner.l1 must be a number; got 'many'"),
    (["momentum=0,1"], "learner.momentum must be < 1; got '1'"),
    (["min_count=3,1.5"], "learner.min_count must be a whole number; got '1.5'"),
    (["rates=global,local"], "learner.rates must be one of 'per-coordinate', 'global'"),
    (["name=ftrl,adam"], "learner.name must be one of 'ftrl', 'rda'"),
    (["schedule=constant,power(r=1e6,c=-1)"], "learner.schedule must be power(r=R,c=C)"),
    (["schedule=constant,power(r=1e6"], "learner.schedule must be one of constant"),
    (["name=ftrl,ogd", "momentum=0,0.9"], "(in the variant name = ftrl, momentum = 0.9); got 0.9"),
    ([f"l1={HUNDRED}", f"l2={HUNDRED}"], "--grid must be at most 256 variants; got 10000"),
    ([f"l1={HUNDRED}", "l2=1,2,3"], "--grid must be at most 256 variants; got 300"),
]


@pytest.mark.parametrize(("grids", "wanted"), WRONG, ids=[wanted[:40] for _, wanted in WRONG])
def test_a_wrong_grid_is_refused_before_any_event_is_read(
    ctr: Command, grids: list[str], wanted: str
) -> None:
    """There is no file: it was not missed yet."""
    said = ctr("evaluate", "no.jsonl", *(word for text in grids for word in ("--grid", text)))
    one_line(said.err, wanted)
    assert (said.code, said.out) == (1, "")


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--write", "there.toml"], "--write must be a file that is not there yet"),
        (["--write", "no/best.toml"], "--write must be a file in a folder that is there"),
        (["--plot", "no/grid.svg"], "--plot must be a file in a folder that is there"),
        (["--plot", "."], "--plot must be a file in a folder that is there"),
        (["--plot", "grid.pdf"], "--plot must be a file name in .svg or .png; got 'grid.pdf'"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_learned(
    ctr: Command, tmp_path: Path, flags: list[str], wanted: str
) -> None:
    (tmp_path / "there.toml").write_text("[kafka]\n")
    said = ctr("evaluate", "no.jsonl", *GRID, *flags)
    one_line(said.err, wanted)
    assert (tmp_path / "there.toml").read_text() == "[kafka]\n"


def test_what_is_of_a_grid_wants_one(ctr: Command, events: Path) -> None:
    said = ctr("evaluate", events, "--plot", "grid.svg")
    assert said.code == 2
    assert said.err.endswith("Error: --write and --plot are of a grid: give --grid too.\n")


def test_tables_that_do_not_fit_are_refused() -> None:
    config = configs.load(environment={}, overrides={"features.bits": 20})
    axes = grid.parse(["l1=0,1,2"])
    needed = 3 * 16 << 20
    assert len(grid.expand(axes, config, needed)) == 3
    wanted = (
        "features.bits must be <= 19 for 3 variants: their tables take 50,331,648 bytes, and "
        "50,331,647 can be had; got 20"
    )
    with pytest.raises(SettingError, match=f"^{re.escape(wanted)}$"):
        grid.expand(axes, config, needed - 1)
    # one table takes what is learned, however large it may be
    assert len(grid.expand({}, config, 0)) == 1


def test_the_memory_that_can_be_had(tmp_path: Path) -> None:
    everything = available_memory(tmp_path)
    assert everything > 1 << 28
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   2048 kB\n")
    assert available_memory(tmp_path) == 2048 << 10
    limit = tmp_path / "sys" / "fs" / "cgroup" / "memory.max"
    limit.parent.mkdir(parents=True)
    limit.write_text("max\n")
    assert available_memory(tmp_path) == 2048 << 10
    limit.write_text("4096\n")
    assert available_memory(tmp_path) == 4096
