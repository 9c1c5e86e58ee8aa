"""Everything without Kafka: a log directory in, snapshots out, and files to learn from."""

from __future__ import annotations

import gzip
import json
import subprocess

import httpx
import zstandard

from ctr.stream.letter_log import read_letters

from .metrics import Endpoint
from .processes import Process, Processes, wait_until
from .states import differences, learned, newest
from .streams import FEATURES, FILE_KINDS, Content

CONFIG = """
[model]
name = "embedded"
[events]
source = "directory"
directory = "log"
[features]
bits = 16
crosses = [["user", "ad"]]
time_features = ["hour"]
[publish]
to = "directory"
interval_seconds = 0.2
[dead_letters]
to = "directory"
[metrics]
port = 0
[serve]
port = 0
"""
QUESTION = {"context": {"user": "u1"}, "candidates": [{"ad": "a1"}, {"ad": "a2"}]}


def test_from_a_log_directory_to_predictions(processes: Processes) -> None:
    folder = processes.directory
    (folder / "ctr.toml").write_text(CONFIG)
    # trainer and server may be there first
    trainer = processes.start("train", "--config=ctr.toml")
    server = processes.start("serve", "--config=ctr.toml")
    learning, serving = Endpoint(trainer), Endpoint(server)
    assert httpx.get(f"{serving.url}/readyz").status_code in (200, 503)
    simulator = processes.start("simulate", "--to=log", "--events=8000", "--bad-share=0.05")
    simulator.finish()
    good, bad = (
        int(simulator.wait_for(pattern).replace(",", ""))
        for pattern in (r"([\d,]+) events", r"([\d,]+) bad")
    )
    assert good + bad == 8000
    assert bad > 300
    learning.wait_for("ctr_events_learned_total", good)
    assert learning.value("ctr_events_learned_total") == good
    assert learning.value("ctr_events_rejected_total") == bad

    def served() -> bool:
        status = httpx.get(f"{serving.url}/v1/models/embedded").json()
        return status.get("events_learned") == good

    wait_until(served, f"a served model of {good} events")
    answer = httpx.post(f"{serving.url}/v1/predict", json=QUESTION)
    probabilities = answer.json()["probabilities"]
    assert answer.status_code == 200
    assert len(probabilities) == 2
    assert all(0 < p < 1 for p in probabilities)
    trainer.terminate()
    server.terminate()

    state = folder / "state" / "embedded"
    assert learned(newest(state)) == good
    letters = list(read_letters(state / "dead"))
    assert len(letters) == len({letter.source for letter in letters}) == bad
    [segment] = (folder / "log").glob("*.jsonl")
    assert {letter.value for letter in letters} <= set(segment.read_bytes().split(b"\n"))

    inspect = processes.start("inspect", "state/embedded/snapshots", "--json", "--names", segment)
    inspect.finish()
    shown = json.loads(inspect.said)
    assert shown["events_learned"] == good
    assert shown["heaviest"][0]["weight"] != 0
    assert any("user" in name for row in shown["heaviest"] for name in row["names"])


def test_files_pipes_and_archives_teach_the_same(processes: Processes) -> None:
    folder, content = processes.directory, Content(bad_kinds=FILE_KINDS)
    data = b"".join(line + b"\n" for line in content.take(3000))
    (folder / "plain.jsonl").write_bytes(data)
    (folder / "zipped.jsonl.gz").write_bytes(gzip.compress(data))
    (folder / "packed.jsonl.zst").write_bytes(zstandard.compress(data))
    settings = {**FEATURES, "features.bits": 16}

    def train(model: str, *files: str, stdin: int = subprocess.DEVNULL) -> Process:
        return processes.start(
            "train", *files, settings=settings | {"model.name": model}, stdin=stdin
        )

    with (folder / "plain.jsonl").open("rb") as file:
        for process in [
            train("plain", "plain.jsonl"),
            train("gzip", "zipped.jsonl.gz"),
            train("zstd", "packed.jsonl.zst"),
            train("stdin", "-", stdin=file.fileno()),
        ]:
            process.finish()
            assert f"{len(content.good):,} events learned" in process.said
    plain = newest(folder / "state" / "plain")
    assert plain.parts["stream"][0]["rejected"] == content.rejected()
    for model in ("gzip", "zstd", "stdin"):
        other = newest(folder / "state" / model)
        assert set(differences(plain, other)) <= {"positions"}
        letters = list(read_letters(folder / "state" / model / "dead"))
        assert [letter.value for letter in letters] == content.bad

    # a file is learned once, and what was added to it since
    more = content.take(500)
    with (folder / "plain.jsonl").open("ab") as file:
        file.write(b"".join(line + b"\n" for line in more))
    train("plain", "plain.jsonl").finish()
    assert learned(newest(folder / "state" / "plain")) == len(content.good)
