"""``ctr evaluate --grid``: many variants in one pass, each as if it had been alone."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr import config as configs
from ctr import grid
from ctr.cli.options import FORMATS
from ctr.evaluate import evaluate, evaluate_all
from ctr.features import formats
from ctr.features.parser import Parser
from ctr.learn import make
from ctr.settings import Config, Learner
from ctr.stream.files import FileSource
from tests.cli.conftest import Command

GRID = ["--grid", "alpha=0.05,0.2", "--grid", "l1=0.5,1,3"]
NEVER_THE_SAME = {"seconds", "events_per_second"}


def tree(ctr: Command, *arguments: object) -> dict[str, Any]:
    said = ctr("evaluate", *arguments, "--json")
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return {name: value for name, value in found.items() if name not in NEVER_THE_SAME}


# ---- the pass


@pytest.mark.parametrize(
    "flags",
    [
        GRID,
        ["--grid", "name=ftrl,rda,fobos,ogd,ogd-count", "--grid", "n=squares,counts"],
        ["--grid", "schedule=constant,power(r=1000,c=0.5)", "--grid", "state=default,q2.13"],
        ["--learner", "ogd", "--rates", "global", "--grid", "momentum=0,0.5,0.9"],
    ],
)
def test_each_variant_is_as_a_run_of_its_own_to_the_bit(
    ctr: Command, events: Path, flags: list[str]
) -> None:
    """The figures are doubles that JSON carries exactly."""
    split = flags.index("--grid")
    own = flags[:split]
    together = tree(ctr, events, *flags)
    variants = together.pop("variants")
    assert len(variants) == math.prod(axis.count(",") + 1 for axis in axes_of(flags))
    assert len({json.dumps(variant) for variant in variants}) == len(variants)
    for variant in variants:
        alone = [f"learner.{key}={value}" for key, value in variant.pop("settings").items()]
        flags_alone = [word for text in alone for word in ("--set", text)]
        del variant["front"]
        expected = {**variant, **{k: v for k, v in together.items() if k != "winner"}}
        assert tree(ctr, events, *own, *flags_alone) == expected


def axes_of(flags: list[str]) -> list[str]:
    """The texts of the grid, without the commas that are in parentheses."""
    return [
        re.sub(r"\(.*?\)", "", flags[i + 1]) for i, word in enumerate(flags) if word == "--grid"
    ]


def test_threads_change_nothing(events: Path) -> None:
    config = configs.load(environment={}, overrides={"features.bits": 16})
    learners = [Learner(alpha=alpha, l1=l1) for alpha in (0.02, 0.1, 0.5) for l1 in (0.0, 2.0)]
    found = []
    for threads in (1, 2, 7):
        source = FileSource([events], batch_bytes=50_000)
        parsers = [Parser(config.features) for _ in range(threads)]
        made = [make(learner, 16, seed=0) for learner in learners]
        evaluations = evaluate_all(config, source, parsers, made, threads=threads)
        found.append([evaluation.to_tree() for evaluation in evaluations])
    for one in found:
        for figures in one:
            for name in NEVER_THE_SAME:
                del figures[name]
    assert found[0] == found[1] == found[2]
    alone = evaluate(
        config, FileSource([events]), Parser(config.features), make(learners[3], 16, 0)
    )
    assert alone.figures.log_loss == found[0][3]["log_loss"]


def test_a_learner_that_fails_ends_the_pass(events: Path) -> None:
    class Broken:
        def learn(self, batch: object) -> None:
            if len(batch):  # type: ignore[arg-type]
                raise ArithmeticError("not today")
            return []

    config = Config()
    good, bad = make(config.learner, 12, 0), Broken()
    with pytest.raises(ArithmeticError, match="not today"):
        evaluate_all(config, FileSource([events]), [Parser(config.features)], [good, bad])  # type: ignore[list-item]


# ---- what is said


def test_the_table_the_front_and_the_winner(ctr: Command, events: Path) -> None:
    said, found = ctr("evaluate", events, *GRID), tree(ctr, events, *GRID)
    assert said.code == 0
    rows = re.findall(
        r"^(0\.\d+) +([\d.]+) +(0\.\d{6}) .* ([\d,]+)(?:  (front|winner))?$", said.out, re.M
    )
    by_loss = sorted(found["variants"], key=lambda variant: variant["log_loss"])
    assert len(rows) == len(by_loss) == 6
    best = found["variants"][found["winner"]["variant"]]
    assert best is by_loss[0]
    for variant, (alpha, l1, loss, nonzero, mark) in zip(by_loss, rows, strict=True):
        assert variant["settings"] == {"alpha": float(alpha), "l1": float(l1)}
        assert loss == f"{variant['log_loss']:.6f}"
        assert nonzero == f"{variant['nonzero_weights']:,}"
        assert mark == ("winner" if variant is best else "front" if variant["front"] else "")
    assert f"winner: alpha = {rows[0][0]}, l1 = {rows[0][1]}, the lowest log loss" in said.out
    printed = tomllib.loads(said.out[said.out.index("[learner]") :])
    assert printed == {"learner": found["winner"]["learner"]}
    assert printed["learner"].items() > best["settings"].items()
    assert len({on for _, _, _, _, on in rows}) > 1


def test_a_grid_of_one_is_the_run_itself(ctr: Command, events: Path) -> None:
    one = tree(ctr, events, "--grid", "learner.alpha= 0.07")
    assert one["variants"][0]["log_loss"] == tree(ctr, events, "--alpha", "0.07")["log_loss"]
    assert (one["winner"]["variant"], one["variants"][0]["front"]) == (0, True)


def test_the_values_of_the_grid_are_what_counts(ctr: Command, events: Path) -> None:
    """Those of a flag or a file do not, not even where they would contradict the rest."""
    found = tree(ctr, events, "--l1", "7", "--momentum", "0.9", "--grid", "momentum=0", *GRID)
    expected = tree(ctr, events, *GRID)
    assert found["winner"] == expected["winner"]
    assert [v["log_loss"] for v in found["variants"]] == [
        v["log_loss"] for v in expected["variants"]
    ]


def test_the_progress_of_a_grid_is_shown_on_a_terminal(events: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ctr", "evaluate", str(events), *GRID]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, cwd=tmp_path)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert re.search(r"[\d,]+ events, 6 variants", shown)
    assert "variants  [" not in done.stdout.decode()


def test_no_event_that_can_be_read(ctr: Command, tmp_path: Path) -> None:
    (tmp_path / "flat.jsonl").write_text('{"clicked": 1}\n')
    said = ctr("evaluate", "flat.jsonl", *GRID, "--write", "best.toml", "--plot", "grid.svg")
    assert said.code == 1
    assert "No event could be read with these settings." in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["flat.jsonl"]


# ---- the winner's settings


def test_the_settings_that_are_written_give_the_winners_figures(
    ctr: Command, events: Path, tmp_path: Path
) -> None:
    own = ["--set", 'features.crosses=[["user","ad"]]', "--bits", "14", "--set", "model.seed=3"]
    own += ["--set", 'features.exclude=["a \\"quoted\\" \\u007f one"]', "--schedule", "constant"]
    own += ["--set", 'features.columns={"price": "log_bucket"}', "--keep-without-click", "0.5"]
    found = tree(ctr, events, *own, *GRID, "--write", "best.toml")
    best = found["variants"][found["winner"]["variant"]]
    read = configs.load(tmp_path / "best.toml", environment={})
    overrides = {"features.crosses": [["user", "ad"]], "features.bits": 14, "model.seed": 3}
    overrides |= {"features.exclude": ['a "quoted" \x7f one'], "learner.schedule": "constant"}
    overrides |= {"features.columns": {"price": "log_bucket"}, "events.keep_without_click": 0.5}
    overrides |= {f"learner.{name}": value for name, value in best["settings"].items()}
    assert read == configs.load(environment={}, overrides=overrides)
    again = tree(ctr, events, "--config", "best.toml")
    assert again.items() > {k: v for k, v in best.items() if k not in ("settings", "front")}.items()


def test_train_reads_what_is_written(ctr: Command, events: Path) -> None:
    said = ctr("evaluate", events, "--bits", "16", *GRID, "--write", "best.toml")
    assert said.out.endswith("\nits settings are in best.toml\n")
    winner = re.search(r"(0\.\d{6}) .* ([\d,]+)  winner$", said.out, re.M)
    assert winner is not None
    trained = ctr("train", events, "--config", "best.toml")
    assert trained.code == 0
    assert f"log loss {float(winner[1]):.5f}" in trained.err
    assert f" {winner[2]} weights of " in trained.err


# ---- the front

NUMBERS = st.integers(0, 6).map(float) | st.just(math.nan)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30)


@given(POINTS)
def test_the_front_is_that_of_comparing_all_with_all(points: list[tuple[float, float]]) -> None:
    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and a[1] <= b[1] and a != b

    known = [point for point in points if not any(map(math.isnan, point))]
    expected = [
        point in known and not any(beats(other, point) for other in known) for point in points
    ]
    assert grid.pareto(points) == expected


@given(POINTS.filter(lambda points: any(not math.isnan(x + y) for x, y in points)))
def test_the_winner_has_the_lowest_loss_and_is_on_the_front(
    points: list[tuple[float, float]],
) -> None:
    points = [point for point in points if not math.isnan(point[0] + point[1])]
    best = grid.winner([(math.nan, 0.0), *points]) - 1
    assert points[best][0] == min(loss for loss, _ in points)
    assert grid.pareto(points)[best]


# ---- the formats


def test_the_formats_are_those_that_there_are() -> None:
    assert tuple(FORMATS) == formats.FORMATS


def test_what_a_format_says_of_its_columns_is_written_too(ctr: Command, tmp_path: Path) -> None:
    row = "\t".join(["1", *["5"] * 13, *["68fd1e64"] * 26])
    (tmp_path / "day.txt").write_text(f"{row}\n0{row[1:]}\n")
    said = ctr("evaluate", "day.txt", "--format", "criteo", *GRID, "--write", "best.toml")
    assert said.code == 0, said.err
    read = configs.load(tmp_path / "best.toml", environment={})
    assert read.features == formats.with_defaults("criteo", Config().features)
    assert read.features.columns["I1"] == "log_bucket"
