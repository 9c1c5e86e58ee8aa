"""Operators' orders on a model topic and beside a directory: who sees them, and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from ctr.errors import DamagedFileError, ModelTopicError, SettingError
from ctr.kafka import connect
from ctr.model import control
from ctr.model.control_files import ControlFiles, Note
from ctr.model.follow import TopicFollower
from ctr.model.gate import Order, Status, later, order_from, status_from, status_in, status_record
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore
from ctr.model.sparse import SparseModel
from ctr.model.standing import Standing
from ctr.model.topic import TopicWriter
from ctr.model.transactions import Transactions
from ctr.settings import Features, Kafka

from .test_topic import records_in, set_config
from .twins import BITS, listed_in, pages_from

SPEC = Features(bits=BITS)


@pytest.fixture
def broker(kafka) -> Kafka:
    return Kafka(bootstrap_servers=kafka.bootstrap)


@pytest.fixture
def admin(broker) -> Iterator[KafkaAdminClient]:
    client = connect(KafkaAdminClient, broker)
    yield client
    client.close()


@pytest.fixture
def writer(broker, topic_name) -> Iterator[TopicWriter]:
    made = TopicWriter(broker, topic_name, "one", ring=4)
    made.claim()
    yield made
    made.close()


@pytest.fixture
def follower_of(broker, topic_name) -> Iterator[Callable[[], TopicFollower]]:
    opened: list[TopicFollower] = []

    def open_follower() -> TopicFollower:
        opened.append(TopicFollower(broker, topic_name))
        return opened[-1]

    yield open_follower
    for follower in opened:
        follower.close()


@pytest.fixture
def standing(broker, topic_name) -> Iterator[Standing]:
    made = Standing(broker, topic_name)
    yield made
    made.close()


def model_of(weights: dict[int, float]) -> SparseModel:
    model = SparseModel(BITS)
    model.patch(pages_from(weights))
    return model


def publish(writer: TopicWriter, image: Image, value: float) -> int:
    image.update([3], np.full((1, 64), value, np.float32))
    return writer.publish(Manifest(version=0, spec=SPEC), image).manifest.version


def served(follower: TopicFollower, version: int, held: bool) -> dict[int, float]:
    """What is served once ``version`` comes."""
    for _ in range(60):
        update = follower.poll(0.2)
        if update is not None:
            model = update.commit()
            if update.manifest.version == version:
                assert update.held == held
                return listed_in(model.pages())
    raise AssertionError(follower.last_error)


# ---- hold and release


def test_a_hold_on_an_empty_topic_is_all_that_a_server_needs(
    broker, writer, follower_of, topic_name
) -> None:
    control.hold(broker, topic_name, Manifest(version=7, spec=SPEC), model_of({5: 1.5}))
    assert served(follower_of(), 7, held=True) == {5: 1.5}
    control.release(broker, topic_name)
    image = Image(BITS, "float32")
    version = publish(writer, image, 0.25)
    assert set(served(follower_of(), version, held=False).values()) == {0.25}


def test_one_hold_after_another_while_versions_go_on(
    broker, writer, follower_of, topic_name
) -> None:
    image = Image(BITS, "float32")
    publish(writer, image, 0.25)
    early = follower_of()
    served(early, 1, held=False)
    # the first is larger than the second: of its parts none may come along
    large = {c: 1.0 + c for c in range(0, 1 << BITS, 2)}
    control.hold(broker, topic_name, Manifest(version=40, spec=SPEC), model_of(large))
    assert served(early, 40, held=True) == large
    publish(writer, image, 0.5)
    control.hold(broker, topic_name, Manifest(version=30, spec=SPEC), model_of({9: -2.0}))
    for one in (early, follower_of()):
        assert served(one, 30, held=True) == {9: -2.0}
    last = publish(writer, image, 0.75)
    assert early.poll(0.5) is None
    assert early.newest == last
    control.release(broker, topic_name)
    for one in (early, follower_of()):
        assert set(served(one, last, held=False).values()) == {0.75}
        assert one.errors == 0


def test_orders_outlive_compaction(broker, admin, writer, follower_of, topic_name) -> None:
    set_config(
        admin,
        topic_name,
        segment_bytes=str(1 << 20),
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="200",
    )
    image, order = Image(BITS, "float32"), Order.override(1.7e9, 60)
    early = follower_of()
    served(early, publish(writer, image, 0.25), held=False)
    control.order(broker, topic_name, order)
    control.hold(broker, topic_name, Manifest(version=40, spec=SPEC), model_of({9: -2.0}))
    served(early, 40, held=True)
    written, deadline = 10, time.monotonic() + 60
    while records_in(broker, topic_name) > written // 2:
        assert time.monotonic() < deadline, "the broker never compacted the topic"
        last = publish(writer, image, 0.5)
        written += 6
        time.sleep(0.05)
    assert served(follower_of(), 40, held=True) == {9: -2.0}
    standing = Standing(broker, topic_name)
    assert standing.read()
    assert (standing.order, standing.control.action) == (order, "hold")
    assert standing.held == {b"Held/0/0/0"}
    control.release(broker, topic_name, held=standing.held)
    assert standing.read()
    assert (standing.held, standing.control.action) == (set(), "release")
    standing.close()
    for one in (early, follower_of()):
        assert set(served(one, last, held=False).values()) == {0.5}
        assert one.errors == 0


def test_the_same_version_with_other_weights_is_another_hold(
    broker, writer, follower_of, topic_name
) -> None:
    follower = follower_of()
    for weights in ({1: 0.5}, {1: 0.5, 2: 0.25}):
        control.hold(broker, topic_name, Manifest(version=3, spec=SPEC), model_of(weights))
        assert served(follower, 3, held=True) == weights


def test_a_release_where_nothing_is_held_changes_nothing(
    broker, writer, follower_of, topic_name
) -> None:
    image = Image(BITS, "float32")
    version = publish(writer, image, 0.25)
    follower = follower_of()
    served(follower, version, held=False)
    control.release(broker, topic_name)
    assert follower.poll(0.5) is None
    version = publish(writer, image, 0.5)
    served(follower, version, held=False)
    assert follower.errors == 0


def test_orders_do_not_fence_the_writer_nor_reach_the_followers(
    broker, writer, follower_of, topic_name
) -> None:
    image = Image(BITS, "float32")
    first = publish(writer, image, 0.25)
    follower = follower_of()
    served(follower, first, held=False)
    control.order(broker, topic_name, Order.override(1.7e9, 60))
    writer.say(status_record(Status(open=False, reason="a test")))
    assert follower.poll(0.5) is None
    published = publish(writer, image, 0.5)
    assert published == first + 1
    served(follower, published, held=False)
    assert (follower.errors, follower.last_error) == (0, "")


# ---- what stands on a topic


def test_nothing_stands_on_a_topic_that_is_not_there(standing, topic_name) -> None:
    with pytest.raises(ModelTopicError, match=f"there is no topic {topic_name}"):
        standing.read()


def read_all(broker, topic_name, standing) -> None:
    """A transaction is visible a moment after it was committed."""
    while not all_is_shown(broker, topic_name):
        time.sleep(0.01)
    assert standing.read()


def test_what_stands_is_the_last_of_each(broker, writer, standing, topic_name) -> None:
    image = Image(BITS, "float32")
    publish(writer, image, 0.25)
    control.hold(
        broker,
        topic_name,
        Manifest(version=7, spec=SPEC),
        model_of({5: 1.5}),
        reason="poison",
        by="anna",
        now=1.7e9,
    )
    first, second = Order.override(1.7e9, 60, "a", "anna"), Order.restore(1.7e9, "b", "bert")
    for order in (first, second):
        control.order(broker, topic_name, order)
    writer.say(status_record(Status(open=False, reason="x")))
    version = publish(writer, image, 0.5)
    read_all(broker, topic_name, standing)
    assert Manifest.from_bytes(standing.manifest).version == version
    assert standing.claim.session == "one"
    assert (standing.control.action, standing.control.manifest.version) == ("hold", 7)
    assert (standing.control.time, standing.control.reason) == (1_700_000_000_000, "poison")
    assert standing.control.by == "anna"
    assert standing.order == second
    assert standing.status == Status(open=False, reason="x")
    control.release(broker, topic_name)
    read_all(broker, topic_name, standing)
    assert standing.control.action == "release"


def test_the_writer_reads_only_what_others_wrote(broker, writer, standing, topic_name) -> None:
    def read_on() -> bool:
        while not all_is_shown(broker, topic_name):
            time.sleep(0.01)
        return standing.read(own=writer.offsets)

    image = Image(BITS, "float32")
    publish(writer, image, 0.25)
    assert read_on()
    known = standing.manifest
    read = count_polls(standing)
    for value in (0.5, 0.75):
        publish(writer, image, value)
        writer.say(status_record(Status(open=True)))
        assert read_on()
    assert (read(), standing.manifest) == (0, known)

    order = Order.override(1.7e9, 60)
    control.order(broker, topic_name, order)
    publish(writer, image, 1.0)
    assert read_on()
    assert read() > 0
    assert standing.order == order
    assert Manifest.from_bytes(standing.manifest).version == 4

    polled = read()
    # an aborted transaction takes up offsets too, which nobody counts
    aborted = Transactions(broker, f"{topic_name}.other")
    aborted._producer.begin_transaction()
    aborted._producer.send(topic_name, b"x", b"hint", partition=0)
    aborted._producer.flush(timeout=10)
    aborted._producer.abort_transaction()
    aborted.close()
    publish(writer, image, 1.5)
    assert read_on()
    assert read() > polled
    polled = read()
    publish(writer, image, 2.0)
    assert read_on()
    assert read() == polled


def all_is_shown(broker: Kafka, topic: str) -> bool:
    """Whether every transaction has ended for readers too, a moment after its writer knows it."""
    ends = []
    for level in ("read_committed", "read_uncommitted"):
        consumer = connect(KafkaConsumer, broker, isolation_level=level, group_id=None)
        partition = TopicPartition(topic, 0)
        ends.append(consumer.end_offsets([partition])[partition])
        consumer.close()
    return ends[0] == ends[1]


def count_polls(standing: Standing) -> Callable[[], int]:
    """How often records are asked for from now on."""
    asked = 0
    poll = standing._consumer.poll

    def counted(*args, **options):
        nonlocal asked
        asked += 1
        return poll(*args, **options)

    standing._consumer.poll = counted
    return lambda: asked


def test_damaged_words_are_passed_over(broker, writer, standing, topic_name) -> None:
    order = Order.override(1.7e9, 60)
    control.order(broker, topic_name, order)
    writer.say((b"override", b'{"action":"explode","id":"1"}'))
    writer.say((b"gate", b"?"))
    assert standing.read()
    assert (standing.order, standing.status) == (order, None)


def test_a_topic_without_a_broker(topic_name, free_port) -> None:
    standing = Standing(Kafka(bootstrap_servers=f"127.0.0.1:{free_port}"), topic_name)
    with pytest.raises(ModelTopicError, match=f"{topic_name} cannot be read"):
        standing.read(timeout=0.5)
    standing.close()


# ---- words as JSON


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"?", b"[]", b"\xff", b'{"action":"override"}', b'{"action":"o","id":"1"}'),
        b'{"action":"override","id":"1","until":-1}',
        b'{"action":"override","id":"1","until":253402300800000}',
    ],
)
def test_what_is_no_order(data) -> None:
    with pytest.raises(DamagedFileError, match="order is damaged"):
        order_from(data)


def test_fields_of_the_future_are_passed_over() -> None:
    assert order_from(b'{"action":"restore","id":"1","mood":"good"}') == Order("restore", "1")
    assert status_from(b'{"open":false,"mood":"bad"}') == Status(open=False)
    with pytest.raises(DamagedFileError, match="status is damaged"):
        status_from(b"{}")


def test_the_status_of_a_manifest() -> None:
    assert status_in(None) is None
    assert status_in(Manifest(version=1)) is None
    assert status_in(Manifest(version=1, sections={"gate": {"open": True}})) == Status(open=True)
    assert status_in(Manifest(version=1, sections={"gate": {"open": "perhaps"}})) is None
    early, late = Status(open=True, time=1), Status(open=False, time=2)
    assert later(early, None, late) is later(late, early) is late
    assert later(None) is None


# ---- beside a directory


@pytest.fixture
def files(tmp_path) -> ControlFiles:
    store = SnapshotStore(tmp_path)
    for version in (1, 2):
        store.write(Manifest(version=version, spec=SPEC), model_of({version: 1.0}))
    return ControlFiles(store, clock=lambda: 1.7e9)


def test_a_held_directory_says_why(files, tmp_path) -> None:
    assert files.held() is None
    files.hold(1, "poison", "anna")
    assert files.held() == Note("hold", 1, 1_700_000_000_000, "poison", "anna")
    assert (tmp_path / "hold").read_text() == "1\n"
    with pytest.raises(SettingError, match=r"version must be one stored in .*: 1, 2; got 9"):
        files.hold(9)
    assert files.held().version == 1
    # by hand, as ever
    (tmp_path / "hold").write_text("2")
    assert files.held() == Note("hold", 2)
    (tmp_path / "hold.json").write_text("?")
    assert files.held() == Note("hold", 2)
    (tmp_path / "hold").write_text("?")
    with pytest.raises(DamagedFileError, match="must hold a version"):
        files.held()
    files.release("mended", "bert")
    assert files.held() is None


def test_words_beside_a_directory(files, tmp_path) -> None:
    assert files.order() is files.status() is None
    order, status = Order.override(1.7e9, 60, "a", "b"), Status(open=False, reason="c", order=None)
    files.give(order)
    files.say(status)
    assert (files.order(), files.status()) == (order, status)
    (tmp_path / "gate.json").write_text("?")
    (tmp_path / "override.json").write_text("?")
    assert files.status() is None
    with pytest.raises(DamagedFileError, match="order is damaged"):
        files.order()
    with pytest.raises(SettingError, match=r"publish\.directory must be a directory that is"):
        ControlFiles(SnapshotStore(tmp_path / "none")).give(order)
    assert SnapshotStore(tmp_path).retain(1, 0, 0)
    assert (tmp_path / "gate.json").exists()
