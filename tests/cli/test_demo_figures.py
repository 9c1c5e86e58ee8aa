"""What the demonstration computes and prints, without its processes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ctr import config
from ctr.cli.demo import shortfall, world
from ctr.cli.demo.broker import Broker
from ctr.cli.demo.children import Child, ChildEndedError, Children
from ctr.cli.demo.figures import (
    Gap,
    Learned,
    Predicted,
    Row,
    Stream,
    gap,
    read_metrics,
    read_report,
)
from ctr.cli.demo.screen import Screen
from ctr.metrics.progressive import Progressive
from ctr.observe.http import MetricsEndpoint
from ctr.observe.trainer import TrainerMetrics
from ctr.simulate import Simulator, SimulatorSettings


def learned(events: int = 100_000, log_loss: float = 0.3, gate_open: bool = True) -> Learned:
    return Learned(events, log_loss, 5000, 0.95, 7, gate_open)


def row(closed: float, gate_open: bool = True) -> Row:
    base, best = 0.4, 0.3
    figures = Gap(base, base - closed * (base - best), best)
    return Row(3.0, learned(gate_open=gate_open), figures, Predicted(0.125, 9, 1e9), 0.5)


# ---- the gap


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=30), st.data())
def test_losses_between_reports_are_those_of_the_events_between(
    sizes: list[int], data: st.DataObject
) -> None:
    """At the ends of reports nothing is interpolated: there it is exact."""
    draw = np.random.default_rng(sum(sizes))
    clicks = [int(draw.integers(0, size + 1)) for size in sizes]
    losses = [float(size * draw.random()) for size in sizes]
    stream = Stream()
    for i in range(len(sizes)):
        n = sum(sizes[: i + 1])
        total = {"clicks": sum(clicks[: i + 1]), "realized_log_loss": sum(losses[: i + 1]) / n}
        stream.add({"events": n, **total})
    first = data.draw(st.integers(0, len(sizes) - 1))
    last = data.draw(st.integers(first + 1, len(sizes)))
    count = sum(sizes[first:last])
    base, best = stream.between(sum(sizes[:first]), sum(sizes[:last]))
    p = sum(clicks[first:last]) / count
    expected = -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)
    assert base == pytest.approx(expected, abs=1e-9)
    assert best == pytest.approx(sum(losses[first:last]) / count, abs=1e-9)


def test_a_model_that_is_the_truth_closes_the_gap_and_the_base_rate_nothing_of_it() -> None:
    """On a simulated stream, reported as the simulator does, judged as the trainer does."""
    simulator, stream = Simulator(SimulatorSettings(seed=4)), Stream()
    window = 20_000
    truth, constant = Progressive(window), Progressive(window)
    for _ in range(12):
        batch = simulator.batch(5000)
        stream.add(simulator.figures())
        truth.update(batch.p, batch.labels)
        constant.update(np.full(5000, simulator.totals.base_rate), batch.labels)
    events = truth.total.events
    assert gap(stream, learned(events, truth.window.log_loss), window).closed == pytest.approx(
        1, abs=0.05
    )
    assert gap(stream, learned(events, constant.window.log_loss), window).closed == pytest.approx(
        0, abs=0.05
    )


def test_a_trainer_ahead_of_the_last_report_or_without_any() -> None:
    stream = Stream()
    assert math.isnan(gap(stream, learned(500), 100).closed)
    stream.add({"events": 400, "clicks": 100, "realized_log_loss": 0.25})
    assert gap(stream, learned(500), 1000).best == pytest.approx(0.25)


def test_old_reports_are_forgotten() -> None:
    stream = Stream(reports=3)
    for n in range(1, 11):
        stream.add({"events": 100 * n, "clicks": 10 * n, "realized_log_loss": 0.3})
    assert stream.events == 1000
    assert stream.between(850, 950)[1] == pytest.approx(0.3)


def test_the_verdict() -> None:
    assert shortfall([row(0.1), row(0.5)]) == ""
    assert "closed 49% of the gap" in shortfall([row(0.9), row(0.49)])
    assert shortfall([]) == "no prediction was served"
    assert "closed nan%" in shortfall([row(math.nan)])


# ---- where the figures come from


def test_the_trainers_metrics_are_read() -> None:
    registry = CollectorRegistry()
    metrics, progressive = TrainerMetrics(registry, "clicks"), Progressive(1000)
    progressive.update([0.9, 0.2, 0.4], [1, 0, 1])
    metrics.learned(3, 1_700_000_000_000)
    metrics.rejected({"syntax": 4, "label": 5})
    metrics.figures(progressive.total, progressive.window)
    metrics.model(nonzero=10, touched=40, bits=22, learning_rate=0.1)
    metrics.gate(False)
    with MetricsEndpoint(registry, "127.0.0.1", 0) as endpoint:
        found = read_metrics(endpoint.url)
    assert found == Learned(3, progressive.window.log_loss, 10, 0.75, 9, False)
    with pytest.raises(OSError, match="refused"):
        read_metrics(endpoint.url)


def test_there_is_no_report_before_the_first_event(tmp_path: Path) -> None:
    assert read_report(tmp_path / "report.json") is None
    (tmp_path / "report.json").write_text('{"events": 0}')
    assert read_report(tmp_path / "report.json") is None


@pytest.mark.parametrize("bootstrap", [None, "127.0.0.1:9092"])
def test_its_settings_are_complete(tmp_path: Path, bootstrap: str | None) -> None:
    file = tmp_path / "ctr.toml"
    file.write_text(world.settings(tmp_path, bootstrap, 20_000))
    loaded = config.load(file, {})
    assert loaded.metrics.window == 20_000
    assert loaded.serve.port == loaded.metrics.port == 0
    kinds = {loaded.events.source, loaded.publish.to, loaded.dead_letters.to}
    assert kinds == {"kafka" if bootstrap else "directory"}
    assert loaded.features.crosses
    assert str(tmp_path) in loaded.path(loaded.checkpoint.directory)


def test_it_asks_for_what_is_seen_often() -> None:
    asked = world.askable(seed=1)
    assert len(asked) == 20
    assert all(features["user"] in {f"u{i}" for i in range(1000)} for features in asked)
    assert world.spell(asked[0]).startswith("user=u")


# ---- processes


def test_the_last_words_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Children(tmp_path) as children:
        child = children.start("trainer", "train", "no.jsonl")
        child.process.wait(60)
        with pytest.raises(ChildEndedError) as told:
            children.check()
    assert str(told.value).startswith("the trainer ended with code 1; its last lines:\n    error: ")


def test_a_process_that_may_end_well(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("version", "--version", may_end=True)
        child.process.wait(60)
        children.check()
        assert child.find(r"version (\S+)")
        assert child.find("nothing like it") is None


def test_one_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr.cli.demo.children._PATIENCE", 0.2)
    (tmp_path / "deaf.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Children(tmp_path) as children:
        child: Child = children.start("deaf", module="deaf")
        while child.find("(ready)") is None:
            assert child.running
    assert child.process.returncode == -9


def test_settings_of_the_environment_do_not_reach_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or simulated clicks would be written to somebody's real broker."""
    monkeypatch.setenv("CTR_KAFKA__BOOTSTRAP_SERVERS", "production:9092")
    monkeypatch.setenv("CTR_KAFKA_CACHE", "/jars")
    (tmp_path / "show.py").write_text("import os\nprint(sorted(os.environ))\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Children(tmp_path) as children:
        child = children.start("show", module="show", may_end=True)
        child.process.wait(60)
    assert child.find("CTR_KAFKA__") is None
    assert child.find("(CTR_KAFKA_CACHE)") is not None


def test_a_broker_that_cannot_be_had_and_one_that_takes_long(tmp_path: Path) -> None:
    script = tmp_path / "kafka"
    script.write_text("import sys\nsys.exit('start' in sys.argv)\n")
    broker = Broker(tmp_path / "data", script)
    assert broker.address() is None
    broker.stop()
    script.write_text("import sys, time\nif 'start' in sys.argv: time.sleep(600)\n")
    slow = Broker(tmp_path / "data", script)
    assert not slow.settled
    slow.stop()
    assert slow.settled


# ---- the screen


def test_a_closed_gate_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.row(row(0.5), 1000.0, "user=u1")
    assert "gate" not in capsys.readouterr().out
    screen.row(row(0.5, gate_open=False), 1000.0, "user=u1")
    assert "the gate is closed, nothing new is published" in capsys.readouterr().out


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().row(row(0.5), 123_456.0, world.spell(world.askable(1)[0]))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 90 for line in lines)
    head, figures = lines[1], lines[2]
    assert len(head) == len(figures)
