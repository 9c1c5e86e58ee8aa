"""Training on a share of the events without a click: calibrated, counted, and resumed exactly."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from ctr.cli import main
from ctr.features.parser import Parser
from ctr.features.subsample import subsample
from ctr.learn import Learner, make
from ctr.settings import Config
from ctr.simulate import KINDS, Simulator, SimulatorSettings
from ctr.stream.letter_log import read_letters
from ctr.stream.memory import MemorySource
from ctr.train.checkpoint import CheckpointStore
from ctr.train.start import train
from ctr.train.state import PARTS, State
from ctr.types import Batch, Events, Positions, Records
from tests.e2e.states import differences, newest

from .embedded import config_of

CONSTANT = {"learner.schedule": "constant"}


def trained(
    directory: Path, values: list[bytes], share: float, batch_records: int = 1000
) -> tuple[State, CollectorRegistry]:
    """A trainer's state after all of ``values``, begun anew or gone on with."""

    def opened(config: Config, resume: Positions) -> MemorySource:
        return MemorySource(values, resume=resume, batch_records=batch_records)

    config = config_of(directory, **CONSTANT, **{"events.keep_without_click": share})
    registry = CollectorRegistry()
    state = train(config, threading.Event(), registry, open_events=opened)
    return state, registry


# ---- calibration


class Run(NamedTuple):
    """A learner that is shown a share, with the weights for it or without."""

    learner: Learner
    share: float
    weighted: bool
    said: list[np.ndarray]

    def take(self, events: Events) -> int:
        """Predict every event, learn a share; how many that was."""
        self.said.append(self.learner.predict(events.batch))
        batch = subsample(events, self.share).batch
        if not self.weighted:
            batch = Batch(batch.indptr, batch.keys, batch.values, batch.labels)
        self.learner.learn(batch)
        return len(batch)


