"""The experiments run, say what they found, and count what they claim to count."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "experiments.md"


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def experiments(*arguments):
    command = [sys.executable, ROOT / "scripts" / "experiments", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.fixture(scope="module")
def small_grids():
    """A plan with a budget of two settings a learner, two streams of each kind."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        plan = importlib.import_module("studies.plan")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    few = {name: grid[6:8] for name, grid in (plan.GRIDS | plan.MORE).items()}
    made = plan.Plan(20_000, 2, grids=few)
    # thousandths of what is run for the page, in batches of which some can be held out
    made._streams.update(
        {
            (kind, seed): _cut(made._made(kind, seed))
            for kind in plan.KINDS
            for seed in (1, 2, plan.TUNING_SEED)
        }
    )
    return made


def _cut(stream):
    streams = importlib.import_module("studies.streams")
    return streams.Stream(
        stream.name, list(streams._resized(iter(stream.batches))), stream.truth, stream.bits
    )


STUDIES = {
    "learners": ["FTRL-Proximal", "RDA", "FOBOS", "OGD-Count", "OGD, l1 subgradient"],
    "path": ["FTRL-Proximal, l1 0, pruned", "FOBOS, idle weights too"],
    "rates": ["FTRL-Proximal", "RDA", "OGD"],
    "schedules": ["constant", "performance(window=1e5,factor=0.5)"],
    "precision.encoding": ["published in q2.13", "OGD, l1 subgradient"],
    "precision.counts": ["squares", "counts"],
    "sampling": ["0.05", "0.1, unweighted"],
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_a_row_for_each_way_on_each_kind_of_stream(small_grids, tmp_path, name):
    module, _, function = name.partition(".")
    study = getattr(importlib.import_module(f"studies.{module}"), function or "study")
    found = study(small_grids)
    assert "**Stationary" in found.text
    assert "**Drifting" in found.text
    for way in STUDIES[name]:
        assert found.text.count(f"| {way} ") >= 2, way
    assert json.loads(json.dumps(found.rows))
    written = importlib.import_module("studies.findings").save(found, tmp_path)
    assert len(written) == len(found.pictures)
    assert all(b"<svg" in file.read_bytes() for file in written)


def test_runs_are_judged_by_predictions_made_before_learning(small_grids):
    runs = importlib.import_module("studies.runs")
    stream = small_grids.streams("stationary")[0]
    found = runs.run(runs.settings(l1=0.5, schedule="constant"), stream)
    learner = runs.new(runs.settings(l1=0.5, schedule="constant"), stream)
    learnt, rest = stream.parts()
    assert len(learnt) / len(stream.batches) == pytest.approx(0.8, abs=0.05)
    probabilities = [learner.learn(batch) for batch in learnt]
    held_out = np.concatenate([learner.predict(batch) for batch in rest]).astype(float)
    assert found.nonzero_held_out == learner.nonzero
    assert found.held_out.log_loss == pytest.approx(_log_loss(held_out, rest), rel=1e-6)
    first = _log_loss(probabilities[0].astype(float), learnt[:1])
    assert found.losses[0] == pytest.approx(first, rel=1e-6)


def _log_loss(p, batches):
    labels = np.concatenate([batch.labels for batch in batches])
    weights = np.concatenate([batch.weights for batch in batches])
    return np.average(-np.where(labels == 1, np.log(p), np.log(1 - p)), weights=weights)


def test_fobos_to_the_letter_shrinks_idle_weights(small_grids):
    from ctr.learn import FOBOS
    from ctr.types import Batch

    runs = importlib.import_module("studies.runs")
    fobos = importlib.import_module("studies.fobos").ShrinkingFOBOS
    once = Batch([0, 1], [9], [1], [1])
    others = Batch(np.arange(101), np.full(100, 77), np.ones(100), np.arange(100) % 2)
    with_l1, without = (fobos(runs.settings(name="fobos", l1=l1), 8) for l1 in (0.003, 0.0))
    ours = FOBOS(bits=8, l1=0.0, l2=0.0)
    for learner in (with_l1, without, ours):
        learner.learn(once)
        learner.learn(others)
    np.testing.assert_allclose(without.predict(others), ours.predict(others), rtol=1e-6)
    kept = without.predict(once)[0]
    assert 0.5 < with_l1.predict(once)[0] < kept
    with_l1.learn(others)
    assert with_l1.predict(once)[0] == 0.5
    assert (with_l1.nonzero, without.nonzero) == (1, 2)


def test_the_fewest_weights_for_a_loss_lie_between_two_models():
    path = importlib.import_module("studies.path")
    points = [path.Point("w", "", n, loss, "s") for n, loss in ((100, 0.4), (10_000, 0.3))]
    assert path._needed(points, 0.3) == pytest.approx(10_000)
    assert path._needed(points, 0.35) == pytest.approx(1_000)
    assert path._needed(points, 0.45) == 100
    assert path._needed(points, 0.29) is None


def test_a_file_of_ones_own_goes_through_it(tmp_path):
    from ctr.simulate import Simulator, SimulatorSettings

    file = tmp_path / "events.jsonl"
    file.write_bytes(Simulator(SimulatorSettings(seed=3)).batch(3000).data)
    done = experiments(file, "--only", "counts", "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    assert "**events.jsonl**" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["events"] == 3000
    assert {row["settings"]["n"] for row in found["counts"]} == {"squares", "counts"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "luck"], "invalid choice: 'luck'"),
        (["--events", "10"], "--events must be >= 20000"),
        (["--quick", "--docs"], "leave --docs or the others out"),
        (["FILE", "--only", "reach"], "on files there are only"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    done = experiments(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_page_has_a_place_for_every_study():
    text = PAGE.read_text("utf-8")
    script = (ROOT / "scripts" / "experiments").read_text("utf-8")
    names = [line.split('"')[1] for line in script.splitlines() if line.startswith('    "')]
    assert len(names) == 10
    for name in names:
        block = text.split(f"<!-- study-{name} -->")[1].split(f"<!-- /study-{name} -->")[0]
        assert "| " in block, f"{name} was not run for the page"
    for image in ("path-stationary.svg", "path-drifting.svg", "schedules.svg"):
        assert f"images/{image}" in text
        assert (PAGE.parent / "images" / image).exists()
