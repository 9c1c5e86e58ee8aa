"""Prediction servers under load: ctr's, and what else one would put behind HTTP.

Servers are kept on the first core, the load generator (wrk) on the last, with whatever publishes.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import others
from benchmarks.measured import run
from benchmarks.parts import BITS, Rows, Sizes, ours, stream_files, theirs
from benchmarks.processes import CTR, ROOT, Failure, broker, check_alive, free_port, running, say
from benchmarks.report import spread
from benchmarks.start import answer, processor_seconds

REQUESTS = ("one", "candidates", "events")
"""An event of 20 features; 20 features in the context with 100 candidates of 5; 1,000 events."""

PREDICTIONS = {"one": 1, "candidates": 100, "events": 1000}
CONNECTIONS = {"one": 32, "candidates": 16, "events": 4}
ECHO, UPDATED = "uvicorn, bare echo", "ctr serve, updated every second"
_KIND = "features-25"
_READY_SECONDS = 120.0
_MEAN_DELAY_MS = 10
_SCRIPT = str(Path(__file__).with_name("load.lua"))


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is running: what it is called, its process and where it answers."""

    name: str
    pid: int
    url: str
    updates: Path | None = None
    """While this file is there, its model is updated."""


def by_server(sizes: Sizes) -> Rows:
    """All servers run at once, and are asked in turn: requests a second as fast as they can, then
    the delays at half of that.
    """
    others()
    wrk = _wrk()
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as name, ExitStack() as stack:
        folder = Path(name, "serve")
        folder.mkdir()
        servers = _started(sizes, folder, stack)
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for number in range(sizes.repeats + 1):
            say(f"serve: round {number} of {sizes.repeats}" if number else "serve: warming")
            for request in REQUESTS:
                for server in servers:
                    seconds = sizes.loaded_seconds if number else 1
                    figures = _loaded(wrk, server, request, folder, seconds)
                    if number:
                        found.setdefault((request, server.name), []).append(figures)
        peaks = {server.name: _peak_mib(server.pid) for server in servers}
    return [_row(request, who, runs, found, peaks) for (request, who), runs in found.items()]


def _row(
    request: str,
    who: str,
    runs: list[dict[str, float]],
    found: dict[tuple[str, str], list[dict[str, float]]],
    peaks: dict[str, float],
) -> dict[str, Any]:
    limit = found[request, ECHO]
    beside = [one["rate"] / echo["rate"] for one, echo in zip(runs, limit, strict=True)]
    return {
        "part": "serve",
        "request": request,
        "who": who,
        "rate_beside": spread(beside),
        "peak_mib": peaks[who],
        **{name: spread([one[name] for one in runs]) for name in runs[0]},
    }


def _loaded(
    wrk: str, server: Server, request: str, folder: Path, seconds: float
) -> dict[str, float]:
    """Figures of one server under one kind of load, in two goes."""
    if server.updates:
        server.updates.touch()
    try:
        file, connections = folder / "bodies" / request, CONNECTIONS[request]
        before = processor_seconds(server.pid)
        full = _asked(wrk, server, file, connections, 0, seconds)
        spent = processor_seconds(server.pid) - before
        rate = full["requests"] / full["seconds"]
        # each connection asks every _MEAN_DELAY_MS or so
        few = max(1, round(rate / 2 * _MEAN_DELAY_MS / 1e3))
        half = _asked(wrk, server, file, few, _MEAN_DELAY_MS, seconds)
    finally:
        if server.updates:
            server.updates.unlink()
    return {
        "rate": rate,
        "predictions": rate * PREDICTIONS[request],
        "cpu_us": 1e6 * spent / full["requests"],
        "p50": full["p50"],
        "p99": full["p99"],
        "p999": full["p999"],
        "half_rate": half["requests"] / half["seconds"],
        "half_p50": half["p50"],
        "half_p99": half["p99"],
        "half_p999": half["p999"],
    }


def _asked(
    wrk: str, server: Server, bodies: Path, connections: int, delay_ms: int, seconds: float
) -> dict[str, float]:
    """What wrk says. Raises Failure when an answer was no success."""
    command = [*ours("pinned"), "last", wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    command += ["--timeout", "10s", "-s", _SCRIPT, server.url, "--", str(bodies), str(delay_ms)]
    said = run(command).said
    if said["errors"] or not said["requests"]:
        raise Failure(f"{server.name}: {said['errors']} of {said['requests']} requests failed")
    return said


def _started(sizes: Sizes, folder: Path, stack: ExitStack) -> list[Server]:
    """Every server with its model, answering; the first one is the limit of them all."""
    events, vw_text = stream_files(sizes, _KIND, sizes.learned)
    run([*ours("request_bodies"), events, str(folder / "bodies")])
    models = folder / "models"
    run([*CTR, "train", events, "--bits", BITS, "--set", f"publish.directory={models}"], folder)
    servers = stack.enter_context(broker(folder.parent / "kafka"))
    flag = folder / "updating"
    publishing = [*ours("pinned"), "last", *ours("updates"), servers, "model", str(models)]
    updates = stack.enter_context(running("updates", [*publishing, str(flag)], folder))
    topic = ["--bootstrap-servers", servers, "--set", "publish.topic=model"]
    commands: dict[str, Callable[[str], list[str]]] = {
        ECHO: lambda port: [*theirs("serve_echo"), port],
        "ctr serve": lambda port: [*CTR, "serve", "--port", port, "--model", str(models)],
        UPDATED: lambda port: [*CTR, "serve", "--port", port, *topic],
        "Vowpal Wabbit's Python API, uvicorn": lambda port: [
            *theirs("serve_vw"),
            *(port, vw_text, BITS),
        ],
        "scikit-learn, FastAPI": lambda port: [*theirs("serve_sklearn"), port, events, BITS],
    }
    started, processes = [], {"updates": updates}
    for number, (name, command) in enumerate(commands.items()):
        port, log = free_port(), f"server-{number}"
        pinned = [*ours("pinned"), "first", *command(str(port))]
        processes[log] = stack.enter_context(running(log, pinned, folder))
        _await_prediction(name, port, folder, processes)
        url = f"http://127.0.0.1:{port}/v1/predict"
        started.append(Server(name, processes[log].pid, url, flag if name == UPDATED else None))
    return started


def _await_prediction(
    name: str, port: int, folder: Path, processes: dict[str, subprocess.Popen[bytes]]
) -> None:
    body = (folder / "bodies" / "one").read_bytes().splitlines()[0]
    until = time.monotonic() + _READY_SECONDS
    while answer(port, "/v1/predict", body) is None:
        check_alive(folder, processes)
        if time.monotonic() > until:
            said = (folder / f"{[*processes][-1]}.log").read_text("utf-8", "replace")[-2000:]
            raise Failure(f"{name}: no prediction in {_READY_SECONDS:.0f} s\n{said}")
        time.sleep(0.1)


def _wrk() -> str:
    """The load generator, installed if need be."""
    if shutil.which("wrk") is None:
        subprocess.run([ROOT / "scripts" / "system-packages", "wrk"], check=True)
    found = shutil.which("wrk")
    if found is None:
        raise Failure("wrk is missing; see above")
    return found


def _peak_mib(pid: int) -> float:
    """The largest resident memory of a process so far; not a number without /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
