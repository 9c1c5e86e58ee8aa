"""Coverage: in how many events each feature name occurs, so that a vanished field shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError
from ctr.kernels.metrics import count_names, names_in_order
from ctr.types import Int32, Int64

OTHER = "(other)"
"""Counts the events with any name that came after the first ``limit``."""


class Coverage:
    """Events in which each feature name occurred, for the first ``limit`` names.

    An event in which a name occurs several times is one event; the bias (name id 0) is not a
    name. Further names are counted together as ``(other)``, which bounds what is exported.

    >>> import numpy as np
    >>> coverage = Coverage(limit=10)
    >>> ids, indptr = np.array([0, 1, 1, 0, 2], np.int32), np.array([0, 3, 5])
    >>> coverage.update(ids, indptr, ["", "user", "ad"])
    {'user': 1, 'ad': 1}
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise SettingError("coverage limit", limit, "> 0")
        self._limit = limit
        self._counts: dict[str, int] = {}

    def update(self, name_ids: Int32, indptr: Int64, names: Sequence[str]) -> dict[str, int]:
        """Count the events of a batch; returns what this adds, name by name.

        ``name_ids`` (int32, one a feature: an index into ``names``, 0 the bias, -1 a name that
        has no id) and ``indptr`` (int64[rows + 1]) are those of ``ctr.types.Events``.
        """
        slots, order = self._slots(name_ids, names)
        counts = np.zeros(len(order), np.int64)
        count_names(name_ids, indptr, slots, counts)
        added = {name: int(n) for name, n in zip(order, counts, strict=True) if n}
        for name, n in added.items():
            self._counts[name] = self._counts.get(name, 0) + n
        return added

    def total(self) -> dict[str, int]:
        """Events since the start by name; ``(other)`` last, and only if there was any."""
        other = self._counts.get(OTHER)
        named = {name: n for name, n in self._counts.items() if name != OTHER}
        return named if other is None else {**named, OTHER: other}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that ``restore`` needs, as JSON and arrays."""
        return {"counts": dict(self._counts)}, {}

    def restore(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state()``; names counted then stay counted by name."""
        self._counts = {str(name): int(n) for name, n in meta["counts"].items()}

    def _slots(self, name_ids: Int32, names: Sequence[str]) -> tuple[Int64, list[str]]:
        """For each name id, and at last for those without, the slot in the order of names."""
        known = [name for name in self._counts if name != OTHER]
        slot_of = {name: slot for slot, name in enumerate(known)}
        # not in the order of ``names``: those that no event here has would take places, until a
        # restart forgets them
        for name_id in names_in_order(name_ids, len(names)):
            name = names[name_id]
            if len(slot_of) < self._limit and name != OTHER:
                slot_of.setdefault(name, len(slot_of))
        other = len(slot_of)
        slots = [-1] + [slot_of.get(name, other) for name in names[1:]] + [other]
        return np.array(slots, np.int64), [*slot_of, OTHER]
