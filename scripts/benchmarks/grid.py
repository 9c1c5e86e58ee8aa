"""What one more variant of ``ctr evaluate --grid`` costs, beside a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.measured import Contestant, Run, figures, rounds
from benchmarks.parts import SAME, Rows, Sizes, stream_files
from benchmarks.processes import CTR
from benchmarks.report import spread

GRIDS: dict[int, Sequence[str]] = {
    1: [],
    2: ["--grid", "alpha=0.1,0.05"],
    4: ["--grid", "alpha=0.1,0.05", "--grid", "l1=1,2"],
    8: ["--grid", "alpha=0.1,0.05,0.2,0.02", "--grid", "l1=1,2"],
}
"""Variants, and the flags that make so many; one is a run of its own."""


def from_grid(sizes: Sizes) -> Rows:
    """File -> so many models, in one pass."""
    rows: Rows = []
    for kind, count in sizes.streams.items():
        (json_file, _), (one, _) = (stream_files(sizes, kind, n) for n in (count, 1))
        evaluate = [*CTR, "evaluate", "--json", *SAME]
        contestants = [
            Contestant(str(n), count, [*evaluate, *flags, json_file], [*evaluate, *flags, one])
            for n, flags in GRIDS.items()
        ]
        starts, runs = rounds("grid", kind, contestants, sizes.repeats)
        for contestant in contestants:
            name = contestant.name
            row = {"part": "grid", "stream": kind, "variants": int(name)}
            row |= figures(contestant, starts[name], runs[name])
            row["one_more_cpu"] = one_more(int(name), starts, runs, lambda run: run.cpu)
            row["one_more_wall"] = one_more(int(name), starts, runs, lambda run: run.wall)
            rows.append(row)
    return rows


def one_more(
    variants: int,
    starts: dict[str, list[Run]],
    runs: dict[str, list[Run]],
    cost: Callable[[Run], float],
) -> dict[str, float] | None:
    """What each variant beside the first costs, as a share of a run of its own, round by round.

    Both without the cost of their start. None for one variant.
    """
    if variants == 1:
        return None

    def passes(name: str) -> list[float]:
        start = spread([cost(run) for run in starts[name]])["median"]
        return [cost(run) - start for run in runs[name]]

    own, together = passes("1"), passes(str(variants))
    return spread([(b - a) / (variants - 1) / a for a, b in zip(own, together, strict=True)])
