"""What every follower promises, over a topic, a directory and a file."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ctr.errors import ModelTopicError, SettingError
from ctr.model.control import hold, release
from ctr.model.follow import TopicFollower
from ctr.model.follow_files import DirectoryFollower, FileFollower
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.records import publish_records
from ctr.model.snapshot import SnapshotStore, write
from ctr.model.sparse import SparseModel
from ctr.model.topic import TopicWriter
from ctr.model.transactions import Transactions
from ctr.model.update import Follower, Update
from ctr.settings import Features, Kafka

from .twins import BITS, Weights, listed_in, pages_from

SPEC = Features(bits=BITS)
PAGES = 2**BITS // 64


class Source:
    """A place where versions are published; ``image`` is what the last one was."""

    def __init__(self) -> None:
        self.image = Image(BITS, "float32")
        self.weights: Weights = {}
        self.version = 0

    def publish(self, changes: Weights) -> int:
        self.weights = {c: v for c, v in (self.weights | changes).items() if v}
        dense = [[self.weights.get(64 * p + j, 0.0) for j in range(64)] for p in range(PAGES)]
        self.image.update(range(PAGES), np.array(dense, np.float32))
        self.version = self.write(Manifest(version=self.version + 1, spec=SPEC))
        return self.version

    def write(self, manifest: Manifest) -> int:
        raise NotImplementedError

    def damage(self) -> None:
        """A version that is not what it says."""
        raise NotImplementedError

    def publish_from_the_future(self) -> None:
        """A version that this ctr must not serve."""
        raise NotImplementedError

    def hold(self, version: int, weights: Weights) -> None:
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def follower(self) -> Follower:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Topic(Source):
    def __init__(self, kafka: Kafka) -> None:
        super().__init__()
        self.kafka, self.topic = kafka, f"model-{uuid.uuid4().hex[:12]}"
        self.writer = TopicWriter(kafka, self.topic, "session", ring=4)
        self.writer.claim()

    def write(self, manifest: Manifest) -> int:
        return self.writer.publish(manifest, self.image).manifest.version

    def damage(self) -> None:
        self._forge({"nonzero": 7})

    def publish_from_the_future(self) -> None:
        self._forge({"requires": ["experts"]})

    def _forge(self, changes: dict) -> None:
        """The version that comes next, written by another hand."""
        manifest = Manifest(version=self.version + 1, spec=SPEC, blocks=16, ring=4, whole=False)
        bad = manifest.describing(self.image.model, **changes)
        transactions = Transactions(self.kafka, f"{self.topic}.forger")
        transactions.write(self.topic, publish_records(bad, self.image.model, Pages.none()))
        transactions.close()

    def hold(self, version: int, weights: Weights) -> None:
        model = SparseModel(BITS)
        model.patch(pages_from(weights))
        hold(self.kafka, self.topic, Manifest(version=version, spec=SPEC), model)

    def release(self) -> None:
        release(self.kafka, self.topic)

    def follower(self) -> Follower:
        return TopicFollower(self.kafka, self.topic)

    def close(self) -> None:
        self.writer.close()


class Directory(Source):
    def __init__(self, path) -> None:
        super().__init__()
        self.store = SnapshotStore(path)

    def write(self, manifest: Manifest) -> int:
        self.store.write(manifest, self.image.model)
        return manifest.version

    def damage(self) -> None:
        path = self.store.write(Manifest(version=self.version + 1, spec=SPEC), self.image.model)
        path.write_bytes(path.read_bytes()[:-1])

    def publish_from_the_future(self) -> None:
        manifest = Manifest(version=self.version + 1, spec=SPEC, requires=["experts"])
        self.store.write(manifest, self.image.model)

    def hold(self, version: int, weights: Weights) -> None:
        self.store.hold(version)

    def release(self) -> None:
        self.store.release()

    def follower(self) -> Follower:
        return DirectoryFollower(self.store.directory)


class File(Source):
    def __init__(self, path) -> None:
        super().__init__()
        self.path = path / "clicks.model"

    def write(self, manifest: Manifest) -> int:
        write(self.path, manifest, self.image.model)
        return manifest.version

    def damage(self) -> None:
        self.path.write_bytes(b"not a model")

    def publish_from_the_future(self) -> None:
        manifest = Manifest(version=self.version + 1, spec=SPEC, requires=["experts"])
        write(self.path, manifest, self.image.model)

    def follower(self) -> Follower:
        return FileFollower(self.path)


@pytest.fixture(params=["topic", "directory", "file"])
def source(request, tmp_path) -> Iterator[Source]:
    made: Source
    if request.param == "topic":
        broker = request.getfixturevalue("kafka")
        made = Topic(Kafka(bootstrap_servers=broker.bootstrap))
    else:
        made = {"directory": Directory, "file": File}[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def follow(source) -> Iterator[Callable[[], Follower]]:
    """Opens followers of the source and closes them."""
    opened: list[Follower] = []

    def open_follower() -> Follower:
        opened.append(source.follower())
        return opened[-1]

    yield open_follower
    for follower in opened:
        follower.close()
        follower.close()


def next_update(follower: Follower, version: int) -> Update:
    """The update to a version, which must come within some seconds."""
    for _ in range(100):
        update = follower.poll(0.2)
        if update is not None:
            assert update.manifest.version == version
            return update
    raise AssertionError(f"version {version} never came: {follower.last_error}")


def settle(follower: Follower, version: int) -> SparseModel:
    """The model once a version is reached; those before it may come or not."""
    reached = -1
    for _ in range(100):
        update = follower.poll(0.2)
        if update is not None:
            assert reached < update.manifest.version <= version
            reached, model = update.manifest.version, update.commit()
        if reached == version:
            return model
    raise AssertionError(f"version {version} never came: {follower.last_error}")


def test_nothing_is_there_yet(source, follow):
    follower = follow()
    assert follower.poll(0.05) is None
    version = source.publish({1: 0.5})
    assert next_update(follower, version).whole


def test_versions_come_one_after_the_other(source, follow):
    first = source.publish({1: 0.5, 700: -5.25})
    follower = follow()
    model = next_update(follower, first).commit()
    assert listed_in(model.pages()) == {1: 0.5, 700: -5.25}
    for step in range(6):
        version = source.publish({step: 1.5, 700: 0.25 * step})
        update = next_update(follower, version)
        assert listed_in(model.pages()) != source.weights
        model = update.commit()
        assert listed_in(model.pages()) == source.weights
        assert update.manifest.nonzero == model.nonzero == len(source.weights)
    assert follower.errors == 0


def test_nothing_new_is_nothing(source, follow):
    version = source.publish({1: 0.5})
    follower = follow()
    next_update(follower, version).commit()
    assert follower.poll(0.3) is None
    assert follower.poll(0) is None


def test_whoever_falls_behind_catches_up(source, follow):
    version = source.publish({1: 0.5})
    follower = follow()
    next_update(follower, version).commit()
    for step in range(7):
        version = source.publish({step: 2.5, 600 + step: 1.0})
    assert listed_in(settle(follower, version).pages()) == source.weights
    late = follow()
    assert listed_in(next_update(late, version).commit().pages()) == source.weights


def test_damage_is_counted_said_and_survived(source, follow):
    version = source.publish({1: 0.5})
    follower = follow()
    model = next_update(follower, version).commit()
    source.damage()
    for _ in range(100):
        assert follower.poll(0.1) is None
        if follower.errors:
            break
    assert follower.errors > 0
    assert follower.last_error
    assert listed_in(model.pages()) == {1: 0.5}
    source.publish({2: 1.0})
    version = source.publish({3: 1.0})
    assert listed_in(settle(follower, version).pages()) == source.weights
    assert follower.last_error == ""


def test_a_version_from_the_future_is_refused(source, follow):
    version = source.publish({1: 0.5})
    follower = follow()
    next_update(follower, version).commit()
    source.publish_from_the_future()
    with pytest.raises(ModelTopicError, match="'experts'"):
        next_update(follower, version + 1)
    source.publish({2: 1.0})
    version = source.publish({3: 1.0})
    assert listed_in(settle(follower, version).pages()) == source.weights


def test_an_update_in_place_must_be_committed(source, follow):
    follower = follow()
    version = source.publish({1: 0.5})
    update = next_update(follower, version)
    if isinstance(source, Topic):
        with pytest.raises(SettingError, match="committed before the next"):
            follower.poll(0)
    assert update.commit() is update.commit()


def test_a_held_version_is_served_until_it_is_released(source, follow):
    if isinstance(source, File):
        # one file is one version: to hold it, leave it alone
        assert not hasattr(FileFollower(source.path), "held")
        return
    first = source.publish({1: 0.5})
    held_weights = dict(source.weights)
    follower = follow()
    next_update(follower, first).commit()
    second = source.publish({2: 1.0})
    next_update(follower, second).commit()
    source.hold(first, held_weights)
    update = next_update(follower, first)
    assert update.held
    assert listed_in(update.commit().pages()) == held_weights
    third = source.publish({3: 1.0})
    assert follower.poll(0.3) is None
    late = follow()
    update = next_update(late, first)
    assert update.held
    assert listed_in(update.commit().pages()) == held_weights
    source.release()
    for one in (follower, late):
        update = next_update(one, third)
        assert not update.held
        assert listed_in(update.commit().pages()) == source.weights
    assert follower.errors == 0


def test_a_directory_without_a_good_snapshot_and_with_a_wrong_hold(tmp_path):
    source = Directory(tmp_path)
    follower = source.follower()
    source.damage()
    assert follower.poll(0) is None
    assert follower.poll(0) is None
    assert follower.errors == 1
    source.publish({1: 0.5})
    (tmp_path / "hold").write_text("9")
    assert follower.poll(0) is None
    assert "version 9 is held, but not in" in follower.last_error
    (tmp_path / "hold").write_text("?")
    update = follower.poll(0)
    assert update.manifest.version == 1
    assert not update.held
    assert "must hold a version" in str(follower.last_error) or follower.errors == 3


def test_the_snapshot_before_a_damaged_one_is_served(tmp_path):
    source = Directory(tmp_path)
    source.publish({1: 0.5})
    source.damage()
    follower = source.follower()
    assert follower.poll(0).manifest.version == 1
    assert follower.errors == 1


def test_a_file_that_is_missing_and_comes(tmp_path):
    source = File(tmp_path)
    follower = source.follower()
    assert follower.poll(0) is None
    assert follower.poll(0) is None
    assert "No such file" in follower.last_error
    assert follower.errors == 1
    source.publish({1: 0.5})
    assert follower.poll(0).commit().nonzero == 1
