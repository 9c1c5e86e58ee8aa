"""What the parts of scripts/bench have in common: how much of everything, events, programs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import OTHERS
from benchmarks.measured import run
from benchmarks.processes import ROOT, say
from benchmarks.report import spread

DRIVERS = Path(__file__).parent / "drivers"
BITS = "22"
_GENERATORS = "events.py", "kinds.py", "vw_text.py"

SAME = ["--schedule", "constant", "--bits", BITS]
"""What makes ctr's settings those that the others have: alpha 0.1, beta 1, l1 1, l2 1."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything: events by kind of stream, those by way of Kafka, features for slow
    programs (events are as many times fewer), the counts of events whose cost is compared, and
    the features of the other events that costs are compared on; repeats; tables (bits) of the
    roofline; models that are served (bits, weights, encoding); events that servers under load have
    learned, and seconds of load; and the folder that the events are made in.
    """

    streams: dict[str, int]
    kafka: dict[str, int]
    slow: int
    growing: tuple[int, ...]
    features: int
    repeats: int
    tables: tuple[str, ...]
    held: tuple[tuple[int, int, str], ...]
    learned: int
    loaded_seconds: float
    files: Path = ROOT / "build" / "bench"


FULL = Sizes(
    streams={
        "narrow": 2_000_000,
        "wide": 1_000_000,
        "uniform": 500_000,
        "broad": 200_000,
        "simulated": 1_000_000,
    },
    kafka={"narrow": 2_000_000, "wide": 1_000_000},
    slow=800_000,
    growing=(100_000, 1_000_000, 10_000_000),
    features=20_000_000,
    repeats=5,
    tables=("18", "22", "24", "26", "28"),
    held=(
        (18, 150_000, "q2.13"),
        (24, 250_000, "q2.13"),
        (24, 1_000_000, "q2.13"),
        (24, 1_000_000, "float32"),
        (30, 50_000_000, "q2.13"),
    ),
    learned=300_000,
    loaded_seconds=4,
)
QUICK = Sizes(
    streams={
        "narrow": 20_000,
        "wide": 10_000,
        "uniform": 10_000,
        "broad": 2_000,
        "simulated": 10_000,
    },
    kafka={"narrow": 20_000, "wide": 10_000},
    slow=20_000,
    growing=(2_000, 20_000),
    features=200_000,
    repeats=1,
    tables=("18",),
    held=((16, 20_000, "q2.13"),),
    learned=5_000,
    loaded_seconds=1,
)


def ours(name: str) -> list[str]:
    """A driver, in the project's environment."""
    return [sys.executable, str(DRIVERS / f"{name}.py")]


def theirs(name: str) -> list[str]:
    """A driver, in the environment of the programs to compare with."""
    return [str(OTHERS / "bin" / "python"), str(DRIVERS / f"{name}.py")]


def stream_files(sizes: Sizes, kind: str, count: int) -> tuple[str, str]:
    """The JSON and the Vowpal Wabbit file of ``count`` events; made once by each generator."""
    files = _made(sizes, kind, count, ("jsonl", "vw"))
    return files[0], files[1]


def json_file(sizes: Sizes, kind: str, count: int) -> str:
    """The JSON file alone."""
    return _made(sizes, kind, count, ("jsonl",))[0]


def _made(sizes: Sizes, kind: str, count: int, suffixes: tuple[str, ...]) -> list[str]:
    names = [sizes.files / f"{kind}-{count}.{suffix}" for suffix in suffixes]
    generator = max(Path(__file__).with_name(f).stat().st_mtime for f in _GENERATORS)
    if not all(name.exists() and name.stat().st_mtime > generator for name in names):
        say(f"making {count:,} events, {kind}")
        sizes.files.mkdir(parents=True, exist_ok=True)
        scratch = [name.with_suffix(name.suffix + ".tmp") for name in names]
        run([sys.executable, "-m", "benchmarks.events", kind, str(count), *map(str, scratch)])
        for made, name in zip(scratch, names, strict=True):
            made.rename(name)
    return [str(name) for name in names]


def derived(source: str, suffix: str, *command: str) -> str:
    """The file beside ``source`` that ``command`` makes of it; its name is put behind it."""
    made = Path(f"{source}.{suffix}")
    if not made.exists() or made.stat().st_mtime < Path(source).stat().st_mtime:
        made.unlink(missing_ok=True)
        run([*command, str(made)])
    return str(made)


def alone(what: str, sizes: Sizes) -> Rows:
    """A part of ctr by itself, on one core."""
    rows: Rows = []
    for kind, count in sizes.streams.items():
        file = json_file(sizes, kind, count)
        command = [*ours("alone"), what, file, str(min(count, 300_000))]
        found = []
        for number in range(sizes.repeats):
            say(f"{what}, {kind}: round {number + 1} of {sizes.repeats}")
            found.append(run(command).said)
        figures = {name: spread([one[name] for one in found]) for name in found[0]}
        rows.append({"part": what, "stream": kind, **figures})
    return rows


def roofline(sizes: Sizes) -> Rows:
    """The learner beside the same cells touched and nothing computed, on one core."""
    rows: Rows = []
    for kind, count in sizes.streams.items():
        if kind == "uniform":  # of every other kind there are cases with uniform keys
            continue
        file = json_file(sizes, kind, count)
        command = [*ours("roofline"), file, str(min(count, 150_000)), *sizes.tables]
        found = []
        for number in range(sizes.repeats):
            say(f"roofline, {kind}: round {number + 1} of {sizes.repeats}")
            found.append(run(command).said)
        for case in found[0]:
            figures = {name: spread([one[case][name] for one in found]) for name in found[0][case]}
            rows.append({"part": "roofline", "stream": kind, "case": case, **figures})
    return rows
