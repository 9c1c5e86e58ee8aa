"""Learning from fewer of the events without a click (McMahan et al. 2013, section 3.5)."""

from __future__ import annotations

from typing import Any

from benchmarks.report import table

from ctr.types import Batch
from studies.findings import Finding, in_percent, with_spread
from studies.plan import KINDS, Plan
from studies.runs import Judged, in_parallel, judge, new, settings
from studies.streams import HELD_OUT, Stream, simulated

_SHARES = (1.0, 0.5, 0.2, 0.1, 0.05)


def study(plan: Plan) -> Finding:
    """Models learned from a part of the non-clicks, judged on all events held out."""
    texts, rows = [], []
    for kind in KINDS:
        found = in_parallel(
            lambda stream, k=kind: _shares(plan, k, stream), plan.streams(kind), f"{kind} sampling"
        )
        whole = [one[1.0] for one in found]
        lines = []
        for name in [*_SHARES, "0.1, unweighted"]:
            judged = [one[name] for one in found]
            kept = sum(one[name, "events"] for one in found) / sum(
                one[1.0, "events"] for one in found
            )
            lines.append(
                [
                    f"{name}",
                    f"{kept:.0%}",
                    with_spread([one.calibration for one in judged], "{:.3f}"),
                    with_spread([one.log_loss for one in judged]),
                    in_percent([o.log_loss for o in judged], [o.log_loss for o in whole]),
                    in_percent([o.auc_loss for o in judged], [o.auc_loss for o in whole]),
                ]
            )
            rows += [{"kind": kind, "r": str(name), **vars(one)} for one in judged]
        head = ["r", "events learned", "calibration", "log loss", "change", "AucLoss"]
        texts.append(f"**{plan.title(kind)}**\n\n{table(head, lines)}")
    return Finding("subsampling", "\n\n".join(texts), rows)


def _shares(plan: Plan, kind: str, whole: Stream) -> dict[Any, Any]:
    """Figures on the same held-out events for every share kept, and how many were learned."""
    learnt, rest = whole.parts()
    found: dict[Any, Any] = {}
    seed = int(whole.name.rsplit(" ", 1)[1])
    for share in _SHARES:
        part = learnt
        if share < 1:
            events = round(HELD_OUT * plan.events)
            part = simulated(seed, events, drifting=kind == "drifting", keep=share).batches
        found[share] = _judged(part, rest, whole)
        found[share, "events"] = sum(len(batch) for batch in part)
        if share == 0.1:
            careless = [Batch(b.indptr, b.keys, b.values, b.labels) for b in part]
            found["0.1, unweighted"] = _judged(careless, rest, whole)
            found["0.1, unweighted", "events"] = found[share, "events"]
    return found


def _judged(part: list[Batch], rest: list[Batch], stream: Stream) -> Judged:
    learner = new(settings(name="ftrl", alpha=0.2, schedule="constant"), stream)
    for batch in part:
        learner.learn(batch)
    return judge([learner.predict(batch) for batch in rest], rest)
