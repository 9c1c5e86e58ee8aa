"""Pages of weights as values, and the rounding of a learner's weights to what is served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError
from ctr.kernels import encoding as kernels
from ctr.types import Float32, Int64, UInt64

PAGE = 64
"""Coordinates of a page."""

ENCODINGS = ("q2.13", "float32")


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages in ascending order, each with the coordinates it lists.

    ``ids``: int64[k], page numbers. ``masks``: uint64[k], bit j for coordinate 64 id + j.
    ``values``: float32, one a listed coordinate, pages and coordinates in order. As the *content*
    of pages they list what is not zero; as a *patch* they list what changes, 0 included.

    >>> pages = Pages.from_dense([3], [[0.5] + 62 * [0.0] + [-1.0]])
    >>> pages.coordinates().tolist(), pages.values.tolist()
    ([192, 255], [0.5, -1.0])
    """

    ids: Int64
    masks: UInt64
    values: Float32

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def none(cls) -> Pages:
        return cls(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.float32))

    @classmethod
    def from_dense(cls, ids: Any, weights: Any) -> Pages:
        """The content of pages ``ids`` (ascending) from ``weights``, float32[k, 64], unrounded.

        Raises SettingError for shapes that do not fit and weights that are not finite numbers.
        """
        return round_pages(ids, weights, "float32")

    @classmethod
    def joined(cls, parts: Sequence[Pages]) -> Pages:
        """Parts one after another; every page of one comes before those of the next."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.ids for part in parts] or [Pages.none().ids]),
            np.concatenate([part.masks for part in parts] or [Pages.none().masks]),
            np.concatenate([part.values for part in parts] or [Pages.none().values]),
        )

    def ends(self) -> Int64:
        """Where each page's values end, int64[k]."""
        return np.cumsum(np.bitwise_count(self.masks), dtype=np.int64)

    def part(self, first: int, last: int) -> Pages:
        """The pages with index ``first`` to ``last - 1``."""
        ends = self.ends()
        start, end = (int(ends[i - 1]) if i else 0 for i in (first, last))
        return Pages(self.ids[first:last], self.masks[first:last], self.values[start:end])

    def only(self, keep: NDArray[np.bool_]) -> Pages:
        """The pages for which ``keep`` (bool[k]) is true."""
        each = np.repeat(keep, np.bitwise_count(self.masks))
        return Pages(self.ids[keep], self.masks[keep], self.values[each])

    def choose(self, keep: NDArray[np.bool_]) -> Pages:
        """Without the coordinates for which ``keep`` (bool, beside ``values``) is false.

        Pages of which nothing is left go too.
        """
        listed = self._listed()
        listed[listed] = keep
        packed = np.packbits(listed, axis=1, bitorder="little")
        chosen = Pages(self.ids, packed.view(np.uint64).reshape(-1), self.values[keep])
        return chosen.only(chosen.masks != 0)

    def coordinates(self) -> UInt64:
        """The listed coordinates, uint64, beside ``values``."""
        row, position = np.nonzero(self._listed())
        return (self.ids[row] * PAGE + position).astype(np.uint64)

    def dense(self) -> Float32:
        """The pages as float32[k, 64], 0 where nothing is listed."""
        weights = np.zeros((len(self), PAGE), np.float32)
        weights[self._listed()] = self.values
        return weights

    def _listed(self) -> NDArray[np.bool_]:
        """Whether a coordinate is listed, bool[k, 64]."""
        bits = np.unpackbits(self.masks.view(np.uint8), bitorder="little")
        return bits.reshape(-1, PAGE).view(np.bool_)


def round_pages(
    ids: Any, weights: Any, encoding: str = "q2.13", seed: int = 0, exact: Iterable[int] = ()
) -> Pages:
    """The content of pages ``ids`` (int64[k], ascending) from ``weights`` (float32[k, 64]).

    With "q2.13" each weight becomes one of its two neighbours on the grid of 2^-13, at random so
    that the expectation is the weight (McMahan et al. 2013, section 3); the draw depends on seed,
    coordinate and weight alone. |w| >= 4 and the coordinates ``exact`` keep their float32.
    Raises SettingError for shapes that do not fit and weights that are not finite numbers.
    """
    ids = np.ascontiguousarray(ids, np.int64)
    weights = np.ascontiguousarray(weights, np.float32)
    if weights.shape != (len(ids), PAGE):
        raise SettingError("weights", weights.shape, f"of shape ({len(ids)}, {PAGE})")
    if encoding not in ENCODINGS:
        raise SettingError("encoding", encoding, f"one of {', '.join(ENCODINGS)}")
    kept = _masks_of(ids, np.array(list(exact), np.int64))
    masks, values, finite = kernels.round_pages(
        ids, weights, kept, encoding == "q2.13", np.uint64(seed)
    )
    if not finite:
        raise SettingError("weights", "infinite numbers or NaN", "finite numbers")
    return Pages(ids, masks, values)


def _masks_of(ids: Int64, coordinates: Int64) -> UInt64:
    """Per page the mask of those of its coordinates that are in ``coordinates``."""
    masks = np.zeros(len(ids), np.uint64)
    for coordinate in coordinates:
        at = np.searchsorted(ids, coordinate // PAGE)
        if at < len(ids) and ids[at] == coordinate // PAGE:
            masks[at] |= np.uint64(1) << np.uint64(coordinate % PAGE)
    return masks
