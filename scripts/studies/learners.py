"""Table 1 of McMahan et al. 2013 in kind: how large and how good each learner's model is."""

from __future__ import annotations

from benchmarks.report import table

from studies.findings import Finding, as_row, brief, in_percent, with_spread
from studies.plan import Plan, maker
from studies.runs import Run, run_all

SLACK = 0.005
"""Of a learner's settings the sparsest is chosen whose AucLoss is at most this much, relatively,
above the lowest one that the same learner reaches."""


def study(plan: Plan) -> Finding:
    """Every learner, tuned with the same budget on one stream, over others."""
    texts, rows = [], []
    for kind in plan.kinds:
        found = {
            name: run_all([chosen(runs)], plan.streams(kind), f"{kind}, {name}", maker(name))
            for name, runs in plan.tuning(kind).items()
        }
        reference = found["FTRL-Proximal"]
        lines = [
            [
                name,
                brief(runs[0].settings),
                f"{sum(run.nonzero for run in runs) / len(runs):,.0f}",
                in_percent([r.nonzero for r in runs], [r.nonzero for r in reference], 0),
                in_percent([r.late.auc_loss for r in runs], [r.late.auc_loss for r in reference]),
                with_spread([r.late.log_loss for r in runs]),
            ]
            for name, runs in found.items()
        ]
        rows += [as_row(run, learner=name) for name, runs in found.items() for run in runs]
        head = ["", "settings", "non-zero weights", "against FTRL", "AucLoss", "log loss"]
        texts.append(f"**{plan.title(kind)}**\n\n{table(head, lines)}")
    return Finding("learners", "\n\n".join(texts), rows)


def chosen(runs: list[Run]) -> object:
    """The sparsest setting that is about as good as the learner's best."""
    limit = (1 + SLACK) * min(run.late.auc_loss for run in runs)
    good = [run for run in runs if run.late.auc_loss <= limit]
    return min(good, key=lambda run: (run.nonzero, run.late.auc_loss)).settings
