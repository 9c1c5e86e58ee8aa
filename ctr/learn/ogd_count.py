"""OGD-Count: McMahan et al. 2013, "Ad click prediction: a view from the trenches", section 3."""

from __future__ import annotations

from typing import Any

from ctr.kernels import rivals
from ctr.learn.linear import Linear, whole


class OGDCount(Linear):
    """Gradient descent for features that were seen before.

    A coordinate's weight is 0 for its first ``min_count`` updates, which are only counted; from
    then on it learns as in ``OGD``. Unpenalised coordinates learn from the first. A model is as
    sparse as the stream has rare values; l1 is the plain subgradient and makes none sparser.

    >>> from ctr.types import Batch
    >>> learner = OGDCount(bits=18, min_count=2, l1=0, l2=0)
    >>> rows = Batch([0, 1, 2, 3, 4], [7, 7, 7, 7], [1, 1, 1, 1], [1, 1, 1, 1])
    >>> learner.learn(rows).round(3)
    array([0.5  , 0.5  , 0.5  , 0.508], dtype=float32)
    """

    name = "ogd-count"
    kind = rivals.OGD_COUNT

    def __init__(self, bits: int, *args: Any, min_count: int = 10, **settings: Any) -> None:
        self.min_count = whole("learner.min_count", min_count)
        super().__init__(bits, *args, **settings)
