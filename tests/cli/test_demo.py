"""``ctr demo``, started and ended in every way: what it shows, and that nothing is left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ENGINE
from tests.e2e.processes import wait_until

ROW = re.compile(
    r"^ +(?P<time>\d+:\d\d) +(?P<events>[\d,]+) +(?P<rate>[\d,]+|-)"
    r" +(?P<base>[\d.]+|-) +(?P<model>[\d.]+) +(?P<best>[\d.]+|-) +(?P<closed>-?\d+%|-)"
    r" +(?P<weights>[\d,]+) +(?P<zero>[\d.]+)% +(?P<fresh>[\d.]+) s$",
    re.M,
)
PREDICTION = re.compile(r"^ +([\d.]+)% = p\(click\) for user=\S+ .*\(version (\d+)\)$", re.M)


class Running:
    """A demonstration under way, with everything that it writes in ``directory``."""

    def __init__(self, directory: Path, *flags: str, **environment: str) -> None:
        self.directory, self._log = directory / "demo", directory / "said.txt"
        with self._log.open("wb") as said:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "ctr", "demo", "--directory", str(self.directory), *flags],
                env=os.environ | {"CTR_KAFKA_ENGINE": ENGINE} | environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def processes(self) -> dict[int, str]:
        """What runs on this machine with the demonstration's folder in its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.popen.pid:
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if str(self.directory) in line:
                    found[int(entry.name)] = line
        return found

    def process(self, role: str) -> int:
        """The id of the process of a role."""
        (found,) = [pid for pid, line in self.processes().items() if f"-m ctr {role}" in line]
        return found

    def wait_for(self, condition: Any, what: str, seconds: float = 180) -> Any:
        def met() -> Any:
            answer = condition()
            assert answer or self.popen.poll() is None, f"it ended before {what}:\n{self.said}"
            return answer

        return wait_until(met, what=what, seconds=seconds)

    def wait(self, seconds: float = 60) -> int:
        return self.popen.wait(seconds)

    def end(self) -> None:
        """Whatever a test did: nothing of it runs any more."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(40)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts a demonstration with these flags."""
    started: list[Running] = []

    def begin(*flags: str, **environment: str) -> Running:
        started.append(Running(tmp_path, *flags, **environment))
        return started[-1]

    yield begin
    for running in started:
        running.end()


def closed_half(running: Running) -> bool:
    closed = [row["closed"].rstrip("%") for row in ROW.finditer(running.said)]
    return any(share != "-" and int(share) >= 50 for share in closed)


def check(said: str) -> None:
    """The table and the predictions are what they must be."""
    rows = [
        {name: text.replace(",", "") for name, text in row.groupdict().items()}
        for row in ROW.finditer(said)
    ]
    events = [int(row["events"]) for row in rows]
    assert events == sorted(set(events))
    for row in rows:
        if row["closed"] != "-":
            base, model, best = (float(row[name]) for name in ("base", "model", "best"))
            closed = int(row["closed"].rstrip("%"))
            assert 100 * (base - model) / (base - best) == pytest.approx(closed, abs=1)
        assert 0 < int(row["weights"]) < 1 << 22
        assert float(row["fresh"]) >= 0
    predictions = PREDICTION.findall(said)
    assert len(predictions) == len(rows)
    assert all(0 < float(percent) < 100 for percent, _ in predictions)
    versions = [int(version) for _, version in predictions]
    assert versions == sorted(versions)
    assert versions[-1] > 0


def test_embedded_until_ctrl_c(start: Any) -> None:
    running = start("--embedded")
    running.wait_for(lambda: closed_half(running), "half of the gap is closed")
    assert len(running.processes()) == 3
    running.popen.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.said
    assert running.processes() == {}
    check(running.said)
    assert re.search(r"^learned [\d,]+ events from the log directory in \d+ s$", running.said, re.M)
    for name in ("dashboard", "metrics", "predict"):
        assert re.search(rf"^  {name} .*http://127.0.0.1:\d+/", running.said, re.M)
    for name in ("ctr.toml", "events", "snapshots", "state", "logs/trainer.log"):
        assert (running.directory / name).exists()


def test_with_kafka_until_sigterm(start: Any) -> None:
    running = start()
    running.wait_for(lambda: ROW.search(running.said), "the first row")
    assert sum("java" in line for line in running.processes().values()) == (ENGINE == "java")
    running.popen.terminate()
    assert running.wait() == 0, running.said
    check(running.said)
    assert re.search(r"^learned [\d,]+ events from Kafka in \d+ s$", running.said, re.M)
    assert re.search(
        r"Kafka answers on 127.0.0.1:\d+; topic events, 4 partitions$", running.said, re.M
    )
    # the one that stops the broker should the demonstration be killed looks twice a second
    wait_until(lambda: not running.processes(), what="the last process to end", seconds=5)


def test_where_kafka_cannot_be_had_and_too_little_is_learned(start: Any) -> None:
    """A failed start of Kafka is said, and embedded it goes on; the exit code tells the rest."""
    running = start(
        "--seconds",
        "1",
        "--rate",
        "200",
        CTR_KAFKA_ENGINE="java",
        CTR_KAFKA_CACHE="/dev/null/nowhere",
    )
    assert running.wait(180) == 1
    assert "Kafka cannot be had" in running.said
    assert re.search(r"^learned [\d,]+ events from the log directory in 1 s$", running.said, re.M)
    last = running.said.splitlines()[-1]
    assert re.fullmatch(r"error: the model closed -?\d+% of the gap .*, 50% is wanted", last), last
    assert running.processes() == {}


@pytest.mark.parametrize("role", ["simulate", "train", "serve"])
def test_a_process_that_ends_ends_it(start: Any, role: str) -> None:
    running = start("--embedded")
    pids = running.wait_for(
        lambda: (
            len(running.processes()) == 3
            and all(
                f"-m ctr {name} " in " ".join(running.processes().values())
                for name in ("simulate", "train", "serve")
            )
            and running.processes()
        ),
        "three processes",
    )
    assert len(pids) == 3
    os.kill(running.process(role), signal.SIGKILL)
    assert running.wait() == 1
    names = {"simulate": "simulator", "train": "trainer", "serve": "server"}
    assert f"error: the {names[role]} was ended by signal 9; its last lines:" in running.said
    assert running.processes() == {}


def test_nothing_outlives_it_when_it_is_killed(start: Any) -> None:
    running = start("--embedded")
    running.wait_for(lambda: "dashboard" in running.said, "the first prediction")
    assert len(running.processes()) == 3
    running.popen.kill()
    running.popen.wait()
    wait_until(lambda: not running.processes(), what="its processes to end", seconds=30)


def test_interrupted_before_there_is_anything(start: Any) -> None:
    running = start("--embedded")
    running.wait_for(lambda: "written in" in running.said, "its first step")
    running.popen.send_signal(signal.SIGINT)
    assert running.wait() == 130, running.said
    assert "Traceback" not in running.said
    assert running.processes() == {}
