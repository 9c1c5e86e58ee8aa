"""Schedules of the learning rate: what each is worth, and what too small or large rates do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from benchmarks.report import table
from msgspec.structs import replace

from studies.findings import GREY, INK, Finding, as_row, in_percent, with_spread
from studies.plan import Plan, with_alpha
from studies.runs import Run, run_all, settings
from studies.streams import BATCH

SCHEDULES = [
    "constant",
    "power(r=1e6,c=0.1)",
    "power(r=1e6,c=0.3)",
    "power(r=1e5,c=0.3)",
    "power(r=1e4,c=0.5)",
    "exponential(r=1e6)",
    "piecewise(2e5:0.5,5e5:0.25)",
    "performance(window=1e5,factor=0.5)",
]
_ALPHAS = {"FTRL-Proximal": [0.1, 0.2, 0.4, 0.8], "OGD, one rate": [0.003, 0.01, 0.03, 0.1, 0.3]}
_CURVES = {"too small": 0.0003, "right": 0.01, "too large": 0.1}
_SCHEDULED = "power(r=1e4,c=0.5)"


def study(plan: Plan) -> Finding:
    """Every schedule with its own best alpha, under FTRL-Proximal and under one global rate."""
    bases = {
        "FTRL-Proximal": settings(name="ftrl", l1=1.0, l2=0.0, schedule="constant"),
        "OGD, one rate": settings(name="ogd", l1=0.0, l2=0.0, rates="global"),
    }
    texts, rows = [], []
    for kind in plan.kinds:
        for name, base in bases.items():
            found = {
                schedule: _tuned(plan, kind, replace(base, schedule=schedule), name)
                for schedule in SCHEDULES
            }
            constant = [run.late.log_loss for run in found["constant"]]
            lines = [
                [
                    schedule,
                    f"{runs[0].settings.alpha:g}",
                    with_spread([run.late.log_loss for run in runs]),
                    in_percent([run.late.log_loss for run in runs], constant, 3),
                    f"{np.mean([run.nonzero for run in runs]):,.0f}",
                ]
                for schedule, runs in found.items()
            ]
            rows += [as_row(run, kind=kind) for runs in found.values() for run in runs]
            head = ["schedule", "alpha", "log loss", "against constant", "non-zero weights"]
            texts.append(f"**{plan.title(kind)}, {name}**\n\n{table(head, lines)}")
    picture = {"schedules.svg": _picture(plan, bases["OGD, one rate"])}
    return Finding("schedules", "\n\n".join(texts), rows, picture)


def _tuned(plan: Plan, kind: str, base: Any, name: str) -> list[Run]:
    tuning, what = plan.tuning_stream(kind), f"{kind}, {name}, {base.schedule}"
    tried = run_all(with_alpha(base, *_ALPHAS[name]), [tuning], f"{what}, tuning")
    best = min(tried, key=lambda run: run.late.log_loss).settings
    return run_all([best], plan.streams(kind), what)


def _picture(plan: Plan, base: Any) -> Callable[[Any], None]:
    """Learning curves of one global rate: three constant ones and a falling one."""
    stream = plan.streams(plan.kinds[0])[0]
    variants = {
        f"{name}: {alpha:g}": replace(base, alpha=alpha, schedule="constant")
        for name, alpha in _CURVES.items()
    }
    large = _CURVES["too large"]
    variants[f"{large:g}, then {_SCHEDULED}"] = replace(base, alpha=large, schedule=_SCHEDULED)
    runs = run_all(list(variants.values()), [stream], "learning curves")
    own = run_all([settings(name="ftrl", schedule="constant", l1=1.0)], [stream], "FTRL's curve")[0]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        events = BATCH * (np.arange(len(own.losses)) + 1) / 1e6
        colors = [GREY, "#0969da", "#cf222e", "#1a7f37"]
        for (name, run), color in zip(zip(variants, runs, strict=True), colors, strict=True):
            axes.plot(events, run.losses, color=color, label=name)
        axes.plot(events, own.losses, color=INK, linestyle=":", label="FTRL-Proximal's own rates")
        low = min(own.losses.min(), *(run.losses.min() for run in runs))
        axes.set(xlabel="million events", ylabel="log loss", ylim=(0.98 * low, 1.4 * low))
        axes.legend(frameon=False, title="OGD with the rate", fontsize=9)

    return draw
