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

from benchmarks.processes import ENVIRONMENT, Failure, end, say
from benchmarks.report import spread


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
            command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors
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
    reference: str = "",
) -> list[dict[str, Any]]:
    """A row of figures for each contestant, of ``rounds``.

    With ``reference``, the name of one of them, also the rate and the processor time of each as a
    multiple of that one's, found round by round.
    """
    starts, runs = rounds(part, stream, contestants, repeats, fresh)
    rows = []
    for c in contestants:
        row = {"part": part, "stream": stream, "who": c.name}
        rows.append(row | figures(c, starts[c.name], runs[c.name]))
    for one in (c for c in contestants if c.name == reference):
        for measure, name in ((rates, "rate_beside"), (costs, "cpu_beside")):
            of_one = measure(one, starts[reference], runs[reference])
            if min(of_one) <= 0:  # fewer events than the start's processor time is uncertain by
                continue
            for row, c in zip(rows, contestants, strict=True):
                found = measure(c, starts[c.name], runs[c.name])
                row[name] = spread([a / b for a, b in zip(found, of_one, strict=True)])
    return rows


def rates(contestant: Contestant, starts: list[Run], runs: list[Run]) -> list[float]:
    """Events a second, by the program's own clock over its pass; of a program that does not say,
    by that of the whole process.
    """
    counted = [one.said.get("counted", contestant.events) for one in runs]
    seconds = [one.said.get("seconds", one.wall) for one in runs]
    return [n / s for n, s in zip(counted, seconds, strict=True)]


def costs(contestant: Contestant, starts: list[Run], runs: list[Run]) -> list[float]:
    """Processor seconds a million events: the program's own figure, or that of the whole process
    without its start (the median).
    """
    start = spread([start.cpu for start in starts])["median"]
    spent = [one.said.get("cpu", one.cpu - start) for one in runs]
    return [1e6 * seconds / contestant.events for seconds in spent]


def figures(contestant: Contestant, starts: list[Run], runs: list[Run]) -> dict[str, Any]:
    """Of one contestant."""
    return {
        "events": contestant.events,
        "events_per_second": spread(rates(contestant, starts, runs)),
        "cpu_seconds_per_million": spread(costs(contestant, starts, runs)),
        "peak_mib": spread([one.peak_mib for one in runs]),
        "start_seconds": spread([start.wall for start in starts]),
        "log_loss": runs[-1].said.get("log_loss"),
    }
