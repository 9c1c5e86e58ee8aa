"""``ctr prune``: what is dropped, what it costs, and that nothing is written when it goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctr.features.parser import Parser
from ctr.learn.ftrl import FTRLProximal
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore, read, write
from ctr.settings import Features
from ctr.simulate import Simulator, SimulatorSettings
from ctr.types import Records
from tests import naive
from tests.cli.conftest import Command, Said
from tests.cli.test_errors import one_line

SPEC = Features(bits=12)
EVENTS = [
    (1, 2.0, "anna", "x"),
    (0, 1.0, "anna", "y"),
    (0, 0.5, "bert", "x"),
    (1, 1.0, "carl", "y"),
    (0, 4.0, "carl", "x"),
    (0, 1.0, "dora", "z"),
]
SIZES = ["weights", "file_bytes", "memory_bytes"]
FIGURES = ["log_loss", "normalized_entropy", "auc", "calibration"]


def line(label: int, weight: float, user: str, ad: str) -> str:
    event = {"label": label, "weight": weight, "features": {"user": user, "ad": ad}}
    return json.dumps(event)


def keys_of(event: tuple[int, float, str, str]) -> list[int]:
    records = Records.of([line(*event).encode()])
    return [int(key) for key in Parser(SPEC).parse(records).batch.keys]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A snapshot whose weights are known: multiples of 1/8 at the coordinates of ``EVENTS``."""
    coordinates = sorted({naive.coordinate(k, SPEC.bits) for e in EVENTS for k in keys_of(e)})
    weights = np.zeros(1 << SPEC.bits, np.float32)
    weights[coordinates] = [(-1) ** i * (1 + i % 5) / 8 for i in range(len(coordinates))]
    image = Image(SPEC.bits, exact=[0])
    image.update(range(len(weights) // 64), weights.reshape(-1, 64))
    path = tmp_path / "clicks.model"
    write(path, Manifest(version=3, model="clicks", spec=SPEC), image.model)
    (tmp_path / "events.jsonl").write_text("".join(line(*event) + "\n" for event in EVENTS))
    return path


def weights_in(path: Path) -> dict[int, float]:
    coordinates, values = read(path).model.weights()
    return dict(zip(coordinates.tolist(), values.tolist(), strict=True))


def counted(weights: dict[int, float]) -> dict[str, float]:
    """The figures on ``EVENTS`` of a model with these weights, by hand."""
    p = []
    for event in EVENTS:
        found = [naive.coordinate(key, SPEC.bits) for key in keys_of(event)]
        p.append(naive.logistic(sum(weights.get(c, 0.0) for c in found)))
    labels, given = [e[0] for e in EVENTS], [e[1] for e in EVENTS]
    figures = {**naive.figures(p, labels, given), "auc": naive.auc(p, labels, given)}
    return {name: figures[name] for name in FIGURES}


def tree(said: Said) -> dict[str, Any]:
    assert (said.code, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    return found


def test_the_cost_is_that_of_a_recount(ctr: Command, model: Path) -> None:
    before = weights_in(model)
    found = tree(ctr("prune", model, "--keep", "4", "--on", "events.jsonl", "--json"))
    after = weights_in(Path(found["output"]))
    assert set(after) < set(before)
    assert len(after) == 4
    assert 0 in after
    assert (found["events"], found["rejected"], found["skipped"]) == (len(EVENTS), {}, 0)
    # the logits lie further apart than the bins of the AUC, so that it is exact too
    was, now = counted(before), counted(after)
    assert {name: found["before"][name] for name in FIGURES} == pytest.approx(was, rel=1e-6)
    assert {name: found["after"][name] for name in FIGURES} == pytest.approx(now, rel=1e-6)
    for name in FIGURES + SIZES:
        assert found["difference"][name] == found["after"][name] - found["before"][name]
    assert found["difference"]["log_loss"] == pytest.approx(
        now["log_loss"] - was["log_loss"], abs=1e-6
    )
    assert now["log_loss"] != was["log_loss"]


def test_the_sizes_are_those_of_the_files(ctr: Command, model: Path) -> None:
    found = tree(ctr("prune", model, "--below", "0.3", "--json"))
    for column, path in (("before", model), ("after", Path(found["output"]))):
        snapshot = read(path)
        assert found[column] == {
            "weights": snapshot.model.nonzero,
            "file_bytes": path.stat().st_size,
            "memory_bytes": snapshot.model.nbytes,
        }
    assert found["events"] is None
    assert found["dropped"] == found["before"]["weights"] - found["after"]["weights"] > 0
    assert found["largest_dropped"] == 0.25
    left = weights_in(Path(found["output"]))
    assert left == {c: w for c, w in weights_in(model).items() if c == 0 or abs(w) >= 0.3}


def test_the_table_says_the_same(ctr: Command, model: Path) -> None:
    events = Path("events.jsonl")
    events.write_text(events.read_text() + '{"label":5}\n')
    arguments = ["prune", model, "--below", "0.3", "--on", "events.jsonl"]
    found = tree(ctr(*arguments, "-o", "a.model", "--json"))
    said = ctr(*arguments, "-o", "b.model")
    assert (said.code, said.err) == (0, "")
    dropped, there = found["dropped"], found["before"]["weights"]
    first = f"clicks, version 3: dropped {dropped} of {there} weights (|w| < 0.3), the largest 0.25"
    assert said.out.splitlines()[0] == first
    rows = {row[:20].strip(): row[20:].split() for row in said.out.splitlines()[3:10]}
    assert [row.replace(" ", "_") for row in rows] == SIZES + FIGURES
    for column, cells in enumerate(("before", "after", "difference")):
        for name, row in rows.items():
            number = float(row[column].replace(",", ""))
            assert number == pytest.approx(found[cells][name.replace(" ", "_")], abs=6e-5)
    assert "Scored on 6 events, 1 rejected.\nWritten to b.model\n" in said.out
    assert weights_in(Path("a.model")) == weights_in(Path("b.model"))


def test_without_events_the_cost_is_not_known(ctr: Command, model: Path) -> None:
    said = ctr("prune", model, "--keep", "4")
    assert said.code == 0
    assert "What it costs was not measured" in said.out
    assert "log loss" not in said.out


def test_more_than_there_are(ctr: Command, model: Path) -> None:
    said = ctr("prune", model, "--keep", "1000", "--on", "events.jsonl", "-o", "all.model")
    assert said.code == 0
    there = len(weights_in(model))
    assert f"nothing was dropped (all but 1,000 of {there} weights)" in said.out
    assert weights_in(Path("all.model")) == weights_in(model)
    assert "+0.000000" in said.out


def test_events_of_one_kind_have_no_auc(ctr: Command, model: Path) -> None:
    Path("clicks.jsonl").write_text(line(1, 1.0, "anna", "x") + "\n")
    said = ctr("prune", model, "--keep", "4", "--on", "clicks.jsonl", "-o", "a.model")
    assert said.code == 0
    assert "nan" not in said.out
    found = tree(
        ctr("prune", model, "--keep", "4", "--on", "clicks.jsonl", "-o", "b.model", "--json")
    )
    assert found["after"]["auc"] is found["difference"]["auc"] is None


def test_vowpal_wabbit_text_and_several_files(ctr: Command, model: Path) -> None:
    names = []
    for i, (label, weight, user, ad) in enumerate(EVENTS):
        names.append(f"{i}.vw")
        Path(names[i]).write_text(f"{2 * label - 1} {weight} |user {user} |ad {ad}\n")
    on = [word for name in names for word in ("--on", name)]
    vw = tree(ctr("prune", model, "--keep", "4", *on, "--format", "vw", "-o", "a.model", "--json"))
    own = tree(
        ctr("prune", model, "--keep", "4", "--on", "events.jsonl", "-o", "b.model", "--json")
    )
    assert {**vw, "output": ""} == {**own, "output": ""}


def test_the_newest_of_a_directory_and_a_pruned_one_again(ctr: Command, model: Path) -> None:
    store = SnapshotStore("snapshots", clock=lambda: 1.7e9)
    manifest, sparse = read(model)
    store.write(manifest, sparse)
    found = tree(ctr("prune", "snapshots", "--keep", "5", "--json"))
    beside = Path("snapshots/000000000003-1700000000000.pruned.model")
    assert Path(found["output"]) == beside
    again = tree(ctr("prune", beside, "--keep", "3", "-o", "again.model", "--json"))
    assert (again["before"]["weights"], again["after"]["weights"]) == (5, 3)
    rules = [entry["keep"] for entry in read(Path("again.model")).manifest.sections["pruned"]]
    assert rules == [5, 3]
    looked_at = ctr("inspect", "again.model", "--json")
    assert json.loads(looked_at.out)["nonzero_weights"] == 3


def test_a_file_that_is_there_is_overwritten_by_force_alone(ctr: Command, model: Path) -> None:
    before = model.read_bytes()
    for name in (model, "events.jsonl"):
        said = ctr("prune", model, "--keep", "4", "-o", name)
        one_line(said.err, "--output must be a file that is not there yet (or give --force); got")
        assert said.code == 1
    assert model.read_bytes() == before
    found = tree(ctr("prune", model, "--keep", "4", "-o", model, "--force", "--json"))
    assert found["before"]["file_bytes"] == len(before)
    assert len(weights_in(model)) == 4


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "exactly one of prune.below and prune.keep must be given; got 'neither'"),
        (
            ["--below", "1", "--keep", "2"],
            "exactly one of prune.below and prune.keep must be given",
        ),
        (["--below", "0"], "prune.below must be a finite number > 0; got 0.0"),
        (["--below", "-1"], "prune.below must be a finite number > 0; got -1.0"),
        (["--below", "inf"], "prune.below must be a finite number > 0; got inf"),
        (["--below", "nan"], "prune.below must be a finite number > 0; got nan"),
        (["--keep", "0"], "prune.keep must be a whole number >= 1; got 0"),
        (["--keep", "2", "-o", "none/a.model"], "--output must be a file in a folder that is"),
        (["--keep", "2", "-o", "."], "--output must be a file in a folder that is there; got '.'"),
        (["--keep", "2", "--on", "none.jsonl"], "none.jsonl: No such file or directory"),
        (["--keep", "2", "--on", "empty"], "--on must be files of json events that the model's"),
        (["--keep", "2", "--on", "clicks.model"], "own settings can read"),
    ],
)
def test_wrong_arguments_write_nothing(
    ctr: Command, model: Path, arguments: list[str], wanted: str
) -> None:
    Path("empty").touch()
    there = set(Path().iterdir())
    said = ctr("prune", model, *arguments)
    one_line(said.err, wanted)
    assert (said.code, said.out) == (1, "")
    assert set(Path().iterdir()) == there


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("none.model", "MODEL must be a snapshot file or a directory of them; got 'none.model'"),
        (".", "MODEL must be a directory with snapshots in it; got '.'"),
        ("events.jsonl", "events.jsonl is not a file of kind"),
    ],
)
def test_what_is_no_model(ctr: Command, model: Path, name: str, wanted: str) -> None:
    said = ctr("prune", name, "--keep", "2")
    one_line(said.err, wanted)
    assert said.code == 1


