"""Online gradient descent: Zinkevich 2003; AdaGrad: Duchi, Hazan & Singer 2011, "Adaptive
subgradient methods for online learning and stochastic optimization"."""

from __future__ import annotations

from typing import Any

from ctr.errors import SettingError
from ctr.kernels import rivals
from ctr.learn.linear import Linear, number


class OGD(Linear):
    """Logistic regression learned online by gradient descent, with a plain L1 subgradient.

    For every feature of an event, with g and d as in ``Linear``::

        v' = momentum v + (g + l1 sgn(w)) / d'
        w' = (w - v') / (1 + l2/d')

    With ``rates="per-coordinate"`` this is AdaGrad; with ``rates="global"`` the rate is alpha(t)
    and there may be ``momentum`` (from 0 to < 1), which moves a coordinate in its own events
    only. The l1 term pulls weights about zero without ever putting them there, so the model is
    dense; ``ctr prune`` drops what is small. l2 is a proximal step, which no rate makes diverge.

    >>> from ctr.types import Batch
    >>> learner = OGD(bits=18, alpha=0.05, l1=0, l2=0, rates="global", momentum=0.9)
    >>> learner.learn(Batch([0, 1, 2, 3], [7, 7, 7], [1, 1, 1], [1, 1, 1])).round(3)
    array([0.5  , 0.506, 0.518], dtype=float32)
    """

    name = "ogd"
    kind = rivals.OGD

    def __init__(self, bits: int, *args: Any, momentum: float = 0.0, **settings: Any) -> None:
        self.momentum = number("learner.momentum", momentum, "from 0 to < 1", lambda x: 0 <= x < 1)
        super().__init__(bits, *args, **settings)
        if self.momentum > 0 and self.rates != "global":
            raise SettingError("learner.momentum", momentum, "0 unless learner.rates is global")
