"""The benchmarks run, say what they measured, and give every program the same events."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ctr.cli import COMMANDS
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
    assert "| events per second " in done.stdout
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


def test_how_the_cost_grows_and_second_starts_are_measured(tmp_path):
    parts = ["--only", "scale-events", "--only", "scale-partitions", "--only", "start"]
    places = ["--files", tmp_path, "--json", tmp_path / "bench.json"]
    done = script("bench", "--quick", *parts, *places)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    by_part = {part: [r for r in rows if r["part"] == part] for part in dict.fromkeys(parts[1::2])}
    events, partitions, starts = by_part.values()
    assert [(row["who"], row["events"]) for row in events] == [("2,000", 2000), ("20,000", 20_000)]
    assert events[0]["cpu_beside"] == {"median": 1, "min": 1, "max": 1}
    assert all(row["cpu_seconds_per_million"]["min"] > 0 for row in events)
    assert [row["who"] for row in partitions] == ["1", "4", "16"]
    timed = {row["command"].split()[1].strip(",") for row in starts}
    assert timed == {*COMMANDS, "--help"} - {"demo", "gate", "hold", "release"}
    assert all(row["seconds"]["min"] > 0 for row in starts)
    for head in ("| events ", "| partitions ", "| command "):
        assert head in done.stdout


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


@pytest.mark.parametrize(
    "kind", ["narrow", "wide", "uniform", "broad", "simulated", "features-1", "features-120"]
)
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
    assert len(keys) == len(tokens) > (100 if kind != "features-1" else 5)


def test_uniform_values_are_as_popular_as_each_other():
    events = importlib.import_module("benchmarks.events")

    def most_popular(kind):
        """The share of the most popular value of the last column, which has a million."""
        lines = b"".join(events.lines(kind, 2000)).splitlines()
        values = [msgspec.json.decode(line)["features"]["c38"] for line in lines]
        return Counter(values).most_common(1)[0][1] / len(values)

    assert most_popular("uniform") < 0.01 < 0.04 < most_popular("wide")


def test_the_number_of_features_is_known_without_making_events():
    events, kinds = (importlib.import_module(f"benchmarks.{n}") for n in ("events", "kinds"))
    for kind in (*kinds.FEATURES, "features-7"):
        first = b"".join(events.lines(kind, 1))
        assert len(msgspec.json.decode(first)["features"]) == kinds.columns_of(kind)


def test_what_measures_stays_small():
    """A program's memory counts from the fork on, so its parent imports nothing large."""
    imports = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from benchmarks import grid, parts, passes, report, scaling, held, serving, start, tables;"
        "print({'numba', 'numpy', 'kafka'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", imports, str(ROOT / "scripts")]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "set()\n"


# ---- the programs


