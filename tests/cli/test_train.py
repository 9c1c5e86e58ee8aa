"""``ctr train``, ``inspect`` and ``serve``: a model's way through files and directories."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from ctr.simulate import Simulator
from tests.cli.conftest import Command
from tests.conftest import Kafka as Broker
from tests.e2e.processes import Processes, wait_until

SNAPSHOTS = "state/clicks/snapshots"
ask = build_opener(ProxyHandler({})).open  # not by way of a proxy


@pytest.fixture
def trained(ctr: Command, events: Path) -> Command:
    """A command whose folder has a model of ``events`` in it."""
    said = ctr("train", events.name)
    assert (said.code, said.out) == (0, "")
    return ctr


def test_training_files_says_what_was_learned(trained: Command, stream: Simulator) -> None:
    again = trained("train", "events.jsonl")
    assert f"{stream.totals.events:,} events learned, log loss 0." in again.err


def test_a_second_time_goes_on_after_what_was_learned(
    trained: Command, lines: bytes, events: Path, stream: Simulator
) -> None:
    more = lines.splitlines(keepends=True)[:100]
    with events.open("ab") as file:
        file.writelines(more)
    said = trained("train", "events.jsonl")
    good = len(more) - rejected(trained, more)
    assert f"{stream.totals.events + good:,} events learned" in said.err
    assert model(trained)["events_learned"] == stream.totals.events + good


def rejected(ctr: Command, lines: list[bytes]) -> int:
    """How many of ``lines`` are bad."""
    said = ctr("evaluate", "-", "--json", stdin=b"".join(lines))
    return sum(json.loads(said.out)["rejected"].values())


def model(ctr: Command, *flags: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(ctr("inspect", SNAPSHOTS, "--json", *flags).out)
    return found


def test_training_and_evaluating_agree(trained: Command, events: Path) -> None:
    evaluated = json.loads(trained("evaluate", events.name, "--json").out)
    inspected = model(trained)
    assert inspected["log_loss"] == evaluated["log_loss"]
    assert inspected["events_learned"] == evaluated["events"]


def test_bad_events_are_kept(trained: Command, tmp_path: Path, stream: Simulator) -> None:
    dead = b"".join(path.read_bytes() for path in (tmp_path / "state/clicks/dead").glob("*.jsonl"))
    letters = [json.loads(line) for line in dead.splitlines()]
    assert len(letters) == stream.totals.bad


def test_inspect_shows_the_model(trained: Command, tmp_path: Path) -> None:
    shown = trained("inspect", SNAPSHOTS, "--top", 5, "--names", "events.jsonl")
    assert shown.code == 0
    rows = dict(re.findall(r"^([a-z].*?) {2,}(\S.*)$", shown.out, re.M))
    whole = model(trained, "--top", 5, "--names", "events.jsonl")
    assert rows["nonzero weights"] == f"{whole['nonzero_weights']:,}"
    assert rows["file bytes"] == f"{whole['file_bytes']:,}"
    heaviest: list[dict[str, object]] = whole["heaviest"]  # type: ignore[assignment]
    assert len(heaviest) == 5
    weights = [abs(float(str(row["weight"]))) for row in heaviest]
    assert weights == sorted(weights, reverse=True)
    assert all(row["names"] for row in heaviest if row["coordinate"] != 0)
    newest = max((tmp_path / SNAPSHOTS).glob("*.model"))
    assert trained("inspect", newest, "--json").out == trained("inspect", SNAPSHOTS, "--json").out


def test_serve_answers_with_a_snapshot(
    trained: Command, processes: Processes, tmp_path: Path
) -> None:
    newest = max((tmp_path / SNAPSHOTS).glob("*.model"))
    server = processes.start("serve", "--model", newest, "--port", "0")
    url = server.wait_for(r"serving clicks on (http://\S+)")
    wait_until(
        lambda: "true" in ask(f"{url}/v1/models/clicks").read().decode(),
        what="the model",
        seconds=30,
    )
    event = {"features": {"segment": "s1", "ad": "a1"}}
    request = Request(f"{url}/v1/predict", json.dumps({"events": [event, event]}).encode())
    answer = json.loads(ask(request).read())
    assert answer["model"]["version"] == model(trained)["version"]
    assert 0 < answer["probabilities"][0] == answer["probabilities"][1] < 1
    server.terminate()


def test_a_log_directory_is_followed_until_sigterm(
    ctr: Command, processes: Processes, lines: bytes, tmp_path: Path, stream: Simulator
) -> None:
    """Whoever writes it; what was written before the end is learned."""
    log = tmp_path / "log"
    log.mkdir()
    trainer = processes.start("train", "--directory", "log", settings={"metrics.port": 0})
    metrics = trainer.wait_for(r"metrics on (\S+)")
    (log / "clicks.jsonl").write_bytes(lines)
    learned = re.compile(rf"^ctr_events_learned_total{{.*}} {stream.totals.events}\.0$", re.M)
    wait_until(lambda: learned.search(ask(metrics).read().decode()), what="the events", seconds=60)
    trainer.terminate()
    assert model(ctr)["events_learned"] == stream.totals.events


def test_a_topic_is_learned_to_its_end(ctr: Command, kafka: Broker, topic_name: str) -> None:
    at = ["--bootstrap-servers", kafka.bootstrap, "--topic", topic_name]
    assert ctr("simulate", "--events", 2000, "--to", "kafka", *at).code == 0
    name = topic_name.rpartition("-")[2]
    settings = ["--set", "metrics.port=0", "--set", "publish.snapshot_seconds=0.01"]
    said = ctr("train", *at, "--stop-at-end", "--name", name, *settings)
    assert said.code == 0
    assert "2,000 events learned" in said.err
    inspected = json.loads(ctr("inspect", f"state/{name}/snapshots", "--json").out)
    assert (inspected["model"], inspected["events_learned"]) == (name, 2000)
    assert time.time() > inspected["event_time"] / 1000 > 1.6e9
