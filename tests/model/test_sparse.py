"""The sparse model against a dictionary."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ctr.errors import SettingError
from ctr.model.pages import Pages, round_pages
from ctr.model.sparse import SparseModel
from ctr.types import Batch

from . import twins
from .twins import listed_in, pages_from

PAGES = 2**twins.BITS // 64
page_contents = st.dictionaries(
    st.integers(0, PAGES - 1), st.dictionaries(st.integers(0, 63), twins.weight, max_size=64)
)
patches = st.dictionaries(twins.coordinate, twins.weight | st.just(0.0), max_size=80)


class AgainstADictionary(RuleBasedStateMachine):
    """Random changes, some staged and dropped, leave what the same changes of a dict leave."""

    @initialize()
    def start(self) -> None:
        self.model = SparseModel(twins.BITS)
        self.twin: twins.Weights = {}

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
        staged = self.model.stage(pages_from(listed), replace)
        assert staged.memory.used <= len(staged.memory.narrow)

    @rule(listed=patches, other=patches)
    def stage_then_commit(self, listed, other) -> None:
        dropped = self.model.stage(pages_from(other))
        staged = self.model.stage(pages_from(listed))
        before = listed_in(self.model.pages())
        assert before == self.twin
        with pytest.raises(SettingError, match="the last one staged"):
            self.model.commit(dropped)
        self.model.commit(staged)
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


@pytest.mark.parametrize("bits", [22, 24])
@pytest.mark.parametrize("encoding", ["q2.13", "float32"])
def test_at_most_8_bytes_a_weight(bits, encoding):
    rng = np.random.default_rng(1)
    coordinates = rng.choice(2**bits, 1_000_000, replace=False)
    ids, row = np.unique(coordinates // 64, return_inverse=True)
    dense = np.zeros((len(ids), 64), np.float32)
    # away from 0, so that none rounds to it; and a bias that no q2.13 holds
    size = rng.uniform(0.01, 3, len(coordinates))
    dense[row, coordinates % 64] = size * rng.choice([-1, 1], len(coordinates))
    dense[0, 0] = -5.3
    model = SparseModel(bits)
    for part in np.array_split(np.arange(len(ids)), 7):
        pages = round_pages(ids[part], dense[part], encoding, exact=[64 * int(ids[0])])
        model.commit(model.stage(pages, replace=True))
    again = rng.choice(len(ids), 20_000, replace=False)
    again.sort()
    for seed in range(3):
        pages = round_pages(ids[again], dense[again] * np.float32(1.1), encoding, seed)
        model.commit(model.stage(pages, replace=True))
    assert 999_999 <= model.nonzero <= 1_000_001
    assert model.nbytes <= 8 * model.nonzero


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