def test_the_loss_rises_as_a_dense_model_is_emptied(ctr: Command, tmp_path: Path) -> None:
    """Train dense, then drop: a tenth of the weights does most of the work, the bias alone none."""
    simulator = Simulator(SimulatorSettings(seed=5, drift=0.0))
    learned, unseen = simulator.batch(20_000).data, simulator.batch(10_000).data
    spec = Features(bits=16)
    learner = FTRLProximal(bits=16, l1=0.0, unpenalised=[0])
    learner.learn(Parser(spec).parse(Records.of([learned])).batch)
    image = Image(16, exact=[0])
    pages = learner.touched_pages()
    image.update(pages, learner.page_weights(pages))
    write(tmp_path / "dense.model", Manifest(version=1, spec=spec), image.model)
    (tmp_path / "unseen.jsonl").write_bytes(unseen)
    losses = []
    for keep in (image.model.nonzero, image.model.nonzero // 10, 100, 1):
        to = f"{keep}.model"
        found = tree(
            ctr("prune", "dense.model", "--keep", keep, "--on", "unseen.jsonl", "-o", to, "--json")
        )
        assert found["after"]["weights"] == keep
        assert found["events"] == 10_000
        losses.append(found["after"]["log_loss"])
    assert losses[0] == found["before"]["log_loss"]
    assert losses[0] < losses[-1]
    assert losses[1] - losses[0] < 0.25 * (losses[-1] - losses[0])
