"""Runs of programs: how long, how much processor time, how much memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, Failure, end, say
from benchmarks.report import spread

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program: wall clock and processor seconds (user and system, all threads) of
    the whole process, its largest resident memory, and the JSON object that it printed last.
    """

    wall: float
    cpu: float
    peak_mib: float
    said: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program to compare: ``command`` does ``events``; ``start`` does next to nothing, so that
    it costs what starting and ending cost.
    """

    name: str
    events: int
    command: Sequence[str]
    start: Sequence[str]


def run(command: Sequence[str], folder: Path | None = None) -> Run:
    """Run a program to its end. Raises Failure when it fails.

    The figures are those that the kernel kept of this one process. (Its memory counts from the
    fork on, so the one who calls this must be small.)
    """
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            assert process.stdout is not None
            output = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            end(process)
            raise
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode:
            errors.seek(0)
            problem = errors.read().decode("utf-8", "replace").strip()
            raise Failure(f"{' '.join(command)} failed:\n{problem}")
    last = output.strip().splitlines()[-1:]
    said = json.loads(last[0]) if last and last[0].startswith(b"{") else {}
    cpu = used.ru_utime + used.ru_stime
    return Run(wall, cpu, used.ru_maxrss / 1024, said)


def rounds(
    part: str,
    stream: str,
    contestants: Sequence[Contestant],
    repeats: int,
    fresh: Callable[[], Path | None] = lambda: None,
) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """Run all contestants in turn, ``repeats`` times: A B C, A B C…; their starts and runs by name.

    Nothing of one run is left for the next but caches: the first round compiles and warms and is
    not counted. ``fresh`` makes the folder that a run works in.
    """
    starts: dict[str, list[Run]] = {c.name: [] for c in contestants}
    runs: dict[str, list[Run]] = {c.name: [] for c in contestants}
    for number in range(repeats + 1):
        say(f"{part}, {stream}: " + (f"round {number} of {repeats}" if number else "warming"))
        for contestant in contestants:
            start = run(contestant.start, fresh())
            if number:
                starts[contestant.name].append(start)
                runs[contestant.name].append(run(contestant.command, fresh()))
    return starts, runs


def compare(
    part: str,
    stream: str,
    contestants: Sequence[Contestant],
    repeats: int,
    fresh: Callable[[], Path | None] = lambda: None,
) -> list[dict[str, Any]]:
    """A row of figures for each contestant, of ``rounds``."""
    starts, runs = rounds(part, stream, contestants, repeats, fresh)
    return [
        {"part": part, "stream": stream, "who": c.name} | figures(c, starts[c.name], runs[c.name])
        for c in contestants
    ]


def figures(contestant: Contestant, starts: list[Run], runs: list[Run]) -> dict[str, Any]:
    """Of one contestant. Processor time is without that of its start (the median).

    The rate is that of the pass over the events by the program's own clock; of one that does not
    say, it is that of the whole process.
    """
    start_cpu = spread([start.cpu for start in starts])["median"]
    counted = [one.said.get("counted", contestant.events) for one in runs]
    seconds = [one.said.get("seconds", one.wall) for one in runs]
    million = contestant.events / 1e6
    return {
        "events": contestant.events,
        "events_per_second": spread([n / s for n, s in zip(counted, seconds, strict=True)]),
        "cpu_seconds_per_million": spread([(one.cpu - start_cpu) / million for one in runs]),
        "peak_mib": spread([one.peak_mib for one in runs]),
        "start_seconds": spread([start.wall for start in starts]),
        "log_loss": runs[-1].said.get("log_loss"),
    }
