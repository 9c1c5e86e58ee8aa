"""FOBOS: Duchi & Singer 2009, "Efficient online and batch learning using forward backward
splitting"."""

from __future__ import annotations

from ctr.kernels import rivals
from ctr.learn.linear import Linear


class FOBOS(Linear):
    """Logistic regression learned online by forward-backward splitting with L1 and L2.

    For every feature of an event, with g and d as in ``Linear``, a step along the gradient and
    then the proximal one of the penalties::

        u = w - g / d'
        w' = sgn(u) max(0, |u| - l1/d') / (1 + l2/d')

    A coordinate is shrunk in its own events only, once in each.

    >>> from ctr.types import Batch
    >>> learner = FOBOS(bits=18, alpha=0.5, l1=0.1, unpenalised=[0])
    >>> learner.learn(Batch([0, 2, 4], [0, 77, 0, 88], [1, 1, 1, 1], [1, 0])).round(3)
    array([0.5  , 0.542], dtype=float32)
    >>> learner.nonzero
    3
    """

    name = "fobos"
    kind = rivals.FOBOS
