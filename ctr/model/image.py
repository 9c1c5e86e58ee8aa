"""The publishing side's own copy of the served model: what to publish, and what has changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ctr.model.pages import Pages, round_pages
from ctr.model.sparse import SparseModel
from ctr.types import Int64, UInt64


class Image:
    """The learner's weights as servers have or will have them: rounded, non-zero ones only.

    ``update`` takes pages of the learner's weights, as many and as often as one likes;
    ``take_changes`` gives what changed since it was last asked. Blocks, snapshots, counts and the
    digest are read from ``model``, so that publishing needs the learner for nothing else and a
    failed publish can be repeated. Costs as much memory as a server (under 8 bytes a weight).

    >>> image = Image(bits=8, exact=[0])
    >>> image.update([0], [[-5.25, 0.5] + 62 * [0.0]])
    >>> image.take_changes().coordinates().tolist()
    [0, 1]
    >>> image.update([0], [[-5.25, 0.0] + 62 * [0.0]])
    >>> changes = image.take_changes()
    >>> changes.coordinates().tolist(), changes.values.tolist()
    ([1], [0.0])
    """

    def __init__(
        self, bits: int, encoding: str = "q2.13", seed: int = 0, exact: Iterable[int] = ()
    ) -> None:
        self.model = SparseModel(bits)
        self.encoding = encoding
        self.seed = seed
        self.exact = tuple(exact)
        self._changed: list[tuple[Int64, UInt64]] = []

    def update(self, page_ids: Any, weights: Any) -> None:
        """Take the weights now of ``page_ids`` (int64[k] ascending), float32[k, 64].

        Raises SettingError for a weight that is not finite, and then changes nothing.
        """
        pages = round_pages(page_ids, weights, self.encoding, self.seed, self.exact)
        masks = self.model.differing(pages)
        changed = masks != 0
        if changed.any():
            self.model.commit(self.model.stage(pages.only(changed), replace=True))
            self._changed.append((pages.ids[changed], masks[changed]))

    def take_changes(self) -> Pages:
        """A patch of all coordinates changed since the last call, with their values now."""
        if not self._changed:
            return Pages.none()
        ids, where = np.unique(
            np.concatenate([ids for ids, _ in self._changed]), return_inverse=True
        )
        masks = np.zeros(len(ids), np.uint64)
        np.bitwise_or.at(masks, where, np.concatenate([masks for _, masks in self._changed]))
        self._changed = []
        return self.model.at(ids, masks)
