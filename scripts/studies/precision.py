"""Precision of published weights and of the learner's state, and counts in place of squares."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.report import table
from msgspec.structs import replace

from studies.findings import Finding, as_row, in_percent, with_spread
from studies.path import model_of
from studies.plan import Plan, with_alpha
from studies.runs import Judged, in_parallel, judge, new, run_all
from studies.streams import Stream

_PUBLISHED = ("float32", "q2.13")
_WAYS = ("float64", *_PUBLISHED)
_BYTES = {"float64": 8, "float32": 4, "q2.13": 2}


def encoding(plan: Plan) -> Finding:
    """What a model loses by being published in 32 or 16 bits, and a learner by learning so."""
    texts, rows = [], []
    for kind in plan.kinds:
        base = plan.best(kind, "FTRL-Proximal")
        found = in_parallel(
            lambda stream, s=base: _published(s, stream), plan.streams(kind), f"{kind}, published"
        )
        exact = [one["float64"] for one in found]
        lines = [
            [
                f"published in {way}",
                f"{_BYTES[way]}",
                with_spread([one[way].log_loss for one in found], "{:.6f}"),
                in_percent([one[way].log_loss for one in found], [e.log_loss for e in exact], 4),
                in_percent([one[way].auc_loss for one in found], [e.auc_loss for e in exact], 4),
            ]
            for way in _WAYS
        ]
        head = ["the weights of FTRL-Proximal", "bytes each", "log loss", "change", "AucLoss"]
        texts.append(f"**{plan.title(kind)}**\n\n{table(head, lines)}")
        rows += [{"kind": kind, "way": way, **vars(one[way])} for one in found for way in _WAYS]
        lines = []
        for name in ("FTRL-Proximal", "OGD, l1 subgradient"):
            lines += _states(plan, kind, name, rows)
        head = ["the state of", "in", "log loss", "change", "AucLoss", "non-zero weights"]
        texts.append(table(head, lines))
    return Finding("encoding", "\n\n".join(texts), rows)


def _published(settings: Any, stream: Stream) -> dict[str, Judged]:
    """The figures of one model's held-out predictions in every encoding."""
    learner = new(settings, stream)
    learnt, rest = stream.parts()
    for batch in learnt:
        learner.learn(batch)
    found = {"float64": judge([learner.predict(batch) for batch in rest], rest)}
    for way in _PUBLISHED:
        model = model_of(learner, way)
        found[way] = judge([model.predict(batch) for batch in rest], rest)
    return found


def _states(plan: Plan, kind: str, name: str, rows: list[dict[str, Any]]) -> list[list[str]]:
    best = plan.best(kind, name)
    ways = ["float64", *(["default"] if best.name == "ftrl" else []), "float32", "q2.13"]
    found = {
        way: run_all([replace(best, state=way)], plan.streams(kind), f"{kind}, {name} in {way}")
        for way in ways
    }
    exact = found["float64"]
    rows += [as_row(run, kind=kind, learner=name) for runs in found.values() for run in runs]
    return [
        [
            name,
            way,
            with_spread([run.late.log_loss for run in runs], "{:.6f}"),
            in_percent([r.late.log_loss for r in runs], [r.late.log_loss for r in exact], 4),
            in_percent([r.late.auc_loss for r in runs], [r.late.auc_loss for r in exact], 4),
            f"{np.mean([run.nonzero for run in runs]):,.0f}",
        ]
        for way, runs in found.items()
    ]


def counts(plan: Plan) -> Finding:
    """n as the sum of squared gradients, and as PN/(P+N) of clicks and non-clicks."""
    texts, rows = [], []
    for kind in plan.kinds:
        lines, reference = [], None
        for n in ("squares", "counts"):
            base = replace(plan.best(kind, "FTRL-Proximal"), n=n, state="float64")
            tried = run_all(
                with_alpha(base, 0.05, 0.1, 0.2, 0.4), [plan.tuning_stream(kind)], f"{kind}, {n}"
            )
            best = min(tried, key=lambda run: run.late.log_loss).settings
            runs = run_all([best], plan.streams(kind), f"{kind}, {n}")
            reference = reference or runs
            rows += [as_row(run, kind=kind) for run in runs]
            losses = [run.late.log_loss for run in runs]
            lines.append(
                [
                    n,
                    f"{best.alpha:g}",
                    with_spread(losses, "{:.5f}"),
                    in_percent(losses, [run.late.log_loss for run in reference], 3),
                    in_percent(
                        [run.late.auc_loss for run in runs],
                        [run.late.auc_loss for run in reference],
                        3,
                    ),
                    in_percent([r.nonzero for r in runs], [r.nonzero for r in reference], 1),
                ]
            )
        head = ["n is", "alpha", "log loss", "change", "AucLoss", "non-zero weights"]
        texts.append(f"**{plan.title(kind)}**\n\n{table(head, lines)}")
    return Finding("counts", "\n\n".join(texts), rows)
