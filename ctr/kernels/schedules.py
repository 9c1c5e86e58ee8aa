"""The learning rate as kernels compute it, event by event."""

from __future__ import annotations

import math
from typing import Any

from ctr.kernels.options import inline, outline

CONSTANT, POWER, EXPONENTIAL, PIECEWISE, PERFORMANCE = 0, 1, 2, 3, 4

WINDOW, FACTOR, TOLERANCE, SHARE, LOSS, WEIGHT, EVENTS, BEST = range(8)
"""Where ``rates`` holds what of the performance schedule: its settings, the share of alpha it has
come to, and the sums of the window that is under way. A best of 0 is none yet."""

_BETWEEN, _FAR = 63, 65536.0
_LEAST_P = 2.0**-24

RATE_FLOOR = 1e-6
"""The rate never falls below this share of its start, or 1/rate would overflow."""


@inline
def rate(schedule: Any, rates: Any, alpha: Any, t: Any) -> Any:
    """The learning rate of the event before which ``t`` events were learned.

    ``schedule`` is one of the codes above and ``rates`` (float64) its parameters: none; r and c;
    r; pairs of a first event and the share of ``alpha`` from there on; or the columns above.
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
    elif schedule == PERFORMANCE:
        share = rates[SHARE]
    return alpha * max(share, RATE_FLOOR)


@inline
def rate_from(schedule: Any, rates: Any, alpha: Any, t: Any, anchor: Any, anchored: Any) -> Any:
    """(the rate, anchor, its rate): ``rate``, with a power only once in 64 events.

    Between, the power schedule follows three terms of the binomial series from the last multiple
    of 64, its ``anchor``, once that is right to 1e-12. Begin with an anchor of -1.
    """
    if schedule == POWER:
        r, c = rates[0], rates[1]
        start = t & ~_BETWEEN
        if r + start >= _FAR * (1.0 + c):
            if start != anchor:
                anchor, anchored = start, rate(schedule, rates, alpha, start)
            u = (t - anchor) / (r + anchor)
            share = 1.0 - c * u * (1.0 - (c + 1.0) / 2.0 * u * (1.0 - (c + 2.0) / 3.0 * u))
            return max(anchored * share, alpha * RATE_FLOOR), anchor, anchored
    return rate(schedule, rates, alpha, t), anchor, anchored


@inline
def observe(schedule: Any, rates: Any, p: Any, label: Any, weight: Any) -> None:
    """Tell the schedule what was predicted for an event, after its rate was taken."""
    if schedule == PERFORMANCE:
        _watch(rates, p, label, weight)


@outline
def _watch(rates: Any, p: Any, label: Any, weight: Any) -> None:
    """Add an event to the window; at its end, lower the rate unless the loss fell."""
    p = min(max(p, _LEAST_P), 1.0 - _LEAST_P)
    rates[LOSS] -= weight * math.log(p if label > 0.5 else 1.0 - p)
    rates[WEIGHT] += weight
    rates[EVENTS] += 1.0
    if rates[EVENTS] < rates[WINDOW]:
        return
    loss, best = rates[LOSS] / rates[WEIGHT], rates[BEST]
    if best > 0.0 and loss > best * (1.0 - rates[TOLERANCE]):
        rates[SHARE] = max(rates[SHARE] * rates[FACTOR], RATE_FLOOR)
    rates[BEST] = min(best, loss) if best > 0.0 else loss
    rates[LOSS] = rates[WEIGHT] = rates[EVENTS] = 0.0