@pytest.mark.parametrize("base_rate", [0.1, 0.02])
def test_calibration_holds(base_rate: float) -> None:
    """On all events, none of them learned yet; without the weights the share is taken for all.

    Figures are by each event's true probability, so that the noise of clicks is not in them.
    """
    config = config_of(Path("none"), **CONSTANT, **{"learner.l1": 0.5})
    parser, rounds, size = Parser(config.features), 300, 500
    whole, part, naive = (
        Run(make(config.learner, config.features.bits, 0), share, weighted, [])
        for share, weighted in ((1.0, True), (0.1, True), (0.1, False))
    )
    simulator = Simulator(SimulatorSettings(seed=5, base_rate=base_rate, drift=0))
    truth, kept = [], 0
    for i in range(rounds):
        simulated = simulator.batch(size)
        events = parser.parse(Records.of(simulated.lines, first=i * size))
        truth.append(simulated.p)
        assert whole.take(events) == size
        kept += part.take(events)
        naive.take(events)
    rate = np.concatenate(truth).mean()
    assert kept == pytest.approx(rounds * size * (rate + 0.1 * (1 - rate)), rel=0.03)

    def judged(run: Run) -> tuple[float, float]:
        """Calibration and log loss of the second half."""
        p = np.concatenate(run.said[rounds // 2 :]).astype(float)
        q = np.concatenate(truth[rounds // 2 :])
        return p.sum() / q.sum(), -(q * np.log(p) + (1 - q) * np.log1p(-p)).mean()

    base = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    for calibration, log_loss in (judged(whole), judged(part)):
        assert calibration == pytest.approx(1, abs=0.05)
        assert log_loss < 0.9 * base
    # a share learns a little less
    assert judged(whole)[1] < judged(part)[1] < 1.03 * judged(whole)[1]
    # p / (1 - p) is ten times too much
    assert judged(naive)[0] > 3
    assert judged(naive)[1] > 1.5 * base


def test_progressive_metrics_are_those_of_the_whole_stream(tmp_path: Path) -> None:
    events = Simulator(SimulatorSettings(seed=6)).batch(60_000)
    state, _ = trained(tmp_path, events.lines, 0.2)
    whole, _ = trained(tmp_path / "whole", events.lines, 1.0)
    figures, wanted = state.progressive.total, whole.progressive.total
    assert figures.observed_clicks == wanted.observed_clicks
    assert figures.predicted_clicks == pytest.approx(wanted.predicted_clicks, rel=0.05)
    assert figures.base_rate == pytest.approx(wanted.base_rate, rel=0.02)
    assert figures.calibration == pytest.approx(1, abs=0.05)
    assert figures.log_loss == pytest.approx(wanted.log_loss, rel=0.05)
    assert figures.events == state.learner.events_learned == state.gate.events
    assert state.subsampled == 60_000 - figures.events > 40_000
    assert state.gate.last is not None
    assert state.gate.last.calibration == pytest.approx(1, abs=0.4)  # 500 kept events
    assert state.gate.open


# ---- counted, checkpointed, resumed


@pytest.fixture(scope="module")
def stream() -> list[bytes]:
    """6,000 events, one in twenty bad."""
    kinds = tuple(kind for kind in KINDS if kind not in ("empty", "too_long"))
    settings = SimulatorSettings(seed=8, bad_share=0.05, bad_kinds=kinds)
    return Simulator(settings).batch(6000).lines


def test_going_on_is_the_same_as_never_having_stopped(tmp_path: Path, stream: list[bytes]) -> None:
    whole, _ = trained(tmp_path / "whole", stream, 0.3)
    for stop in (700, 701, 3500, 6000):
        first, _ = trained(tmp_path / "parts", stream[:stop], 0.3, batch_records=130)
        assert first.positions["memory:list"].offset == stop
    assert 0 < first.subsampled == whole.subsampled
    assert first.learner.events_learned == whole.learner.events_learned < 3000
    one, other = newest(tmp_path / "whole" / "state"), newest(tmp_path / "parts" / "state")
    assert differences(one, other) == []
    # and the share does matter
    trained(tmp_path / "more", stream, 0.31)
    assert differences(one, newest(tmp_path / "more" / "state"))


def test_left_out_events_are_counted_beside_the_others(tmp_path: Path, stream: list[bytes]) -> None:
    def value(name: str, registry: CollectorRegistry) -> float:
        return registry.get_sample_value(name, {"model": "clicks"}) or 0

    half, registry = trained(tmp_path, stream[:3000], 0.3)
    assert value("ctr_events_subsampled_total", registry) == half.subsampled > 1500
    state, registry = trained(tmp_path, stream, 0.3)
    assert value("ctr_events_subsampled_total", registry) == state.subsampled > half.subsampled
    learned = value("ctr_events_learned_total", registry)
    assert learned == state.learner.events_learned
    assert learned + state.subsampled + sum(state.rejected.values()) == 6000
    assert state.skipped == 0


def test_dead_letters_are_the_same(tmp_path: Path, stream: list[bytes]) -> None:
    found = []
    for share in (1.0, 0.01):
        directory = tmp_path / str(share)
        state, _ = trained(directory, stream, share)
        letters = list(read_letters(directory / "dead"))
        assert len(letters) == sum(state.rejected.values()) > 200
        found.append(letters)
    assert found[0] == found[1]


def test_a_batch_without_a_single_event_left_moves_on(tmp_path: Path) -> None:
    values = [b'{"id":%d,"ts":%d,"label":0}' % (i, 1000 * i) for i in range(40)]
    state, _ = trained(tmp_path, values, 1e-6)
    assert (state.subsampled, state.learner.events_learned) == (40, 0)
    assert state.positions["memory:list"].offset == 40
    assert state.event_time == 39_000
    assert trained(tmp_path, values, 1e-6)[0].subsampled == 40


def test_a_checkpoint_from_before_subsampling_is_gone_on_with(
    tmp_path: Path, stream: list[bytes]
) -> None:
    state, _ = trained(tmp_path, stream[:1000], 1.0)
    parts = state.parts()
    assert parts["stream"][0].pop("subsampled") == 0
    with CheckpointStore(tmp_path / "state") as store:
        store.save(parts, state.positions, [], {})
        checkpoint = store.load(known=PARTS)
    assert checkpoint is not None
    assert "subsampled" not in checkpoint.parts["stream"][0]
    again, _ = trained(tmp_path, stream, 0.5)
    assert 1500 < again.subsampled < 3000
    assert again.learner.events_learned + again.subsampled + sum(again.rejected.values()) == 6000


# ---- bad settings


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("0", ">= 1e-06"),
        ("-0.5", ">= 1e-06"),
        ("1.5", "<= 1"),
        ("nan", ""),
        ("half", "a number"),
        ("", "a number"),
    ],
)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_bad_share_is_an_error_before_any_event_is_read(
    command: str, value: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # the file of events does not even exist
    arguments = [command, "none.jsonl", "--set", f"events.keep_without_click={value}"]
    done = CliRunner().invoke(main, arguments, prog_name="ctr")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: events.keep_without_click must be {wanted}")
    assert done.stderr.endswith(f"got {value!r}\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
