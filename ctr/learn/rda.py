"""Regularized dual averaging: Nesterov 2009, "Primal-dual subgradient methods for convex problems";
Xiao 2010, "Dual averaging methods for regularized stochastic learning and online optimization"."""

from __future__ import annotations

from ctr.kernels import rivals
from ctr.learn.linear import Linear


class RDA(Linear):
    """Logistic regression learned online by dual averaging with L1 and L2.

    For every feature of an event, with g and d as in ``Linear``::

        z' = z + g
        w' = 0 if |z'| <= l1, else -(z' - sgn(z') l1) / (d' + l2)

    so that w minimises ``z w + l1 |w| + (d + l2)/2 w^2``: the gradients' sum, pulled towards 0
    where FTRL-Proximal is held near the weights that there were (McMahan 2011, "Follow-the-
    regularized-leader and mirror descent"). l1 weighs against the sum of the gradients as in
    FTRL-Proximal, while Xiao's lambda weighs against their mean. With ``rates="global"``
    and the schedule ``power(r=1,c=0.5)`` d is Xiao's gamma sqrt(t) with gamma = 1/alpha, as of
    the coordinate's last event.

    >>> from ctr.types import Batch
    >>> learner = RDA(bits=18, alpha=0.5, l1=0.1, unpenalised=[0])
    >>> learner.learn(Batch([0, 2, 4], [0, 77, 0, 88], [1, 1, 1, 1], [1, 0])).round(3)
    array([0.5  , 0.542], dtype=float32)
    >>> learner.weights()[1].round(3)
    array([-0.012,  0.1  , -0.108], dtype=float32)
    """

    name = "rda"
    kind = rivals.RDA
