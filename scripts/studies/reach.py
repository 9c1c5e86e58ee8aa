"""How near FTRL-Proximal comes to the best reachable log loss, with the true crosses."""

from __future__ import annotations

import numpy as np
from benchmarks.report import table

from studies.findings import Finding
from studies.plan import Plan
from studies.runs import in_parallel, judge, new, settings
from studies.streams import simulated

_TIMES = 5
_VARIANTS = {
    "the command's defaults": settings(),
    "alpha 0.2, l1 1, power(r=1e6,c=0.3)": settings(
        alpha=0.2, l1=1.0, schedule="power(r=1e6,c=0.3)"
    ),
    "alpha 0.2, l1 3, power(r=1e6,c=0.3)": settings(
        alpha=0.2, l1=3.0, schedule="power(r=1e6,c=0.3)"
    ),
}


def study(plan: Plan) -> Finding:
    """Five times the events of the other studies (5 million by default), stationary."""
    stream = simulated(1, _TIMES * plan.events, drifting=False)
    last = range(len(stream.batches) * 4 // 5, len(stream.batches))
    starts = np.cumsum([0, *(len(batch) for batch in stream.batches)])
    truth = [stream.truth[starts[k] : starts[k + 1]] for k in last]
    labels = [stream.batches[k] for k in last]
    best = judge(truth, labels).log_loss
    base = judge([np.full(len(b), stream.labels.mean()) for b in labels], labels).log_loss

    def late(name: str) -> tuple[float, int]:
        learner = new(_VARIANTS[name], stream)
        found = [learner.learn(batch) for batch in stream.batches]
        return judge([found[k] for k in last], labels).log_loss, learner.nonzero

    found = in_parallel(late, list(_VARIANTS), "the reach of FTRL-Proximal")
    lines = [["always the click rate", f"{base:.5f}", f"+{100 * (base / best - 1):.2f}%", "-"]]
    rows = []
    for name, (loss, nonzero) in zip(_VARIANTS, found, strict=True):
        lines.append([name, f"{loss:.5f}", f"+{100 * (loss / best - 1):.2f}%", f"{nonzero:,}"])
        rows.append({"name": name, "log_loss": loss, "best": best, "nonzero": nonzero})
    lines.append(["the true probabilities", f"{best:.5f}", "-", "-"])
    head = ["", "log loss of the last fifth", "above the best", "non-zero weights"]
    text = f"{len(stream):,} events.\n\n{table(head, lines)}"
    return Finding("reach", text, rows)
