"""A model as a server holds it: held.py make BITS WEIGHTS ENCODING FILE, held.py measure FILE.

``make`` writes a snapshot with so many weights at random coordinates; ``measure`` loads it and
prints what it costs, as JSON. Seconds are the thread's own processor time.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.snapshot import read, write
from ctr.model.sparse import SparseModel
from ctr.settings import Features
from ctr.types import Batch

AT_ONCE = 1 << 22
"""Coordinates for which weights are drawn at a time."""

ROW, ROWS = 25, 40_000
"""Features of an event, and events of a cold pass: as many lookups as no cache remembers."""

HOT = 4_000
"""Keys of a hot pass."""

CHANGES = 10_000, 100_000
REPEATS = 5


def make(bits: int, count: int, encoding: str, file: Path) -> None:
    rng = np.random.default_rng(bits + count)
    model = SparseModel(bits)
    model.reserve(count, wide=encoding == "float32")
    size = min(AT_ONCE, 1 << bits)
    for first in range(0, 1 << bits, size):
        there = first + np.flatnonzero(rng.random(size, np.float32) < count / 2**bits)
        numbers = rng.integers(1, 32_767, len(there)) * rng.choice([-1, 1], len(there))
        values = (numbers / 8192).astype(np.float32)
        model.patch(listing(there, values * np.float32(1.1 if encoding == "float32" else 1)))
    write(file, Manifest(version=1, spec=Features(bits=bits), encoding=encoding), model)


def listing(coordinates: Any, values: Any) -> Pages:
    """A patch of coordinates in ascending order."""
    pages = coordinates >> 6
    starts = np.flatnonzero(np.diff(pages, prepend=-1))
    bits = np.uint64(1) << (coordinates & 63).astype(np.uint64)
    return Pages(pages[starts], np.bitwise_or.reduceat(bits, starts), values)


def measure(file: Path) -> dict[str, Any]:
    before = memory("VmHWM")
    started = time.thread_time()
    model = read(file).model
    found = {"load_seconds": time.thread_time() - started, "weights": model.nonzero}
    found["bytes_a_weight"] = model.nbytes / model.nonzero
    found["model_mib"] = model.nbytes / 2**20
    found["peak_mib"] = (memory("VmHWM") - before) / 2**20
    rng = np.random.default_rng(1)
    there = model.weights()[0].astype(np.int64)
    for name, keys in (("hot", HOT), ("cold", ROW * ROWS)):
        found[f"{name}_ns"] = lookups(model, half_of(there, keys, model.bits, rng))
    for changes in CHANGES:
        if changes <= len(there):
            staged, committed = updates(model, there, changes, rng)
            found |= {f"stage_{changes}": staged, f"commit_{changes}": committed}
    found["most_bytes_a_weight"] = model.nbytes / model.nonzero
    return found


def half_of(there: Any, count: int, bits: int, rng: np.random.Generator) -> Any:
    """Keys of which half have a weight."""
    keys = rng.integers(1, 1 << bits, count)
    keys[::2] = rng.choice(there, len(keys[::2]))
    rng.shuffle(keys)
    return keys.astype(np.uint64)


def lookups(model: SparseModel, keys: Any) -> float:
    """Nanoseconds of a lookup, all of scoring included."""
    rows = len(keys) // ROW
    again = max(1, ROWS // rows)
    batch = Batch(np.arange(rows + 1) * ROW, keys, np.ones(len(keys), np.float32), np.zeros(rows))
    model.score(batch)
    taken = seconds(lambda: [model.score(batch) for _ in range(again)])
    return 1e9 * taken / (again * rows * ROW)


def updates(model: SparseModel, there: Any, changes: int, rng: Any) -> tuple[float, float]:
    """Milliseconds of the work beside the requests and between two of them, the median of some."""
    staged: list[Any] = []
    staging, committing = [], []
    for _ in range(REPEATS):
        chosen = np.sort(rng.choice(there, changes, replace=False))
        values = (rng.integers(1, 32_767, changes) / 8192).astype(np.float32)
        patch = listing(chosen, values)
        staging.append(1e3 * seconds(lambda: staged.append(model.stage(patch))))  # noqa: B023
        committing.append(1e3 * seconds(lambda: model.commit(staged.pop())))
    return float(np.median(staging)), float(np.median(committing))


def seconds(work: Callable[[], object]) -> float:
    """What ``work`` takes, on this thread alone."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def memory(name: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) << 10


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "make":
        make(int(rest[0]), int(rest[1]), rest[2], Path(rest[3]))
    else:
        model = SparseModel(8)  # compiled code is loaded then
        model.patch(listing(np.arange(9), np.ones(9, np.float32)))
        model.score(Batch([0, 1], [1], [1.0], [0]))
        print(json.dumps(measure(Path(rest[0]))))
