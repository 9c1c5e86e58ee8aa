"""What a served model costs: memory, lookups, loading, updates."""

from __future__ import annotations

from benchmarks.measured import run
from benchmarks.parts import Rows, Sizes, ours
from benchmarks.processes import say
from benchmarks.report import spread


def held(sizes: Sizes) -> Rows:
    """Models of other densities and sizes, each in processes of its own."""
    rows: Rows = []
    for bits, count, encoding in sizes.held:
        file = sizes.files / f"held-{bits}-{count}-{encoding}.model"
        if not file.exists():
            say(f"held: making {count:,} weights in 2^{bits}")
            sizes.files.mkdir(parents=True, exist_ok=True)
            run([*ours("held"), "make", str(bits), str(count), encoding, str(file)])
        found = []
        for number in range(sizes.repeats):
            say(f"held: {count:,} in 2^{bits}: round {number + 1} of {sizes.repeats}")
            found.append(run([*ours("held"), "measure", str(file)]).said)
        figures = {name: spread([one[name] for one in found]) for name in found[0]}
        rows.append({"part": "held", "bits": bits, "encoding": encoding, **figures})
    return rows
