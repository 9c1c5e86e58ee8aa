"""Versions from a compacted topic's records: random histories, torn ones, foreign ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ctr.errors import ModelTopicError, SettingError
from ctr.model.assembler import Assembler
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.records import Record, hold_records, publish_records, release_records
from ctr.model.sparse import SparseModel
from ctr.settings import Features

from . import twins
from .twins import Weights, listed_in

SPEC = Features(bits=twins.BITS)
PART_BYTES = 700
"""Small, so that blocks and deltas have several parts."""

learned = st.dictionaries(twins.coordinate, twins.weight | st.just(0.0), max_size=60)


class Writer:
    """What a trainer publishes, as records; ``contents`` is what each version must be."""

    def __init__(self, version: int = 0, weights: Weights | None = None) -> None:
        self.weights = dict(weights or {})
        self.version = version
        self.whole = True
        self.image = Image(twins.BITS, "float32")
        self._update(set(range(2**twins.BITS // 64)))

    def learn(self, changes: Weights) -> None:
        self.weights = {c: v for c, v in (self.weights | changes).items() if v}
        self._update({c // 64 for c in changes})

    def publish(self) -> list[Record]:
        self.version += 1
        manifest = Manifest(
            version=self.version, spec=SPEC, encoding="float32", blocks=4, ring=3, whole=self.whole
        ).describing(self.image.model)
        self.whole = False
        changes = self.image.take_changes()
        return list(publish_records(manifest, self.image.model, changes, PART_BYTES))

    def _update(self, pages: set[int]) -> None:
        dense = np.zeros((len(pages), 64), np.float32)
        for row, page in enumerate(sorted(pages)):
            for j in range(64):
                dense[row, j] = self.weights.get(64 * page + j, 0.0)
        self.image.update(sorted(pages), dense)


class Histories(RuleBasedStateMachine):
    """Whatever is published, lost, compacted and read when: versions come whole or not at all.

    The log is a list in which compaction leaves holes, at any superseded record, at any time.
    """

    @initialize()
    def start(self) -> None:
        self.log: list[Record | None] = []
        self.writer = Writer()
        self.contents: dict[int, Weights] = {}
        self.held: int | None = None
        self.open_reader()

    @rule()
    def open_reader(self) -> None:
        self.reader, self.at, self.seen = Assembler(), 0, -1

    @rule(changes=learned)
    def learn(self, changes) -> None:
        self.writer.learn(changes)

    @rule(changes=learned, lost=st.booleans())
    def publish(self, changes, lost) -> None:
        self.writer.learn(changes)
        self._append(self.writer.publish())
        # the writer may believe that a committed publish has failed, and publish whole
        self.writer.whole = lost

    @rule()
    def abort_a_publish(self) -> None:
        self.writer.publish()
        self.writer.whole = True

    @rule(gap=st.integers(0, 5), forgotten=learned)
    def restart_the_writer(self, gap, forgotten) -> None:
        self.writer = Writer(self.writer.version + gap, self.writer.weights)
        self.writer.learn(forgotten)

    @rule(data=st.data())
    def compact(self, data) -> None:
        last = {record[0]: i for i, record in enumerate(self.log) if record}
        old = [
            i
            for i, record in enumerate(self.log)
            if record and (last[record[0]] != i or record[1] is None)
        ]
        end = data.draw(st.integers(0, len(self.log)))
        drop_all = data.draw(st.booleans())
        for i in old:
            if i < end and (drop_all or data.draw(st.booleans())):
                self.log[i] = None

    @rule(count=st.integers(1, 60))
    def read_some(self, count) -> None:
        for record in self.log[self.at : self.at + count]:
            if record is not None:
                self.reader.feed(*record)
        self.at = min(self.at + count, len(self.log))
        self._take_update()

    @rule()
    def read_all(self) -> None:
        self.read_some(len(self.log) + 1)

    @precondition(lambda self: self.contents)
    @rule(data=st.data())
    def hold(self, data) -> None:
        version = data.draw(st.sampled_from(sorted(self.contents)))
        held = Writer(0, self.contents[version])
        manifest = Manifest(version=version, spec=SPEC, encoding="float32")
        self._append(list(hold_records(manifest, held.image.model, 0, part_bytes=PART_BYTES)))
        self.held = version

    @rule(tidily=st.booleans())
    def release(self, tidily) -> None:
        held = {record[0] for record in self.log if record and record[0].startswith(b"Held/")}
        self._append(list(release_records(0, held=sorted(held) if tidily else ())))
        self.held = None

    @invariant()
    def nothing_was_wrong(self) -> None:
        assert (self.reader.faults, self.reader.fault) == (0, "")

    def teardown(self) -> None:
        """Who reads to the end has the last version; so has who starts now."""
        if not getattr(self, "contents", None):
            return
        self.read_all()
        self.read_all()
        wanted = max(self.contents) if self.held is None else self.held
        assert self.seen == wanted
        self.open_reader()
        self.read_all()
        assert self.seen == wanted

    def _append(self, records: list[Record]) -> None:
        self.log += records
        if records[-1][0] == b"Manifest":
            self.contents[self.writer.version] = dict(self.writer.weights)

    def _take_update(self) -> None:
        update = self.reader.update()
        if self.reader.again:
            assert update is None
            self.reader.restart()
            self.at, self.seen = 0, -1
            return
        if update is None:
            return
        model = update.commit()
        version = update.manifest.version
        assert listed_in(model.pages()) == self.contents[version]
        assert update.held or version > self.seen
        self.seen = version


TestHistories = Histories.TestCase
TestHistories.settings = settings(deadline=None, max_examples=120, stateful_step_count=25)


def fed(*publishes: list[Record]) -> Assembler:
    reader = Assembler()
    for records in publishes:
        for record in records:
            reader.feed(*record)
    return reader


def three_versions() -> tuple[Writer, list[list[Record]]]:
    writer = Writer()
    publishes = []
    for changes in ({1: 0.5, 700: -1.0}, {1: 0.75, 300: 2.0}, {700: 0.0}):
        writer.learn(changes)
        publishes.append(writer.publish())
    return writer, publishes


def a_history() -> tuple[list[Record], dict[int, Weights]]:
    """Twelve versions, one of them whole after a loss: all records, and the contents."""
    rng = np.random.default_rng(3)
    writer, log, contents = Writer(), [], {}
    for step in range(12):
        where = rng.choice(2**twins.BITS, 25, replace=False).tolist()
        writer.learn(dict(zip(where, rng.integers(-3, 4, 25).tolist(), strict=True)))
        if step == 7:
            writer.publish()
            writer.whole = True
        log += writer.publish()
        contents[writer.version] = dict(writer.weights)
    return log, contents


@pytest.mark.parametrize("compacted_from", [None, 0, "where the reader is"])
def test_wherever_one_looks_a_version_is_whole(compacted_from):
    log, contents = a_history()
    last = {key: i for i, (key, _) in enumerate(log)}
    for first in range(len(log)):
        start = {None: len(log), 0: 0}.get(compacted_from, first)
        left = [r for i, r in enumerate(log) if i < start or last[r[0]] == i]
        for second in range(first, len(left), 7):
            reader, shown = Assembler(), {}
            for stretch in (left[:first], left[first:second], left[second:]):
                for record in stretch:
                    reader.feed(*record)
                if update := reader.update():
                    shown[update.manifest.version] = listed_in(update.commit().pages())
            assert shown.items() <= contents.items()
            assert max(shown) == max(contents)
            assert reader.faults == 0


def test_a_version_shows_only_with_its_manifest():
    _, publishes = three_versions()
    reader = Assembler()
    shown = []
    for records in publishes:
        for record in records:
            reader.feed(*record)
            if update := reader.update():
                shown.append((record[0], update.manifest.version, update.whole))
                update.commit()
    assert shown == [(b"Manifest", 1, True), (b"Manifest", 2, False), (b"Manifest", 3, False)]


def test_a_reader_that_skips_versions_has_the_last_one():
    writer, publishes = three_versions()
    reader = fed(*publishes[:1])
    assert reader.update().commit().nonzero == 2
    for records in publishes[1:]:
        for record in records:
            reader.feed(*record)
    update = reader.update()
    assert (update.manifest.version, update.whole) == (3, True)
    assert listed_in(update.commit().pages()) == writer.weights == {1: 0.75, 300: 2.0}


def test_a_slot_of_the_ring_that_was_used_again_is_not_taken_for_the_earlier_one():
    writer, publishes = three_versions()
    for value in (4.0, 5.0, 6.0):
        writer.learn({1: value})
        publishes.append(writer.publish())
    reader = fed(publishes[0])
    model = reader.update().commit()
    # compaction has removed version 2's for version 5's, whose manifest is not read yet
    for records in (publishes[2], publishes[3], publishes[4][:1]):
        for record in records:
            reader.feed(*record)
    assert publishes[1][0][0] == publishes[4][0][0]
    assert reader.update() is None
    assert (reader.again, reader.faults) == (False, 0)
    assert listed_in(model.pages()) == {1: 0.5, 700: -1.0}


def test_the_served_model_stays_until_the_commit():
    _, publishes = three_versions()
    reader = fed(publishes[0])
    model = reader.update().commit()
    for record in publishes[1]:
        reader.feed(*record)
    update = reader.update()
    assert listed_in(model.pages()) == {1: 0.5, 700: -1.0}
    with pytest.raises(SettingError, match="committed before the next"):
        reader.update()
    assert update.commit() is model
    assert update.commit() is model
    assert listed_in(model.pages()) == {1: 0.75, 300: 2.0, 700: -1.0}


def test_a_wrong_sum_is_a_fault_and_the_reader_starts_again():
    _, publishes = three_versions()
    other = Writer(1, {5: 1.0}).publish()
    reader = fed(publishes[0], publishes[1][:-1], other[-1:])
    assert reader.update() is None
    assert reader.again
    assert reader.faults == 1
    assert "version 2 should have 1 weights" in reader.fault
    reader.restart()
    for records in publishes:
        for record in records:
            reader.feed(*record)
    assert reader.update().manifest.version == 3


def test_a_damaged_record_is_missed_until_it_is_written_again():
    writer, publishes = three_versions()
    torn = [(key, value if key != b"Delta/0/2/0" else value[:-1]) for key, value in publishes[1]]
    reader = fed(publishes[0], torn)
    assert reader.update() is None
    assert "Delta/0/2/0" in reader.fault
    assert reader.faults == 1
    for _ in range(3):
        for record in writer.publish():
            reader.feed(*record)
    assert listed_in(reader.update().commit().pages()) == writer.weights


def test_unknown_kinds():
    _, publishes = three_versions()
    reader = fed(publishes[0], [(b"hint/1", b"x"), (b"\xff", b""), (b"block/0/0/0", b"?")])
    assert reader.update().commit().nonzero == 2
    reader.feed(b"Experts/0", b"x")
    for _ in range(2):
        with pytest.raises(ModelTopicError, match=r"records of kind 'Experts' \(key b'Experts/0'"):
            reader.update()
    reader.feed(b"Experts/0", None)
    for record in publishes[1]:
        reader.feed(*record)
    assert reader.update().manifest.version == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "version 1 is of format 2; 1 is the last"),
        ({"requires": ["calibration"]}, "version 1 requires 'calibration'"),
    ],
)
def test_what_must_be_known_and_is_not(change, message):
    model = SparseModel(twins.BITS)
    manifest = Manifest(version=1, spec=SPEC, blocks=4, ring=3, **change).describing(model)
    reader = fed(list(publish_records(manifest, model, Pages.none())))
    with pytest.raises(ModelTopicError, match=message):
        reader.update()


def test_versions_never_go_back():
    _, publishes = three_versions()
    reader = fed(*publishes)
    reader.update().commit()
    for record in Writer(0, {9: 1.0}).publish():
        reader.feed(*record)
    assert reader.update() is None
    assert reader.again
    assert "version 1 came after 3" in reader.fault


def test_an_unknown_order_is_refused():
    _, publishes = three_versions()
    reader = fed(publishes[0], [(b"Control", b'{"action":"explode"}')])
    with pytest.raises(ModelTopicError, match="cannot obey 'explode'"):
        reader.update()
    reader = fed(publishes[0], [(b"Control", b"{")])
    assert reader.update().commit().nonzero == 2
    assert reader.faults == 1


def test_an_emptied_block_is_a_value_without_pages():
    writer = Writer(0, {1: 1.0, 700: 1.0})
    first = writer.publish()
    writer.learn({1: 0.0})
    second = [dict(writer.publish()) for _ in range(3)]
    blocks = [records[b"Block/0/0/0"] for records in second if b"Block/0/0/0" in records]
    assert len(blocks) == 1
    assert b'"pages":0' in blocks[0]
    assert blocks[0] is not None
    reader = fed(first, *[list(records.items()) for records in second])
    assert listed_in(reader.update().commit().pages()) == {700: 1.0}
