"""The parts of scripts/bench: which programs run on which events."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measured import Contestant, compare, run
from benchmarks.processes import CTR, ROOT, broker, say
from benchmarks.report import spread

VENV = ROOT / "build" / "bench-venv"
DRIVERS = Path(__file__).parent / "drivers"
BITS = "22"
_GENERATORS = "events.py", "vw_text.py"

SAME = ["--schedule", "constant", "--bits", BITS]
"""What makes ctr's settings those that the others have: alpha 0.1, beta 1, l1 1, l2 1."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything: events by kind of stream, those by way of Kafka, those for slow
    programs, repeats, and tables (bits); and the folder that the events are made in.
    """

    streams: dict[str, int]
    kafka: dict[str, int]
    slow: int
    repeats: int
    tables: tuple[str, ...]
    files: Path = ROOT / "build" / "bench"


FULL = Sizes(
    streams={"narrow": 2_000_000, "wide": 1_000_000, "simulated": 1_000_000},
    kafka={"narrow": 1_000_000, "wide": 500_000},
    slow=20_000,
    repeats=5,
    tables=("18", "22", "24", "26", "28"),
)
QUICK = Sizes(
    streams={"narrow": 20_000, "wide": 10_000, "simulated": 10_000},
    kafka={"narrow": 20_000, "wide": 10_000},
    slow=1000,
    repeats=1,
    tables=("18",),
)


def ours(name: str) -> list[str]:
    """A driver, in the project's environment."""
    return [sys.executable, str(DRIVERS / f"{name}.py")]


def theirs(name: str) -> list[str]:
    """A driver, in the environment of the programs to compare with."""
    return [str(VENV / "bin" / "python"), str(DRIVERS / f"{name}.py")]


def others() -> None:
    """Make the environment of Vowpal Wabbit and River, unless it is there as locked."""
    locked, stamp = ROOT / "requirements-bench.txt", VENV / "installed.txt"
    if stamp.exists() and stamp.read_bytes() == locked.read_bytes():
        return
    say("installing Vowpal Wabbit and River into build/bench-venv")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "pip"), "--disable-pip-version-check", "--no-input", "--quiet"]
    install = [*pip, "install", "--require-hashes", "--requirement", str(locked)]
    subprocess.run(install, check=True)
    stamp.write_bytes(locked.read_bytes())


def stream_files(sizes: Sizes, kind: str, count: int) -> tuple[str, str]:
    """The JSON and the Vowpal Wabbit file of ``count`` events; made once by each generator."""
    names = [sizes.files / f"{kind}-{count}.{suffix}" for suffix in ("jsonl", "vw")]
    generator = max(Path(__file__).with_name(f).stat().st_mtime for f in _GENERATORS)
    if not all(name.exists() and name.stat().st_mtime > generator for name in names):
        say(f"making {count:,} events, {kind}")
        sizes.files.mkdir(parents=True, exist_ok=True)
        scratch = [name.with_suffix(name.suffix + ".tmp") for name in names]
        run([sys.executable, "-m", "benchmarks.events", kind, str(count), *map(str, scratch)])
        for made, name in zip(scratch, names, strict=True):
            made.rename(name)
    return str(names[0]), str(names[1])


def from_file(sizes: Sizes) -> Rows:
    """File -> model."""
    others()
    rows: Rows = []
    for kind, count in sizes.streams.items():
        json_file, vw_file = stream_files(sizes, kind, count)
        one_json, one_vw = stream_files(sizes, kind, 1)
        evaluate, slow = [*CTR, "evaluate", "--json", *SAME], min(count, sizes.slow)
        vw, river = theirs("with_vw"), theirs("with_river")
        contestants = [
            Contestant("ctr evaluate", count, [*evaluate, json_file], [*evaluate, one_json]),
            Contestant("Vowpal Wabbit", count, [*vw, vw_file, BITS], [*vw, one_vw, BITS]),
            Contestant("River", slow, [*river, json_file, str(slow)], [*river, one_json, "1"]),
        ]
        rows += compare("file", kind, contestants, sizes.repeats)
    return rows


def from_kafka(sizes: Sizes) -> Rows:
    """Kafka -> model; the broker runs on the same cores."""
    rows: Rows = []
    if not sizes.kafka:
        say("kafka: only of " + ", ".join(FULL.kafka))
        return rows
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as name, broker(Path(name)) as servers:
        for (kind, count), codec in itertools.product(sizes.kafka.items(), ("none", "lz4")):
            json_file, _ = stream_files(sizes, kind, sizes.streams[kind])
            topic, one = f"{kind}-{codec}", f"{kind}-{codec}-one"
            say(f"filling the topic {topic}")
            for filled, size in ((topic, count), (one, 4)):
                run([*ours("fill_topic"), servers, filled, codec, json_file, str(size)])
            slow = str(min(count, 5 * sizes.slow))
            parts, plain = ours("from_kafka"), ours("plain_loop")
            train = [*CTR, "train", "--stop-at-end", "--bootstrap-servers", servers, *SAME]
            train += ["--set", "metrics.port=-1", "--topic"]
            contestants = [
                Contestant(
                    "source, parser, learner",
                    count,
                    [*parts, servers, topic, BITS],
                    [*parts, servers, one, BITS],
                ),
                Contestant("ctr train, start to end", count, [*train, topic], [*train, one]),
                Contestant(
                    "poll(), json, dict",
                    int(slow),
                    [*plain, servers, topic, slow],
                    [*plain, servers, one, "1"],
                ),
            ]
            stream = f"{kind}, {'uncompressed' if codec == 'none' else codec}"
            with folders() as fresh:
                rows += compare("kafka", stream, contestants, sizes.repeats, fresh)
    return rows


@contextmanager
def folders() -> Iterator[Any]:
    """Makes an empty folder at every call, so that ``ctr train`` begins anew."""
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as parent:
        yield lambda: Path(tempfile.mkdtemp(dir=parent))


def alone(what: str, sizes: Sizes) -> Rows:
    """A part of ctr by itself, on one core."""
    rows: Rows = []
    for kind, count in sizes.streams.items():
        json_file, _ = stream_files(sizes, kind, count)
        command = [*ours("alone"), what, json_file, str(min(count, 300_000))]
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
        json_file, _ = stream_files(sizes, kind, count)
        command = [*ours("roofline"), json_file, str(min(count, 150_000)), *sizes.tables]
        found = []
        for number in range(sizes.repeats):
            say(f"roofline, {kind}: round {number + 1} of {sizes.repeats}")
            found.append(run(command).said)
        for case in found[0]:
            figures = {name: spread([one[case][name] for one in found]) for name in found[0][case]}
            rows.append({"part": "roofline", "stream": kind, "case": case, **figures})
    return rows
