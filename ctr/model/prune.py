"""Dropping tiny weights: a model that was learned dense becomes a sparse one to serve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError
from ctr.model.snapshot import Snapshot
from ctr.model.sparse import SparseModel
from ctr.types import BIAS_KEY, Float32, UInt64

SECTION = "pruned"
"""Of a manifest: a list with an object for every time that weights were dropped."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which weights stay: those with |w| >= ``below``, or the ``keep`` largest by magnitude.

    One of the two is given. Of weights of one magnitude the lower coordinates are kept, so exactly
    ``keep`` remain, the ``exempt`` ones (never dropped: the bias, whatever else is not penalised)
    among them. Raises SettingError, which says ``prune.below`` and ``prune.keep``.

    >>> rule = Rule(keep=2)
    >>> rule.keeps(np.array([0, 5, 9], np.uint64), np.array([0.1, -3, 3], np.float32))
    array([ True,  True, False])
    >>> Rule(below=-1.0)
    Traceback (most recent call last):
    ctr.errors.SettingError: prune.below must be a finite number > 0; got -1.0
    """

    below: float | None = None
    keep: int | None = None
    exempt: tuple[int, ...] = (BIAS_KEY,)

    def __post_init__(self) -> None:
        if (self.below is None) == (self.keep is None):
            key = "exactly one of prune.below and prune.keep"
            raise SettingError(key, self._given() or "neither", "given")
        below, keep = self.below, self.keep
        if below is not None and (isinstance(below, bool) or not 0 < below < math.inf):
            raise SettingError("prune.below", below, "a finite number > 0")
        if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
            raise SettingError("prune.keep", keep, "a whole number >= 1")

    def keeps(self, coordinates: UInt64, values: Float32) -> NDArray[np.bool_]:
        """Which of the weights ``values`` at ``coordinates`` stay, bool[k]."""
        exempt: NDArray[np.bool_] = np.isin(coordinates, np.array(self.exempt, np.uint64))
        # in float64, or numpy would round the bound to float32 and drop what is not below it
        magnitudes = np.abs(values).astype(np.float64)
        if self.below is not None:
            return exempt | (magnitudes >= self.below)
        kept = exempt.copy()
        kept[np.lexsort((coordinates, -magnitudes, ~exempt))[: self.keep]] = True
        return kept

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return {**self._given(), "exempt": list(self.exempt)}

    def _given(self) -> dict[str, Any]:
        named = {"below": self.below, "keep": self.keep}
        return {name: value for name, value in named.items() if value is not None}


def drop(model: SparseModel, rule: Rule) -> tuple[SparseModel, Float32]:
    """A new model with the weights that ``rule`` keeps, to the bit, and the weights dropped.

    >>> model = SparseModel(bits=8)
    >>> model.apply([0], [[-5.25, 0.5, -0.25] + 61 * [0.0]])
    >>> smaller, dropped = drop(model, Rule(below=0.5))
    >>> smaller.weights()[1].tolist(), dropped.tolist(), model.nonzero
    ([-5.25, 0.5], [-0.25], 3)
    """
    pages = model.pages()
    kept = rule.keeps(pages.coordinates(), pages.values)
    smaller = SparseModel(model.bits)
    smaller.reserve(int(kept.sum()), model.mostly_wide)
    smaller.patch(pages.choose(kept))
    return smaller, pages.values[~kept]


def prune(snapshot: Snapshot, rule: Rule) -> Snapshot:
    """``snapshot`` with only the weights that ``rule`` keeps, and a manifest that says so.

    It stays that version of the model. The section ``pruned`` of its manifest gets one more entry:
    the rule, how many weights were ``dropped``, and ``largest_dropped``, the largest magnitude
    among them (None when there are none).
    """
    manifest = snapshot.manifest
    smaller, dropped = drop(snapshot.model, rule)
    entry = {
        **rule.to_json(),
        "dropped": len(dropped),
        "largest_dropped": float(np.abs(dropped).max()) if len(dropped) else None,
    }
    sections = {**manifest.sections, SECTION: [*manifest.sections.get(SECTION, []), entry]}
    return Snapshot(manifest.describing(smaller, sections=sections), smaller)
