"""Per-coordinate rates against one global rate (McMahan et al. 2013, section 3.1)."""

from __future__ import annotations

from benchmarks.report import table

from studies.findings import Finding, as_row, brief, in_percent, with_spread
from studies.plan import Plan
from studies.runs import Run, grid, run_all, settings

_OWN = {"alpha": [0.025, 0.05, 0.1, 0.2, 0.4, 0.8], "l1": [0.0, 1.0]}
_GLOBAL = {
    "alpha": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
    "schedule": ["constant", "power(r=1e4,c=0.5)"],
}
_NAMES = {"FTRL-Proximal": "ftrl", "RDA": "rda", "OGD": "ogd"}


def study(plan: Plan) -> Finding:
    """Both ways tuned with the same budget of 12 settings, for three learners."""
    texts, rows = [], []
    for kind in plan.kinds:
        lines = []
        for name, learner in _NAMES.items():
            base = settings(name=learner, l1=0.0, l2=0.0, schedule="constant")
            l1 = {"l1": _OWN["l1"] if learner != "ogd" else [0.0, 0.0003]}
            own = _tuned(plan, kind, grid(base, **{**_OWN, **l1}), f"{name}, per coordinate")
            one = settings(name=learner, l1=0.0, l2=0.0, rates="global")
            one_rate = _tuned(plan, kind, grid(one, **_GLOBAL), f"{name}, global")
            auc = [run.late.auc_loss for run in own], [run.late.auc_loss for run in one_rate]
            loss = [run.late.log_loss for run in own], [run.late.log_loss for run in one_rate]
            lines.append(
                [
                    name,
                    brief(own[0].settings),
                    brief(one_rate[0].settings),
                    with_spread(loss[0]),
                    with_spread(loss[1]),
                    in_percent(*auc),
                ]
            )
            rows += [as_row(run, learner=name, kind=kind) for run in (*own, *one_rate)]
        head = [
            "",
            "own rates",
            "one rate",
            "log loss, own",
            "log loss, one",
            "AucLoss, own to one",
        ]
        texts.append(f"**{plan.title(kind)}**\n\n{table(head, lines)}")
    return Finding("rates", "\n\n".join(texts), rows)


def _tuned(plan: Plan, kind: str, variants: list[object], what: str) -> list[Run]:
    """The variant with the lowest AucLoss on the tuning stream, over the others."""
    tried = run_all(variants, [plan.tuning_stream(kind)], f"{kind}, tuning {what}")
    best = min(tried, key=lambda run: run.late.auc_loss).settings
    return run_all([best], plan.streams(kind), f"{kind}, {what}")
