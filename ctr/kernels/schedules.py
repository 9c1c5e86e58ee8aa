"""The learning rate as kernels compute it, event by event."""

from __future__ import annotations

from typing import Any

from ctr.kernels.options import inline

CONSTANT, POWER, EXPONENTIAL, PIECEWISE = 0, 1, 2, 3

RATE_FLOOR = 1e-6
"""The rate never falls below this share of its start, or 1/rate would overflow."""


@inline
def rate(schedule: Any, rates: Any, alpha: Any, t: Any) -> Any:
    """The learning rate of the event before which ``t`` events were learned.

    ``schedule`` is one of the codes above and ``rates`` (float64) its parameters: none; r and c;
    r; or pairs of a first event and the share of ``alpha`` from there on.
    """
    share = 1.0
    if schedule == POWER:
        share = (1.0 + t / rates[0]) ** -rates[1]
    elif schedule == EXPONENTIAL:
        share = 10.0 ** (-t / rates[0])
    elif schedule == PIECEWISE:
        for k in range(0, len(rates), 2):
            if t >= rates[k]:
                share = rates[k + 1]
    return alpha * max(share, RATE_FLOOR)
