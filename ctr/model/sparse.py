"""The model as it is served: the non-zero weights of 2^bits coordinates, a few bytes each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError
from ctr.kernels import pages as kernels
from ctr.kernels import scoring, staging
from ctr.model.pages import PAGE, Pages
from ctr.types import Batch, Float32, Int64, UInt64

_SLACK = 8
_OWN = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class _Memory:
    """A directory (one entry a page) and the arena its entries point into."""

    directory: NDArray[Any]
    narrow: NDArray[np.int16]
    wide: Float32
    used: int = 0

    @classmethod
    def empty(cls, directory: NDArray[Any], units: int) -> _Memory:
        wide = np.empty((units + 1) // 2, np.float32)
        return cls(directory, wide.view(np.int16), wide)

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[np.int16], Float32]:
        return self.directory, self.narrow, self.wide


@dataclass(frozen=True, slots=True)
class Staged:
    """A change of a model, ready to be committed; ``nonzero`` and ``digest`` are those after it."""

    nonzero: int
    digest: int
    ids: Int64
    entries: NDArray[Any]
    memory: _Memory
    turn: int


class SparseModel:
    """Non-zero weights of 2^bits coordinates: a mask a page of 64 and the values in one arena.

    A weight costs 2 bytes when its page's weights are q2.13 numbers (4 otherwise), plus 12 bytes
    a page of the table and an eighth of the values as room for changes: under 8 bytes a non-zero
    weight for one million of them in tables of up to 2^24 coordinates, in either encoding.

    A change has two steps. ``stage`` does the work and leaves the served model alone, so another
    thread may do it; ``commit`` takes well under a millisecond and must be called by the thread
    that scores, between two calls of ``score``. ``apply`` and ``patch`` do both. Only one change
    at a time can be staged.

    >>> model = SparseModel(bits=8)
    >>> model.apply([0, 3], [[-5.25] + 63 * [0.0], 63 * [0.0] + [0.5]])
    >>> model.nonzero, model.weights()[0].tolist(), model.weights()[1].tolist()
    (2, [0, 255], [-5.25, 0.5])
    >>> model.score(Batch([0, 2], [0, 1023], [1.0, 2.0], [0])).tolist()
    [-4.25]
    """

    def __init__(self, bits: int) -> None:
        if not 6 <= bits <= 32:
            raise SettingError("bits", bits, "6 to 32")
        self.bits = bits
        self.nonzero = 0
        self.digest = 0
        self._memory = _Memory.empty(np.zeros((1 << bits) // PAGE, kernels.ENTRY), 2)
        self._turn = 0

    @property
    def page_count(self) -> int:
        """Pages of the table, empty ones too."""
        return (1 << self.bits) // PAGE

    @property
    def nbytes(self) -> int:
        """Bytes of the model's arrays."""
        return self._memory.directory.nbytes + self._memory.wide.nbytes

    def stage(self, pages: Pages, replace: bool = False) -> Staged:
        """Prepare a patch, or (``replace``) new content of whole pages; changes nothing yet.

        Raises SettingError for pages that are not in ascending order or not in the table.
        """
        self._check(pages)
        memory, listed = self._memory, (pages.ids, pages.masks, pages.values, replace)
        entries = np.empty(len(pages), kernels.ENTRY)
        count, digest, needed = staging.plan(*memory.arrays, *listed, entries)
        target, used = memory, memory.used + memory.used % 2
        if used + needed > len(memory.narrow):
            target, used = self._compacted(pages.ids, needed)
        used = staging.place(*memory.arrays, *listed, entries, target.narrow, target.wide, used)
        if target is not memory:
            staging.commit(target.directory, pages.ids, entries)
        self._turn += 1
        return Staged(
            nonzero=self.nonzero + int(count),
            digest=(self.digest + int(digest)) & (1 << 64) - 1,
            ids=pages.ids,
            entries=entries,
            memory=_Memory(*target.arrays, used),
            turn=self._turn,
        )

    def commit(self, staged: Staged) -> None:
        """Make the change that was staged last the model's. Raises SettingError for any other."""
        if staged.turn != self._turn:
            raise SettingError("staged", "another or a committed change", "the last one staged")
        if staged.memory.directory is self._memory.directory:
            staging.commit(staged.memory.directory, staged.ids, staged.entries)
        self._memory = staged.memory
        self.nonzero, self.digest = staged.nonzero, staged.digest
        self._turn += 1

    def apply(self, page_ids: Any, weights: Any) -> None:
        """Replace whole pages: ``page_ids`` int64[k] ascending, ``weights`` float32[k, 64]."""
        self.commit(self.stage(Pages.from_dense(page_ids, weights), replace=True))

    def patch(self, pages: Pages) -> None:
        """Set the listed coordinates to the listed values, 0 included."""
        self.commit(self.stage(pages))

    def score(self, batch: Batch) -> Float32:
        """The logit of each row, float32[N]: the sum of weight times value, added in float64.

        A key's coordinate is that of the hashed table (``ctr.kernels.table.coordinate``).
        """
        out = np.empty(len(batch), np.float32)
        mask = np.uint64((1 << self.bits) - 1)
        scoring.score(batch.indptr, batch.keys, batch.values, mask, *self._memory.arrays, out)
        return out

    def predict(self, batch: Batch) -> Float32:
        """The click probability of each row, float32[N]."""
        probabilities: Float32 = scoring.probabilities(self.score(batch))
        return probabilities

    def pages(self, first: int = 0, last: int | None = None) -> Pages:
        """The content of the pages that are not empty, from ``first`` to ``last - 1``."""
        ids = np.flatnonzero(self._memory.directory["mask"][first:last]) + first
        return Pages(ids, *kernels.gather(*self._memory.arrays, ids, _OWN))

    def at(self, ids: Int64, masks: UInt64) -> Pages:
        """The values now at the coordinates that ``masks`` lists of pages ``ids``, zeros too."""
        if not len(ids):
            return Pages.none()
        return Pages(ids, *kernels.gather(*self._memory.arrays, ids, masks))

    def differing(self, pages: Pages) -> UInt64:
        """Per page the mask of the coordinates where this content is not the model's."""
        self._check(pages)
        changed: UInt64 = kernels.differing(
            *self._memory.arrays, pages.ids, pages.masks, pages.values
        )
        return changed

    def weights(self) -> tuple[UInt64, Float32]:
        """The non-zero weights: coordinates (uint64, ascending) and values (float32)."""
        pages = self.pages()
        return pages.coordinates(), pages.values

    def heaviest(self, k: int) -> tuple[UInt64, Float32]:
        """The ``k`` weights of largest magnitude, the heaviest first."""
        coordinates, values = self.weights()
        order = np.argsort(-np.abs(values), kind="stable")[:k]
        return coordinates[order], values[order]

    def _check(self, pages: Pages) -> None:
        ids = pages.ids
        if len(ids) and (ids[0] < 0 or ids[-1] >= self.page_count or (np.diff(ids) <= 0).any()):
            raise SettingError("pages", ids, f"ascending numbers below {self.page_count}")

    def _compacted(self, without: Int64, room: int) -> tuple[_Memory, int]:
        """A copy of all but some pages, with room for as many units more and some to spare."""
        old = self._memory
        directory = old.directory.copy()
        directory["mask"][without] = 0
        units = staging.compacted_units(old.directory, directory) + 1 + room
        new = _Memory.empty(directory, units + units // _SLACK)
        used = staging.compact(old.directory, old.narrow, directory, new.narrow)
        return new, used + used % 2
