"""The model as it is served: the non-zero weights of 2^bits coordinates, a few bytes each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError
from ctr.kernels import pages as kernels
from ctr.kernels import scoring, staging
from ctr.kernels.pages import Arrays
from ctr.model import arena
from ctr.model.arena import Allocate, Memory
from ctr.model.pages import PAGE, Pages
from ctr.types import Batch, Float32, Int64, UInt64

__all__ = ["Allocate", "SparseModel", "Staged"]


@dataclass(frozen=True, slots=True)
class Staged:
    """A change of a model, ready to be committed; ``nonzero`` and ``digest`` are those after it."""

    nonzero: int
    digest: int
    wide: int
    numbers: Int64
    entries: NDArray[np.uint32]
    memory: Memory
    turn: int


class SparseModel:
    """Non-zero weights of 2^bits coordinates, in pages of a size chosen for how many there are.

    A weight is looked up in two cache lines: an entry of the directory, and the page's weights,
    which are packed into lines (``ctr.kernels.pages`` has the layout). It costs 3 to 4 bytes when
    its page's weights are q2.13 numbers and two more otherwise, and with the directory and room
    for changes less than 8 bytes, from one weight in a hundred coordinates to all of them.

    A change has two steps. ``stage`` does the work and leaves the served model alone, so another
    thread may do it; ``commit`` takes well under a millisecond and must be called by the thread
    that scores, between two calls of ``score``. ``apply`` and ``patch`` do both. Only one change
    at a time can be staged. When there is no room left, or there are twice or half as many
    weights as when the size of pages was chosen, ``stage`` makes new memory and ``commit``
    switches to it: ``memory_turn`` grows then.

    All arrays of one memory are in one block that ``allocate`` makes: a function from a count of
    bytes to as many at least (uint8, at a multiple of 64), which other processes may see too.

    >>> model = SparseModel(bits=8)
    >>> model.apply([0, 3], [[-5.25] + 63 * [0.0], 63 * [0.0] + [0.5]])
    >>> model.nonzero, model.weights()[0].tolist(), model.weights()[1].tolist()
    (2, [0, 255], [-5.25, 0.5])
    >>> model.score(Batch([0, 2], [0, 1023], [1.0, 2.0], [0])).tolist()
    [-4.25]
    """

    def __init__(self, bits: int, allocate: Allocate | None = None) -> None:
        if not 6 <= bits <= 32:
            raise SettingError("bits", bits, "6 to 32")
        self.bits = bits
        self.nonzero = 0
        self.digest = 0
        self.memory_turn = 0
        self._allocate = allocate or arena.aligned
        self._wide = 0
        self._turn = 0
        self._read_only = False
        self._memory = self._empty(0, False)

    @classmethod
    def attached(cls, bits: int, arrays: Any, nonzero: int = 0, digest: int = 0) -> SparseModel:
        """A model that reads arrays which somebody else writes to, and that cannot be changed.

        ``nonzero`` and ``digest`` are what it says of itself.

        >>> model = SparseModel(bits=8)
        >>> model.apply([0], [[-5.25] + 63 * [0.0]])
        >>> reader = SparseModel.attached(8, model.arrays)
        >>> reader.weights_at(np.array([0, 7], np.uint64)).tolist()
        [-5.25, 0.0]
        """
        model = cls(6)
        model.bits, model.nonzero, model.digest = bits, nonzero, digest
        arrays = Arrays(*arrays)
        model._memory = replace(model._memory, arrays=arrays, block=arrays.octets)
        model._read_only = True
        return model

    @property
    def arrays(self) -> Arrays:
        """The memory as the kernels of ``ctr.kernels.scoring`` take it; new after a switch."""
        return self._memory.arrays

    @property
    def page_count(self) -> int:
        """Pages of the table, empty ones too."""
        return (1 << self.bits) // PAGE

    @property
    def nbytes(self) -> int:
        """Bytes of the model's arrays."""
        return sum(array.nbytes for array in self.arrays[:3])

    @property
    def mostly_wide(self) -> bool:
        """Whether most weights are no q2.13 numbers, and so take two bytes more."""
        return 2 * self._wide > self.nonzero

    def reserve(self, nonzero: int, wide: bool = False) -> None:
        """Make room at once for so many weights, ``wide`` if most of them will be float32.

        What is patched in then is not moved again. Raises SettingError unless the model is empty.
        """
        if self.nonzero or self._read_only:
            raise SettingError("a model to reserve room in", self.nonzero, "empty")
        self._memory = self._empty(nonzero, wide)
        self._turn += 1
        self.memory_turn += 1

    def stage(self, pages: Pages, replace: bool = False) -> Staged:
        """Prepare a patch, or (``replace``) new content of whole pages; changes nothing yet.

        Raises SettingError for pages that are not in ascending order or not in the table.
        """
        self._check(pages)
        if self._read_only:
            raise SettingError("a model to change", "attached to another's memory", "its own")
        listed = (pages.ids, pages.masks, pages.values, replace)
        memory, target = self._memory, _with_packing(self._memory)
        most = len(pages) * arena.stored_in_one(memory.arrays)
        numbers, entries = np.empty(most, np.int64), np.empty(most, np.uint32)
        made = (target.arrays, target.packing, numbers, entries, False, True)
        count, wide, digest, changed = staging.lay(memory.arrays, *listed, *made)
        nonzero, wide = self.nonzero + int(count), self._wide + int(wide)
        numbers, entries = numbers[:changed], entries[:changed]
        if not (target.has_room() and memory.suits(nonzero, self.nonzero)):
            target = self._laid_out_anew(listed, nonzero, 2 * wide > nonzero)
        self._turn += 1
        return Staged(
            nonzero=nonzero,
            digest=(self.digest + int(digest)) & (1 << 64) - 1,
            wide=wide,
            numbers=numbers,
            entries=entries,
            memory=target,
            turn=self._turn,
        )

    def commit(self, staged: Staged) -> None:
        """Make the change that was staged last the model's. Raises SettingError for any other."""
        if staged.turn != self._turn:
            raise SettingError("staged", "another or a committed change", "the last one staged")
        if staged.memory.block is self._memory.block:
            staging.commit(staged.memory.arrays.directory, staged.numbers, staged.entries)
        else:
            self.memory_turn += 1
        self._memory = staged.memory
        self.nonzero, self.digest, self._wide = staged.nonzero, staged.digest, staged.wide
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
        scoring.score(batch.indptr, batch.keys, batch.values, self._mask, self.arrays, out)
        return out

    def predict(self, batch: Batch) -> Float32:
        """The click probability of each row, float32[N]."""
        probabilities: Float32 = scoring.probabilities(self.score(batch))
        return probabilities

    def weights_at(self, keys: UInt64) -> Float32:
        """The weight of each key, float32[k], 0 where there is none."""
        out = np.empty(len(keys), np.float32)
        scoring.weights_at(keys, self._mask, self.arrays, out)
        return out

    def pages(self, first: int = 0, last: int | None = None) -> Pages:
        """The content of the pages that are not empty, from ``first`` to ``last - 1``."""
        last = self.page_count if last is None else min(last, self.page_count)
        return Pages(*kernels.content(self.arrays, first, max(first, last)))

    def at(self, ids: Int64, masks: UInt64) -> Pages:
        """The values now at the coordinates that ``masks`` lists of pages ``ids``, zeros too."""
        return Pages(ids, masks, scoring.gather(self.arrays, ids, masks))

    def differing(self, pages: Pages) -> UInt64:
        """Per page the mask of the coordinates where this content is not the model's."""
        self._check(pages)
        changed: UInt64 = kernels.differing(self.arrays, pages.ids, pages.masks, pages.values)
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

    @property
    def _mask(self) -> np.uint64:
        return np.uint64((1 << self.bits) - 1)

    def _check(self, pages: Pages) -> None:
        ids = pages.ids
        if len(ids) and (ids[0] < 0 or ids[-1] >= self.page_count or (np.diff(ids) <= 0).any()):
            raise SettingError("pages", ids, f"ascending numbers below {self.page_count}")

    def _empty(self, nonzero: int, wide: bool) -> Memory:
        shift = arena.choose_shift(self.bits, nonzero, wide)
        directory, chunks = arena.expected_bytes(self.bits, shift, nonzero, wide)
        units = arena.with_room(int(chunks) // 2, int(directory) // 4, nonzero)
        return Memory.make(self.bits, shift, units, nonzero, self._allocate)

    def _laid_out_anew(self, listed: tuple[Any, ...], nonzero: int, wide: bool) -> Memory:
        """New memory for what the model is after a change, in pages of the size that suits it."""
        arrays = self.arrays
        nothing = np.empty(0, np.int64), np.empty(0, np.uint32)
        shift = arena.choose_shift(self.bits, nonzero, wide)
        packing = arena.fresh_packing()
        measured = arena.to_measure(shift)
        staging.lay(arrays, *listed, measured, packing, *nothing, True, False)
        units = arena.with_room(int(packing[0]), 1 << (self.bits - shift), nonzero)
        made = Memory.make(self.bits, shift, units, nonzero, self._allocate)
        staging.lay(arrays, *listed, made.arrays, made.packing, *nothing, True, True)
        # changes nothing: the code is loaded here and not at the first commit, between two requests
        staging.commit(made.arrays.directory, *nothing)
        return made


def _with_packing(memory: Memory) -> Memory:
    """The same memory, with a packing of its own to go on from."""
    return replace(memory, packing=memory.packing.copy())
