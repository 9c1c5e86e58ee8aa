"""``ctr simulate``: to everywhere, the same stream."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest

from ctr import config
from ctr.log import LogReader
from ctr.settings import Events, Kafka
from ctr.simulate import Simulator
from ctr.stream.kafka import KafkaSource
from tests.cli.conftest import Command
from tests.conftest import Kafka as Broker
from tests.e2e.processes import Processes, wait_until

FLAGS = ["--events", 3000, "--seed", 5, "--bad-share", 0.02]


def test_to_a_file_a_directory_and_standard_output(ctr: Command, tmp_path: Path) -> None:
    said = ctr("simulate", *FLAGS)
    assert said.code == 0
    assert said.raw.count(b"\n") == 3000
    assert ctr("simulate", *FLAGS, "--to", "events.jsonl").raw == b""
    assert (tmp_path / "events.jsonl").read_bytes() == said.raw
    assert ctr("simulate", *FLAGS, "--to", "log").code == 0
    segments = sorted((tmp_path / "log").glob("*.jsonl"))
    assert b"".join(segment.read_bytes() for segment in segments) == said.raw
    lines = LogReader(tmp_path / "log").read()
    assert lines is not None
    assert len(lines.starts) == 3000


def test_to_kafka(ctr: Command, kafka: Broker, topic_name: str) -> None:
    """The same events, each in the partition of its user."""
    at = ["--to", "kafka", "--bootstrap-servers", kafka.bootstrap, "--topic", topic_name]
    assert ctr("simulate", "--events", 2000, *at, "--partitions", 3).code == 0
    source = KafkaSource(
        Kafka(bootstrap_servers=kafka.bootstrap), Events(topic=topic_name, stop_at_end=True)
    )
    found: dict[str, list[bytes]] = {}
    while not source.ended():
        if (records := source.next_batch(1.0)) is not None:
            spans = zip(records.starts, records.ends, strict=True)
            events = [records.buffer[a:b].tobytes() for a, b in spans]
            found.setdefault(records.source, []).extend(events)
    source.close()
    users = [{json.loads(line)["features"]["user"] for line in lines} for lines in found.values()]
    assert len(users) == 3
    assert len(set.union(*users)) == sum(map(len, users))
    stream = ctr("simulate", "--events", 2000).raw.splitlines()
    assert sorted(chain.from_iterable(found.values())) == sorted(stream)


def test_the_figures_are_said_and_reported(ctr: Command, tmp_path: Path) -> None:
    said = ctr("simulate", *FLAGS, "--to", "events.jsonl", "--report", "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["events"] + report["bad"] == 3000
    assert report["bad"] > 20
    assert report["best_log_loss"] < report["base_log_loss"]
    numbers = re.search(r"rate (\S+), best reachable (\S+)$", said.err.strip())
    assert numbers is not None
    assert float(numbers[1]) == pytest.approx(report["base_log_loss"], abs=1e-6)
    assert float(numbers[2]) == pytest.approx(report["best_log_loss"], abs=1e-6)
    assert f"{report['events']:,} events, {report['bad']:,} bad" in said.err


def test_the_seed_is_the_stream_and_skip_goes_on_in_it(ctr: Command) -> None:
    whole = ctr("simulate", "--events", 500).raw
    assert ctr("simulate", "--events", 500).raw == whole
    assert ctr("simulate", "--events", 500, "--seed", 2).raw != whole
    assert ctr("simulate", "--events", 300, "--skip", 200).raw == b"".join(
        whole.splitlines(keepends=True)[200:]
    )


def test_flags_reach_the_simulator(ctr: Command) -> None:
    lines = ctr("simulate", "--events", 2000, "--base-rate", 0.4, "--vanish-after", 1000).raw
    events = [json.loads(line) for line in lines.splitlines()]
    assert 0.3 < sum(event["label"] for event in events) / 2000 < 0.5
    assert all("site" in event["features"] for event in events[:1000])
    assert not any("site" in event["features"] for event in events[1000:])


def test_its_settings_can_be_loaded(ctr: Command, tmp_path: Path) -> None:
    (tmp_path / "ctr.toml").write_text(ctr("simulate", "--spec").out)
    features = config.load(tmp_path / "ctr.toml", {}).features
    assert tuple(map(tuple, features.crosses)) == tuple(map(tuple, Simulator.true_crosses))
    assert features.time_features == ["hour"]


def test_whoever_reads_it_may_have_seen_enough() -> None:
    program = [sys.executable, "-m", "ctr", "simulate"]  # endless
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())
            process.stdout.close()
            assert process.wait(30) == 0
            assert "Traceback" not in process.stderr.read().decode()
        finally:
            process.kill()


def test_it_is_never_ahead_of_its_rate_and_ends_on_sigterm(
    processes: Processes, tmp_path: Path
) -> None:
    report, began = tmp_path / "report.json", time.monotonic()
    running = processes.start("simulate", "--to", "log", "--rate", "500", "--report", report)
    wait_until(report.exists, what="the report", seconds=60)
    running.terminate()
    figures = json.loads(report.read_text())
    assert figures["events"] <= 500 * (time.monotonic() - began)
    lines = b"".join(path.read_bytes() for path in sorted((tmp_path / "log").glob("*.jsonl")))
    assert lines.count(b"\n") == figures["events"]
