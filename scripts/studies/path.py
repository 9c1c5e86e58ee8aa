"""The l1 path: what a model of so many weights costs in log loss, for every way to get there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from benchmarks.report import table
from msgspec.structs import replace

from ctr.learn import Learner
from ctr.model.image import Image
from ctr.model.prune import Rule, drop
from ctr.model.sparse import SparseModel
from ctr.settings import Learner as Settings
from studies.findings import COLORS, GREY, Finding
from studies.plan import SHRINKING, Plan, maker
from studies.runs import in_parallel, judge, new, run
from studies.streams import Stream

_FACTORS = [0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32]
_SHARES = [1.0, 0.5, 0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.0025, 0.001]
_TARGETS = [0.0025, 0.005, 0.01, 0.02, 0.03]
SWEPT = {
    "FTRL-Proximal": 2.0,
    "RDA": 2.0,
    "FOBOS": 0.01,
    SHRINKING: 1e-5,
    "OGD, l1 subgradient": 0.001,
}
"""The middle of each learner's path of l1."""


@dataclass(frozen=True)
class Point:
    """A model: how it came to be, how many weights it has, how good it is on what was held out."""

    way: str
    setting: str
    nonzero: int
    log_loss: float
    stream: str


def study(plan: Plan) -> Finding:
    """All paths, over every stream."""
    texts, rows, pictures = [], [], {}
    for kind in plan.kinds:
        jobs = [
            work
            for stream in plan.streams(kind)
            for work in (*_swept(plan, kind, stream), *_pruned(plan, kind, stream))
        ]
        points = [
            p for found in in_parallel(lambda job: job(), jobs, f"{kind} path") for p in found
        ]
        rows += [vars(point) for point in points]
        texts.append(f"**{plan.title(kind)}**\n\n{_equal_loss(points)}")
        pictures[f"path-{kind}.svg"] = _picture(points)
    return Finding("path", "\n\n".join(texts), rows, pictures)


def _swept(plan: Plan, kind: str, stream: Stream) -> Iterator[Callable[[], list[Point]]]:
    """A run for each setting of l1, or of how often a feature must have been seen."""
    for name, middle in SWEPT.items():
        best = plan.best(kind, name)
        for factor in _FACTORS:
            yield partial(_point, name, replace(best, l1=middle * factor), stream)
    best = plan.best(kind, "OGD-Count")
    for count in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        yield partial(_point, "OGD-Count", replace(best, min_count=count), stream)


def _point(way: str, settings: Settings, stream: Stream) -> list[Point]:
    found = run(settings, stream, maker(way))
    value = settings.min_count if way == "OGD-Count" else settings.l1
    loss = found.held_out.log_loss
    return [Point(way, f"{value:g}", found.nonzero_held_out, loss, stream.name)]


def _pruned(plan: Plan, kind: str, stream: Stream) -> Iterator[Callable[[], list[Point]]]:
    """Models learned without regard to size, their smallest weights dropped afterwards."""
    dense = replace(plan.best(kind, "FTRL-Proximal"), l1=0.0)
    yield partial(_dropped, "FTRL-Proximal, l1 0, pruned", dense, stream)
    subgradient = replace(plan.best(kind, "OGD, l1 subgradient"), l1=0.01)
    yield partial(_dropped, "OGD, l1 subgradient 0.01, pruned", subgradient, stream)


def _dropped(way: str, settings: Settings, stream: Stream) -> list[Point]:
    learner = new(settings, stream)
    learnt, rest = stream.parts()
    for batch in learnt:
        learner.learn(batch)
    model, points = model_of(learner, "float32"), []
    for share in _SHARES:
        keep = max(2, round(share * model.nonzero))
        smaller, _ = drop(model, Rule(keep=keep))
        judged = judge([smaller.predict(batch) for batch in rest], rest)
        points.append(Point(way, f"keep {keep}", smaller.nonzero, judged.log_loss, stream.name))
    return points


def model_of(learner: Learner, encoding: str) -> SparseModel:
    """The model as it is published in ``encoding``; the bias is exact."""
    image = Image(learner.bits, encoding, exact=[0])
    pages = learner.touched_pages()
    image.update(pages, learner.page_weights(pages))
    return image.model


def _equal_loss(points: list[Point]) -> str:
    """The weights that each way needs for a log loss so much above the lowest of all."""
    ways = list(dict.fromkeys(point.way for point in points))
    streams = list(dict.fromkeys(point.stream for point in points))
    lines = []
    for way in ways:
        cells = [way]
        for target in _TARGETS:
            needed = [
                _needed([p for p in points if p.stream == s and p.way == way], (1 + target) * low)
                for s in streams
                for low in [min(p.log_loss for p in points if p.stream == s)]
            ]
            reached = [n for n in needed if n is not None]
            cells.append(f"{np.mean(reached):,.0f}" if len(reached) == len(needed) else "-")
        lines.append(cells)
    head = ["non-zero weights for a log loss of", *(f"+{100 * t:g}%" for t in _TARGETS)]
    return table(head, lines)


def _needed(points: list[Point], log_loss: float) -> float | None:
    """The fewest weights that reach ``log_loss``, between two models on a line in log weights."""
    path = sorted(points, key=lambda point: point.nonzero)
    for k, point in enumerate(path):
        if point.log_loss <= log_loss:
            if k == 0 or path[k - 1].log_loss <= point.log_loss:
                return point.nonzero
            before = path[k - 1]
            part = (before.log_loss - log_loss) / (before.log_loss - point.log_loss)
            low, high = np.log(max(before.nonzero, 1)), np.log(point.nonzero)
            return float(np.exp(low + part * (high - low)))
    return None


def _picture(points: list[Point]) -> Callable[[Any], None]:
    first = [point for point in points if point.stream == points[0].stream]
    low = min(point.log_loss for point in first)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for way in dict.fromkeys(point.way for point in first):
            mine = sorted((p for p in first if p.way == way), key=lambda point: point.nonzero)
            axes.plot(
                [point.nonzero for point in mine],
                [point.log_loss for point in mine],
                color=COLORS.get(way.split(",")[0], COLORS.get(way, GREY)),
                linestyle=":" if way == SHRINKING else "--" if "pruned" in way else "-",
                marker=".",
                label=way,
            )
        axes.set(xscale="log", xlabel="non-zero weights", ylabel="log loss of held-out events")
        axes.set_ylim(0.998 * low, 1.06 * low)
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)

    return draw
