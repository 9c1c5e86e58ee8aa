"""The benchmarks run, say what they measured, and give every program the same events."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ctr.features.parser import Parser
from ctr.grid import expand, parse
from ctr.settings import Config, Features
from ctr.types import Records

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def script(name, *arguments):
    command = [sys.executable, ROOT / "scripts" / name, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


# ---- scripts/bench


def test_a_quick_run_prints_tables_and_writes_json(tmp_path):
    parts = ["--only", "parser", "--only", "stages", "--stream", "narrow"]
    places = ["--files", tmp_path, "--json", tmp_path / "bench.json"]
    done = script("bench", "--quick", *parts, *places)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [(row["part"], row["stream"]) for row in found["rows"]] == [
        ("parser", "narrow"),
        ("stages", "narrow"),
    ]
    rate = found["rows"][0]["events_per_second"]
    assert 0 < rate["min"] <= rate["median"] <= rate["max"]
    assert found["machine"]["cores"] > 0
    assert "| events per second |" in done.stdout
    assert "| learn " in done.stdout


def test_the_learner_is_measured_beside_its_roofline(tmp_path):
    places = ["--files", tmp_path, "--json", tmp_path / "bench.json"]
    done = script("bench", "--quick", "--only", "roofline", "--stream", "narrow", *places)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["case"] for row in rows] == ["power-law, 2^18", "uniform, 2^18"]
    for row in rows:
        assert all(row[name]["median"] > 0 for name in ("learn", "touch", "predict", "look"))
    assert "uniform, 2^18 |" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "gpu"], "invalid choice: 'gpu'"),
        (["--repeats", "0"], "--repeats must be > 0"),
        (["--quick", "--docs"], "leave --docs or --quick out"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    done = script("bench", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("kind", ["narrow", "wide", "simulated"])
def test_every_program_gets_the_same_features(kind):
    events, vw_text = (importlib.import_module(f"benchmarks.{n}") for n in ("events", "vw_text"))
    lines = b"".join(events.lines(kind, 300)).splitlines()
    batch = Parser(Features()).parse(Records.of(lines)).batch
    keys, tokens = {}, {}
    for row, line in enumerate(lines):
        event = msgspec.json.decode(line)
        label, _, features = vw_text.line(event).partition(" | ")
        assert (label.split()[0] == "1") == (batch.labels[row] == 1)
        # the first key is the bias, of which Vowpal Wabbit has one of its own
        ours = batch.keys[batch.indptr[row] + 1 : batch.indptr[row + 1]].tolist()
        theirs = features.split()
        assert len(ours) == len(theirs)
        keys |= dict(zip(theirs, ours, strict=True))
        tokens |= dict(zip(ours, theirs, strict=True))
    assert len(keys) == len(tokens) > 100


# ---- what they are made of


@pytest.mark.parametrize("name", ["report", "tables", "vw_text"])
def test_the_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(f"benchmarks.{name}"))
    assert tried
    assert not failed


def test_programs_run_in_turn_after_a_round_that_does_not_count(tmp_path):
    measured = importlib.import_module("benchmarks.measured")
    log = tmp_path / "log"

    def contestant(name, events):
        note = f"open({str(log)!r}, 'a').write({name!r})"
        count = f'{note}; print(\'{{"seconds": 0.5, "log_loss": 0.25}}\')'
        command, start = [sys.executable, "-c", count], [sys.executable, "-c", "pass"]
        return measured.Contestant(name, events, command, start)

    rows = measured.compare("file", "any", [contestant("A", 100), contestant("B", 7)], 3)
    assert log.read_text() == "ABABAB"
    assert [row["who"] for row in rows] == ["A", "B"]
    assert rows[0]["events_per_second"] == {"median": 200, "min": 200, "max": 200}
    assert rows[0]["log_loss"] == 0.25
    assert rows[0]["peak_mib"]["min"] > 1
    assert rows[0]["start_seconds"]["min"] > 0


def test_the_cost_of_one_more_variant_is_found_round_by_round_and_without_starting():
    cost, measured = (importlib.import_module(f"benchmarks.{n}") for n in ("grid", "measured"))

    def spent(*cpu):
        return [measured.Run(wall=0.0, cpu=x, peak_mib=0.0, said={}) for x in cpu]

    starts = {"1": spent(1, 1), "4": spent(2, 2)}
    runs = {"1": spent(3, 5), "4": spent(5.5, 12)}
    # beside 2 and 4 of its own: 3.5 and 10 for four of them
    found = cost.one_more(4, starts, runs, lambda run: run.cpu)
    assert found == {"median": 0.375, "min": 0.25, "max": 0.5}
    assert cost.one_more(1, starts, runs, lambda run: run.cpu) is None


def test_the_grids_have_as_many_variants_as_they_say():
    for variants, flags in importlib.import_module("benchmarks.grid").GRIDS.items():
        axes = parse(flags[1::2])
        assert len(expand(axes, Config(), memory=1 << 40)) == variants
        assert set(flags[::2]) <= {"--grid"}


def test_a_program_that_fails_is_said_with_its_error():
    measured = importlib.import_module("benchmarks.measured")
    processes = importlib.import_module("benchmarks.processes")
    with pytest.raises(processes.Failure, match="no such thing"):
        measured.run([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_a_block_of_the_page_is_replaced_and_the_rest_stays(tmp_path):
    report = importlib.import_module("benchmarks.report")
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n<!-- b -->\n<!-- /b -->\n")
    report.write_block("a", "new \\1", page)
    report.write_block("a", "newer \\1", page)
    assert page.read_text() == (
        "before\n<!-- a -->\n\nnewer \\1\n\n<!-- /a -->\nafter\n<!-- b -->\n<!-- /b -->\n"
    )
    with pytest.raises(ValueError, match="has no markers"):
        report.write_block("c", "", page)


def test_the_page_has_a_place_for_every_table():
    tables = importlib.import_module("benchmarks.tables")
    page = (ROOT / "docs" / "speed.md").read_text("utf-8")
    blocks = [f"bench-{part}" for part in tables.TABLES]
    for block in [*blocks, "freshness-kafka", "freshness-embedded"]:
        assert page.count(f"<!-- {block} -->\n") == page.count(f"<!-- /{block} -->\n") == 1


# ---- scripts/freshness


def test_freshness_is_measured_and_everything_ended(tmp_path):
    few = ["--bursts", "2", "--pretrain", "5000", "--rate", "500", "--settle", "0"]
    places = ["--keep", tmp_path / "work", "--json", tmp_path / "freshness.json"]
    done = script("freshness", "--embedded", *few, *places)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "freshness.json").read_text())
    assert len(found["visible_seconds"]) == 2
    for visible, acknowledged in zip(
        found["visible_seconds"], found["acknowledged_seconds"], strict=True
    ):
        assert 0 < acknowledged < visible
    assert all(seconds is not None for seconds in found["publish_began_seconds"])
    assert min(found["nonzero"]) > 0
    assert "| visible after " in done.stdout
    assert "Shutting down" in (tmp_path / "work" / "serve.log").read_text()
    assert "events learned" in (tmp_path / "work" / "train.log").read_text()
