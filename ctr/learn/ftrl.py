"""FTRL-Proximal: McMahan et al. 2013, "Ad click prediction: a view from the trenches"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import ftrl, ftrl_rows, rivals
from ctr.learn.linear import Linear


class FTRLProximal(Linear):
    """Logistic regression learned online by FTRL-Proximal with L1 and L2 (Algorithm 1).

    For every feature of an event with the gradient g = (p - y) x weight, at t events learned::

        n' = n + g^2    d' = max(d, (beta + n'^power) / alpha(t))    z' = z + g - (d' - d) w
        w' = 0 if |z'| <= l1, else -(z' - sgn(z') l1) / (d' + l2)

    so that w minimises, over the coordinate's gradients g_s at the weights w_s,
    ``sum g_s w + 1/2 sum sigma_s (w - w_s)^2 + l1 |w| + (l2/2) w^2`` with
    ``sigma_s = d_s - d_(s-1)``: l1 and l2 are the paper's, without further factors. With a
    constant alpha, d is the paper's 1/eta.

    A coordinate takes 16 bytes: z in 64 bits, d and a randomly rounded n in 32. Another ``state``
    or ``n``, or a global rate, takes 32. For all else see ``Linear``.

    >>> from ctr.types import Batch
    >>> learner = FTRLProximal(bits=18, alpha=0.5, l1=0.1, unpenalised=[0])
    >>> rows = Batch([0, 2, 4], [0, 77, 0, 88], [1, 1, 1, 1], [1, 0])
    >>> learner.learn(rows)
    array([0.5      , 0.5415705], dtype=float32)
    >>> learner.predict(rows).round(2)
    array([0.53, 0.48], dtype=float32)
    >>> learner.events_learned, learner.nonzero, learner.touched
    (2, 3, 3)
    """

    name = "ftrl"
    kind = rivals.FTRL

    def _precision_of(self, state: str) -> str:
        if state == "default" and self.rates == "per-coordinate" and self.n == "squares":
            return "default"
        return super()._precision_of(state)

    def _compiled(self) -> tuple[Any, Any, np.dtype[Any], Any]:
        if self.precision != "default":
            return super()._compiled()
        rules = ftrl.Rules(
            self.alpha,
            self.beta,
            self.l1,
            self.l2,
            self.power,
            self.schedule.code,
            self.schedule.parameters(),
            np.uint64(self.seed & 0xFFFF_FFFF_FFFF_FFFF),
        )
        return ftrl_rows, ftrl, ftrl.CELL, rules
