"""How long the second start of each command takes, when its compiled code is in the cache."""

from __future__ import annotations

import http.client
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured import run
from benchmarks.parts import Rows, Sizes, json_file
from benchmarks.passes import filled
from benchmarks.processes import CTR, Failure, broker, check_alive, free_port, running, say
from benchmarks.report import spread

_POLL_SECONDS = 0.005
_LONGEST_SECONDS = 120.0
"""The first start may compile."""

_EVENTS = 2_000
_LEARNED = "ctr_events_learned_total{"


@dataclass(frozen=True, slots=True)
class Start:
    """A command, and what it is ready when it has done; ``ready`` asks, None is its end."""

    name: str
    means: str
    command: Sequence[str]
    ready: Callable[[], bool] | None = None

    def taken(self, folder: Path) -> tuple[float, float]:
        """Seconds until then from before the process is made, and its processor seconds (not a
        number where the system has no /proc). Raises Failure when it ends or takes ages.
        """
        if self.ready is None:
            done = run(self.command, folder)
            return done.wall, done.cpu
        began = time.perf_counter()
        with running("started", self.command, folder) as process:
            while not self.ready():
                check_alive(folder, {"started": process})
                if time.perf_counter() - began > _LONGEST_SECONDS:
                    raise Failure(f"{self.name} was not ready in {_LONGEST_SECONDS:.0f} s")
                time.sleep(_POLL_SECONDS)
            return time.perf_counter() - began, processor_seconds(process.pid)


def processor_seconds(pid: int) -> float:
    """What a process has used so far, all threads; not a number without /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def second_starts(sizes: Sizes) -> Rows:
    """A round that is not counted compiles what is not compiled; then each in turn."""
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as name, broker(Path(name)) as servers:
        folder = Path(name, "start")
        folder.mkdir()
        starts = _starts(sizes, servers, folder)
        taken: dict[str, list[tuple[float, float]]] = {start.name: [] for start in starts}
        for number in range(sizes.repeats + 1):
            say(f"start: round {number} of {sizes.repeats}" if number else "start: warming")
            for start in starts:
                found = start.taken(Path(tempfile.mkdtemp(dir=folder)))
                if number:
                    taken[start.name].append(found)
    rows: Rows = []
    for start in starts:
        seconds, cpu = map(spread, zip(*taken[start.name], strict=True))
        row = {"part": "start", "command": start.name, "until": start.means}
        rows.append(row | {"seconds": seconds, "cpu_seconds": cpu})
    return rows


def _starts(sizes: Sizes, servers: str, folder: Path) -> list[Start]:
    """The commands; those that need a model find one in ``folder`` and one in Kafka."""
    events, one = (json_file(sizes, "simulated", n) for n in (_EVENTS, 1))
    topic, _ = filled(servers, "events", events, _EVENTS)
    models, kafka = str(folder / "models"), ["--bootstrap-servers", servers]
    keep = ["--set", f"publish.directory={models}"]
    run([*CTR, "train", events, *keep], folder)
    quiet = ["--set", "metrics.port=-1"]
    run([*CTR, "train", *kafka, "--topic", topic, "--stop-at-end", *quiet], folder)
    metrics, first, second = free_port(), free_port(), free_port()
    train = [*CTR, "train", *kafka, "--topic", topic, "--name", "other"]
    serve = [*CTR, "serve", "--port"]
    scored = [*CTR, "prune", models, "--keep", "100", "--on", events, "-o", "pruned.model"]
    listening = "/readyz answers 200"
    return [
        Start("ctr evaluate FILE", "it has ended, on one event", [*CTR, "evaluate", one]),
        Start("ctr train FILE", "it has ended, on one event", [*CTR, "train", one]),
        Start(
            "ctr train, from Kafka",
            "it has learned an event",
            [*train, "--set", f"metrics.port={metrics}"],
            lambda: _has_learned(metrics),
        ),
        Start(
            "ctr serve --model DIR",
            listening,
            [*serve, str(first), "--model", models],
            lambda: answer(first, "/readyz") is not None,
        ),
        Start(
            "ctr serve, from Kafka",
            listening,
            [*serve, str(second), *kafka],
            lambda: answer(second, "/readyz") is not None,
        ),
        Start("ctr inspect", "it has ended", [*CTR, "inspect", models]),
        Start("ctr models", "it has ended", [*CTR, "models", "--directory", models]),
        Start("ctr prune --on FILE", "it has ended", scored),
        Start("ctr simulate", "it has ended, after one event", [*CTR, "simulate", "--events", "1"]),
        Start("ctr --help", "it has ended", [*CTR, "--help"]),
    ]


def _has_learned(port: int) -> bool:
    """Whether a trainer's metrics count an event."""
    lines = (answer(port, "/metrics") or "").splitlines()
    learned = [line for line in lines if line.startswith(_LEARNED)]
    return any(float(line.rpartition(" ")[2]) > 0 for line in learned)


def answer(port: int, path: str, body: bytes | None = None) -> str | None:
    """What is answered, to a POST if there is a ``body``, with status 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        kind = {} if body is None else {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, kind)
        found = connection.getresponse()
        text = found.read().decode()
    except OSError:
        return None
    finally:
        connection.close()
    return text if found.status == 200 else None