def driver(name, *arguments):
    file = ROOT / "scripts" / "benchmarks" / "drivers" / f"{name}.py"
    command = [sys.executable, file, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_vowpal_wabbit_learns_the_same_from_its_cache(tmp_path):
    events = importlib.import_module("benchmarks.events")
    text, cache = tmp_path / "events.vw", tmp_path / "events.cache"
    events.main("narrow", 500, tmp_path / "events.jsonl", text)
    from_text, making = (
        json.loads(driver("with_vw", text, 18, *more))["log_loss"] for more in ([], [cache])
    )
    text.write_text(text.read_text().splitlines()[0] + "\n")  # what is read now is the cache
    assert json.loads(driver("with_vw", text, 18, cache))["log_loss"] == making == from_text
    assert json.loads(driver("with_vw", text, 18))["log_loss"] != from_text


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux keeps to a core")
def test_a_pinned_program_has_one_core():
    cores = "import os; print(len(os.sched_getaffinity(0)))"
    assert driver("pinned", "last", sys.executable, "-c", cores) == "1\n"


def test_a_model_goes_on_through_short_passes(tmp_path):
    events = importlib.import_module("benchmarks.events")
    file = tmp_path / "events.jsonl"
    events.main("narrow", 300, file)
    told = json.loads(driver("grows", file, file, 18))
    assert told["counted"] == 300
    assert told["cpu"] > 0
    assert told["seconds"] > 0


def test_without_datatable_the_row_says_so(monkeypatch, tmp_path):
    passes = importlib.import_module("benchmarks.passes")
    parts, tables = (importlib.import_module(f"benchmarks.{n}") for n in ("parts", "tables"))
    monkeypatch.setattr(passes, "has_datatable", lambda: False)
    monkeypatch.setattr(passes, "others", lambda: None)
    monkeypatch.setattr(passes, "derived", lambda source, suffix, *_: f"{source}.{suffix}")
    seen = {}

    def compare(part, stream, contestants, repeats, reference):
        seen[stream] = [c.name for c in contestants]
        return []

    monkeypatch.setattr(passes, "compare", compare)
    sizes = replace(parts.QUICK, streams={"narrow": 20, "simulated": 20}, files=tmp_path)
    (row,) = passes.from_file(sizes)
    assert seen["narrow"] == seen["simulated"]
    assert [row["stream"], row["who"]] == ["narrow", "datatable"]
    assert "no wheel of datatable" in tables.by_part([row])["file"]


def test_a_served_model_is_made_and_measured(tmp_path):
    held, parts, tables = (
        importlib.import_module(f"benchmarks.{name}") for name in ("held", "parts", "tables")
    )
    sizes = replace(parts.QUICK, held=((14, 12_000, "q2.13"),), files=tmp_path)
    (row,) = held.held(sizes)
    assert row["weights"]["median"] == pytest.approx(12_000, rel=0.02)
    assert 2 < row["bytes_a_weight"]["median"] <= row["most_bytes_a_weight"]["median"] < 8
    assert row["hot_ns"]["min"] > 0
    assert row["commit_10000"]["min"] > 0
    assert "commit_100000" not in row
    assert "2^14 |" in tables.by_part([row])["held"]


# ---- what they are made of


@pytest.mark.parametrize("name", ["kinds", "report", "tables", "vw_text"])
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


def test_programs_are_compared_with_one_of_them_round_by_round(monkeypatch):
    measured = importlib.import_module("benchmarks.measured")

    def spent(*runs):
        return [measured.Run(wall, cpu, 9.0, said) for wall, cpu, said in runs]

    starts = {name: spent((0.1, 1, {}), (0.1, 1, {})) for name in "AB"}
    runs = {
        "A": spent((2.0, 3, {}), (4.0, 5, {})),
        "B": spent((9.0, 9, {"seconds": 1.0, "cpu": 6}), (9.0, 9, {"seconds": 1.0, "cpu": 2})),
    }
    monkeypatch.setattr(measured, "rounds", lambda *_: (starts, runs))
    both = [measured.Contestant(name, 1000, [], []) for name in "AB"]
    a, b = measured.compare("file", "any", both, 2, reference="A")
    assert a["rate_beside"] == a["cpu_beside"] == {"median": 1, "min": 1, "max": 1}
    assert b["rate_beside"] == {"median": 3, "min": 2, "max": 4}
    # its own figure of processor time, and the other's without that of its start
    assert b["cpu_beside"] == {"median": 1.75, "min": 0.5, "max": 3}
    assert "rate_beside" not in measured.compare("file", "any", both, 2)[0]


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
    assert "serving clicks on" in (tmp_path / "work" / "serve.log").read_text()
    assert "events learned" in (tmp_path / "work" / "train.log").read_text()


# ---- serving


def test_the_requests_are_as_the_page_says(tmp_path):
    events = importlib.import_module("benchmarks.events")
    serving = importlib.import_module("benchmarks.serving")
    (tmp_path / "events").write_bytes(b"".join(events.lines("features-25", 1100)))
    command = [sys.executable, "request_bodies.py", tmp_path / "events", tmp_path / "bodies"]
    folder = ROOT / "scripts" / "benchmarks" / "drivers"
    subprocess.run(list(map(str, command)), cwd=folder, check=True)
    for name in serving.REQUESTS:
        bodies = (tmp_path / "bodies" / name).read_bytes().splitlines()
        assert len(set(bodies)) > 1
        for body in map(msgspec.json.decode, bodies):
            rows = body.get("events") or body["candidates"]
            assert len(rows) == serving.PREDICTIONS[name]
            own = 5 if "context" in body else 20
            assert {len(row.get("features", row)) for row in rows} == {own}
            assert len(body.get("context", range(20))) == 20
