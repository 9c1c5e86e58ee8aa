"""The sparse model against a dictionary."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ctr.errors import SettingError
from ctr.model.arena import arrays_in
from ctr.model.pages import Pages, round_pages
from ctr.model.sparse import SparseModel
from ctr.types import Batch

from . import twins
from .twins import listed_in, pages_from

PAGES = 2**twins.BITS // 64
EVERY = np.arange(2**twins.BITS, dtype=np.uint64)
page_contents = st.dictionaries(
    st.integers(0, PAGES - 1), st.dictionaries(st.integers(0, 63), twins.weight, max_size=64)
)
patches = st.dictionaries(twins.coordinate, twins.weight | st.just(0.0), max_size=80)


class AgainstADictionary(RuleBasedStateMachine):
    """Random changes, some staged and dropped, leave what the same changes of a dict leave."""

    @initialize(reserved=st.sampled_from([None, 0, 20, 200, 1000]), wide=st.booleans())
    def start(self, reserved, wide) -> None:
        self.blocks: list[np.ndarray] = []
        self.model = SparseModel(twins.BITS, self.allocate)
        if reserved is not None:
            self.model.reserve(reserved, wide)
        self.twin: twins.Weights = {}

    def allocate(self, size: int) -> np.ndarray:
        """Memory with something in it, and a little more than was asked for."""
        memory = np.full(size + 200, 0xA5, np.uint8)
        start = -memory.ctypes.data % 64
        self.blocks.append(memory[start : start + size + 100])
        return self.blocks[-1]

    @rule(
        seed=st.integers(0, 2**32),
        share=st.sampled_from([0.0, 0.02, 0.1, 0.4, 0.97]),
        wide=st.booleans(),
        replace=st.booleans(),
    )
    def change_the_density(self, seed, share, wide, replace) -> None:
        """Weights at random coordinates, as many as make pages of another size the best."""
        rng = np.random.default_rng(seed)
        size = 2**twins.BITS
        numbers = rng.integers(1, 32767, size) * rng.choice([-1, 1], size) / 8192
        numbers = numbers * (np.float32(1.1) if wide else 1.0)
        chosen = np.where(rng.random(size) < share, numbers, 0.0).astype(np.float32)
        if replace:
            self.model.apply(np.arange(PAGES), chosen.reshape(-1, 64))
            self.twin = {}
        else:
            self.model.patch(pages_from(dict(enumerate(chosen.tolist()))))
        self.twin = {c: float(v) for c, v in enumerate(chosen) if v}

    @rule(pages=page_contents)
    def replace_whole_pages(self, pages) -> None:
        dense = np.zeros((len(pages), 64), np.float32)
        for row, page in enumerate(sorted(pages)):
            for position, value in pages[page].items():
                dense[row, position] = value
        self.model.apply(sorted(pages), dense)
        self.twin = {c: v for c, v in self.twin.items() if c // 64 not in pages}
        self.twin |= {64 * p + j: v for p, page in pages.items() for j, v in page.items()}

    @rule(listed=patches)
    def patch(self, listed) -> None:
        self.model.patch(pages_from(listed))
        self.twin = {c: v for c, v in (self.twin | listed).items() if v}

    @rule(listed=patches, replace=st.booleans())
    def stage_and_drop(self, listed, replace) -> None:
        turn = self.model.memory_turn
        staged = self.model.stage(pages_from(listed), replace)
        assert staged.memory.packing[0] <= len(staged.memory.arrays.units)
        assert self.model.memory_turn == turn

    @rule(listed=patches, other=patches)
    def stage_then_commit(self, listed, other) -> None:
        dropped = self.model.stage(pages_from(other))
        staged = self.model.stage(pages_from(listed))
        before = listed_in(self.model.pages())
        assert before == self.twin
        with pytest.raises(SettingError, match="the last one staged"):
            self.model.commit(dropped)
        arrays, turn = self.model.arrays, self.model.memory_turn
        self.model.commit(staged)
        assert (self.model.arrays.octets is not arrays.octets) == (self.model.memory_turn > turn)
        self.twin = {c: v for c, v in (self.twin | listed).items() if v}
        assert (staged.nonzero, staged.digest) == (len(self.twin), twins.digest(self.twin))

    @rule(listed=patches)
    def ask_what_differs(self, listed) -> None:
        content = {c: v for c, v in listed.items() if v}
        pages = pages_from(content)
        masks = self.model.differing(pages)
        for page, mask in zip(pages.ids, masks, strict=True):
            for j in range(64):
                c = 64 * int(page) + j
                assert bool(int(mask) >> j & 1) == (content.get(c) != self.twin.get(c))

    @rule(listed=patches, first=st.integers(0, PAGES), last=st.integers(0, PAGES))
    def read(self, listed, first, last) -> None:
        wanted = pages_from(listed)
        now = self.model.at(wanted.ids, wanted.masks)
        assert listed_in(now) == {c: self.twin.get(c, 0.0) for c in listed}
        inside = {c: v for c, v in self.twin.items() if first <= c // 64 < last}
        assert listed_in(self.model.pages(first, last)) == inside

    @rule(rows=st.lists(st.lists(st.integers(1, 2**64 - 1), max_size=5), max_size=8))
    def score(self, rows) -> None:
        keys = [key for row in rows for key in row]
        indptr = np.cumsum([0] + [len(row) for row in rows])
        values = np.linspace(-2, 2, len(keys), dtype=np.float32)
        batch = Batch(indptr, keys, values, np.zeros(len(rows)))
        got, p = self.model.score(batch), self.model.predict(batch)
        for i in range(len(rows)):
            total = 0.0
            for k in range(indptr[i], indptr[i + 1]):
                c = keys[k] % 2**twins.BITS or 1
                total += float(np.float32(self.twin.get(c, 0.0))) * float(values[k])
            with np.errstate(over="ignore"):
                assert got[i] == np.float32(total)
            assert p[i] == np.float32(1 / (1 + math.exp(min(-float(got[i]), 709))))

    @invariant()
    def the_memory_says_the_same_to_whoever_reads_it(self) -> None:
        """Byte by byte; and to a reader in another process, who has the block alone."""
        assert twins.stored(self.model.arrays) == self.twin
        block = next(b for b in self.blocks if np.shares_memory(b, self.model.arrays.octets))
        reader = SparseModel.attached(twins.BITS, arrays_in(block.copy()))
        wanted = [self.twin.get(int(c), 0.0) for c in EVERY]
        assert reader.weights_at(EVERY).tolist() == wanted
        assert self.model.weights_at(EVERY).tolist() == wanted

    @invariant()
    def weights_count_and_digest_are_those_of_the_dictionary(self) -> None:
        coordinates, values = self.model.weights()
        assert dict(zip(coordinates.tolist(), values.tolist(), strict=True)) == self.twin
        assert self.model.nonzero == len(self.twin)
        assert self.model.digest == twins.digest(self.twin)


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(deadline=None, max_examples=60, stateful_step_count=12)


@settings(deadline=None)
@given(st.lists(patches, max_size=6), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_way_there(changes, random):
    one, other = SparseModel(twins.BITS), SparseModel(twins.BITS)
    for listed in changes:
        one.patch(pages_from(listed))
    final = one.pages()
    order = list(range(len(final)))
    random.shuffle(order)
    for i in order:
        other.patch(final.part(i, i + 1))
    assert (one.nonzero, one.digest) == (other.nonzero, other.digest)
    assert len({one.digest, SparseModel(twins.BITS).digest}) == 1 + (one.nonzero > 0)


def test_heaviest_are_the_largest_magnitudes():
    model = SparseModel(8)
    model.patch(pages_from({3: 0.5, 9: -2.0, 70: 1.0}))
    coordinates, values = model.heaviest(2)
    assert coordinates.tolist() == [9, 70]
    assert values.tolist() == [-2.0, 1.0]


def hashed(bits: int, count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pages that travel (ids, float32[k, 64]) with weights at ``count`` random coordinates."""
    rng = np.random.default_rng(seed)
    coordinates = rng.choice(2**bits, count, replace=False)
    ids, row = np.unique(coordinates // 64, return_inverse=True)
    dense = np.zeros((len(ids), 64), np.float32)
    # away from 0, so that none rounds to it; and a bias that no q2.13 holds
    size = rng.uniform(0.01, 3, count)
    dense[row, coordinates % 64] = size * rng.choice([-1, 1], count)
    dense[0, 0] = -5.3
    return ids, dense


@pytest.mark.parametrize("encoding", ["q2.13", "float32"])
@pytest.mark.parametrize(
    ("bits", "count"),
    [
        (24, 250_000),
        (24, 781_250),  # as dense as 50 million in 2^30
        (24, 1_000_000),
        (22, 1_000_000),
        (20, 500_000),
        (18, 150_000),
        (17, 2**17),
    ],
)
def test_at_most_8_bytes_a_weight(bits, count, encoding):
    """Learned in parts, then changed for a while; and as a snapshot is read."""
    rng = np.random.default_rng(2)
    ids, dense = hashed(bits, count)
    model, loaded = SparseModel(bits), SparseModel(bits)
    loaded.reserve(count, wide=encoding == "float32")
    for part in np.array_split(np.arange(len(ids)), 7):
        pages = round_pages(ids[part], dense[part], encoding, exact=[64 * int(ids[0])])
        model.commit(model.stage(pages, replace=True))
        loaded.patch(pages)
    again = rng.choice(len(ids), min(len(ids) // 2, 20_000), replace=False)
    again.sort()
    for seed in range(3):
        pages = round_pages(ids[again], dense[again] * np.float32(1.1), encoding, seed)
        model.commit(model.stage(pages, replace=True))
        assert abs(model.nonzero - count) <= 1
        assert model.nbytes <= 8 * model.nonzero
    assert loaded.memory_turn == 1
    assert loaded.nbytes <= 8 * loaded.nonzero


@pytest.mark.parametrize(
    ("bits", "count"), [(24, 60_000), (24, 250_000), (22, 195_312), (18, 150_000)]
)
def test_a_weight_is_looked_up_in_two_cache_lines(bits, count):
    """All but one in ten thousand: those of pages that chance has filled with too many."""
    ids, dense = hashed(bits, count)
    model = SparseModel(bits)
    model.patch(round_pages(ids, dense))
    shift = int(model.arrays.layout[0])
    coordinates, _ = model.weights()
    pages, weights = np.unique(coordinates >> np.uint64(shift), return_counts=True)
    heads = model.arrays.units[model.arrays.directory[pages]].astype(int)
    assert (weights == heads & 0x7FFF).all()
    index = 2 if shift <= 4 else 1 + (weights + 1) // 2 if shift <= 8 else 1 + weights
    units = index + np.where(heads < 0, 2, 1) * weights
    # twins.stored has what is true of every chunk: up to 32 units never lie in two lines
    assert weights[units > 32].sum() <= 1e-4 * count


def test_memory_follows_the_number_of_weights():
    """Up and down by factors of two the pages' size is chosen anew, and memory given back."""
    model, sizes = SparseModel(20), []
    ids, dense = hashed(20, 400_000)
    for share in (1000, 100, 10, 1, 10, 100, 1000, 10**9):
        some = np.where(np.arange(dense.size).reshape(dense.shape) % share, 0, dense)
        model.apply(ids, some)
        sizes.append((int(model.arrays.layout[0]), model.nonzero, model.nbytes))
        assert model.nbytes <= 16 * model.nonzero + 4096
    shifts = [shift for shift, _, _ in sizes]
    assert shifts[:4] == sorted(shifts[:4], reverse=True)
    assert len(set(shifts)) > 2
    assert sizes[-1][2] < 4096


def test_clustered_weights_are_right_and_not_much_larger():
    model = SparseModel(24)
    dense = np.tile(np.arange(1, 65, dtype=np.float32) / 64, (500, 1))
    model.apply(np.arange(500), dense)
    wanted = np.zeros(64_000, np.float32)
    wanted[: dense.size] = dense.reshape(-1)
    assert (model.weights_at(np.arange(64_000, dtype=np.uint64)) == wanted).all()
    assert model.nbytes <= 8 * model.nonzero


def test_changes_of_a_model_in_use_leave_its_arrays_be():
    """What a reader has taken hold of goes on saying the same until the commit, and after it."""
    model = SparseModel(16)
    ids, dense = hashed(16, 3000)
    model.apply(ids, dense)
    for factor in (2.0, 3.0, 4.0):
        before, said = model.arrays, twins.stored(model.arrays)
        directory = before.directory.copy()
        staged = model.stage(Pages.from_dense(ids, dense * np.float32(factor)), replace=True)
        assert (before.directory == directory).all()
        assert twins.stored(before) == said
        model.commit(staged)
        old = before._replace(directory=directory)
        assert twins.stored(old) == said


def test_a_reader_changes_nothing():
    model = SparseModel(8)
    model.patch(pages_from({3: 0.5}))
    reader = SparseModel.attached(8, tuple(model.arrays), model.nonzero, model.digest)
    assert (reader.bits, reader.nonzero, reader.digest) == (8, 1, model.digest)
    assert reader.nbytes <= model.nbytes
    batch = Batch([0, 1], [3], [2.0], [0])
    assert reader.score(batch).tolist() == [1.0]
    model.patch(pages_from({3: 0.25}))
    assert reader.score(batch).tolist() == [0.5]
    for change in (lambda: reader.patch(pages_from({3: 1.0})), lambda: reader.reserve(5)):
        with pytest.raises(SettingError, match="must be"):
            change()


def test_memory_that_does_not_do_is_refused():
    for bad in (
        lambda size: np.empty(size - 1, np.uint8),
        lambda size: np.empty(size + 64, np.uint8)[1:],
        lambda size: np.empty(size, np.float32),
    ):
        with pytest.raises(SettingError, match="at a multiple of 64"):
            SparseModel(8, bad)
    model = SparseModel(32)
    with pytest.raises(SettingError, match="at most 8 GiB"):
        model.reserve(2**32)
    model.patch(pages_from({3: 0.5}))
    with pytest.raises(SettingError, match="empty"):
        model.reserve(10)


def test_bad_pages_are_refused_and_change_nothing():
    model = SparseModel(8)
    for ids in ([4], [-1], [2, 1], [1, 1]):
        with pytest.raises(SettingError, match="ascending numbers below 4"):
            model.apply(ids, np.ones((len(ids), 64)))
    assert model.nonzero == 0
    with pytest.raises(SettingError, match="bits must be 6 to 32; got 40"):
        SparseModel(40)
    staged = model.stage(Pages.none())
    model.commit(staged)
    with pytest.raises(SettingError):
        model.commit(staged)
