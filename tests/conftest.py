"""What every test may use: a real broker, a real Prometheus, free ports, unique topic names.

With CI=true a skipped test fails the run.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from tests.e2e.processes import Processes

# a first example may compile a kernel, and speed is no matter of tests
hypothesis.settings.register_profile("ctr", deadline=None)
hypothesis.settings.load_profile("ctr")

ROOT = Path(__file__).resolve().parent.parent
# scripts/test has Java and the jars ready; CTR_KAFKA_ENGINE=docker tests against the image
ENGINE = os.environ.get("CTR_KAFKA_ENGINE", "java")


class Kafka:
    """A broker of the tests' own: one data folder, one port, kept over `stop()` and `start()`.

    `scripts/kafka` runs it; it also stops it should this process end without a word (SIGKILL).
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.bootstrap = ""

    def start(self) -> None:
        """Start it; the first time on a free port, then on the same. Returns when it answers."""
        port = [] if self.bootstrap else ["--port", "0"]
        self.bootstrap = self._script("start", *port, "--owner", str(os.getpid()))

    def stop(self) -> None:
        """Stop it cleanly; harmless when it is not running."""
        self._script("stop")

    @property
    def pid(self) -> int:
        """The broker's process id (there is none under Docker)."""
        return json.loads((self.data / "broker.json").read_text())["pid"]

    @property
    def port(self) -> int:
        return int(self.bootstrap.rpartition(":")[2])

    def _script(self, command: str, *arguments: str) -> str:
        script = [sys.executable, str(ROOT / "scripts" / "kafka"), command]
        options = ["--data", str(self.data), "--engine", ENGINE, *arguments]
        done = subprocess.run([*script, *options], capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"scripts/kafka {command} failed:\n{done.stderr}", pytrace=False)
        return done.stdout.strip()


def _run(data: Path) -> Iterator[Kafka]:
    kafka = Kafka(data)
    atexit.register(kafka.stop)
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.stop()
        atexit.unregister(kafka.stop)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for the whole run. A test that stops it starts it again, or uses `own_kafka`."""
    yield from _run(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A broker for one test alone (a start takes two seconds)."""
    yield from _run(tmp_path / "kafka")


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """A topic name no other test has; append to it for more than one."""
    readable = re.sub(r"[^a-zA-Z0-9_-]+", "-", request.node.name)[:80].strip("-")
    return f"{readable}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts commands in the test's own folder; none of them outlives the test."""
    processes = Processes(tmp_path)
    try:
        yield processes
    finally:
        processes.end()


@pytest.fixture
def free_port() -> int:
    """A free port outside the range of clients' ports, so that none of those takes it."""
    for port in random.sample(range(10_000, 30_000), 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port between 10000 and 30000")


@dataclass(frozen=True)
class PrometheusBinaries:
    prometheus: Path
    promtool: Path


@pytest.fixture(scope="session")
def prometheus_binaries() -> PrometheusBinaries:
    """Prometheus and its promtool: those on PATH or those that scripts/test fetched."""
    found = subprocess.run(
        [ROOT / "scripts" / "prometheus", "--no-download"], stdout=subprocess.PIPE, text=True
    )
    folder = found.stdout.strip()
    names = ("prometheus", "promtool")
    paths = [shutil.which(name, path=folder) for name in names] if folder else [None, None]
    if None in paths:
        pytest.fail(
            "prometheus and promtool are missing: scripts/test installs them", pytrace=False
        )
    return PrometheusBinaries(*map(Path, paths))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that did not run is a test that failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("CI") == "true":
        terminalreporter.write_line(
            f"CI=true: {len(skipped)} skipped tests fail this run", red=True
        )
