"""Writing a model topic on a real broker: one writer, whole versions, and what goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from ctr.errors import FencedError, ModelTopicError
from ctr.kafka import connect, topic_configs
from ctr.model import topic as topic_module
from ctr.model.follow import TopicFollower
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.records import publish_records
from ctr.model.tail import Tail, consumer_options, read_tail
from ctr.model.topic import MESSAGE_BYTES, TOPIC_CONFIGS, TopicWriter
from ctr.model.transactions import PublishError, Transactions
from ctr.model.update import Update
from ctr.settings import Features, Kafka

from .twins import BITS

MANIFEST = Manifest(version=0, spec=Features(bits=BITS))


@pytest.fixture
def broker(kafka) -> Kafka:
    return Kafka(bootstrap_servers=kafka.bootstrap)


@pytest.fixture
def admin(broker) -> Iterator[KafkaAdminClient]:
    client = connect(KafkaAdminClient, broker)
    yield client
    client.close()


@pytest.fixture
def image() -> Image:
    image = Image(BITS, "float32")
    image.update(range(16), np.full((16, 64), 0.3, np.float32))
    return image


def change(image: Image, value: float) -> None:
    image.update([3], np.full((1, 64), value, np.float32))


def opened(broker: Kafka, topic: str, session: str = "one", **options) -> TopicWriter:
    writer = TopicWriter(broker, topic, session, **options)
    writer.claim()
    return writer


def followed(broker: Kafka, topic: str, seconds: float = 10.0):
    """What somebody who starts to follow now is given first."""
    follower = TopicFollower(broker, topic)
    try:
        return follower.poll(seconds)
    finally:
        follower.close()


def set_config(admin: KafkaAdminClient, topic: str, **configs: str) -> None:
    changes = {key.replace("_", "."): value for key, value in configs.items()}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, changes)])


def test_the_topic_is_made_as_it_must_be(broker, admin, topic_name):
    opened(broker, topic_name).close()
    there = topic_configs(admin, topic_name)
    assert {key: there[key] for key in TOPIC_CONFIGS} == TOPIC_CONFIGS
    assert int(there["max.message.bytes"]) >= MESSAGE_BYTES


def test_a_topic_that_is_set_up_otherwise_is_changed(broker, admin, topic_name):
    configs = {"cleanup.policy": "delete", "max.message.bytes": "2000"}
    admin.create_topics({topic_name: {"num_partitions": 1, "configs": configs}})
    opened(broker, topic_name).close()
    there = topic_configs(admin, topic_name)
    assert there["cleanup.policy"] == "compact"
    assert there["max.message.bytes"] == str(MESSAGE_BYTES)


def test_a_topic_with_more_partitions_is_refused(broker, admin, topic_name):
    admin.create_topics({topic_name: {"num_partitions": 2}})
    with pytest.raises(ModelTopicError, match="must have 1 partition; it has 2"):
        opened(broker, topic_name)


def test_versions_go_on_after_the_topic_and_the_checkpoint(broker, topic_name, image):
    writer = TopicWriter(broker, topic_name, "one", clock=lambda: 1.7e9)
    assert writer.claim() == Tail(0, "one", None)
    first = writer.publish(MANIFEST, image)
    assert (first.manifest.version, first.manifest.whole) == (1, True)
    assert (first.manifest.session, first.manifest.published) == ("one", 1_700_000_000_000)
    change(image, 0.5)
    second = writer.publish(MANIFEST, image)
    assert (second.manifest.version, second.manifest.whole) == (2, False)
    assert 0 < second.bytes < first.bytes
    assert second.seconds > 0
    writer.close()

    again = TopicWriter(broker, topic_name, "two")
    tail = again.claim(after=1)
    assert (tail.version, tail.session) == (2, "two")
    third = again.publish(MANIFEST, image)
    assert (third.manifest.version, third.manifest.whole) == (3, True)
    again.close()

    ahead = TopicWriter(broker, topic_name, "three")
    ahead.claim(after=40)
    assert ahead.publish(MANIFEST, image).manifest.version == 41
    ahead.close()


def test_the_tail_is_found_behind_any_number_of_claims(broker, topic_name, image):
    writer = opened(broker, topic_name)
    writer.publish(MANIFEST, image)
    assert read_tail(broker, topic_name)[:2] == (1, "one")
    writer.close()
    transactions = Transactions(broker, f"{topic_name}.writer")
    transactions.write(topic_name, 40 * [(b"claim", b'{"session":"many"}')])
    transactions.close()
    tail = read_tail(broker, topic_name)
    assert tail[:2] == (1, "many")
    assert Manifest.from_bytes(tail.manifest).digest == f"{image.model.digest:016x}"


def test_a_topic_that_is_not_there_has_no_tail(broker, topic_name):
    with pytest.raises(ModelTopicError, match="cannot be read"):
        read_tail(broker, topic_name, timeout=1.0)


def test_nothing_is_written_without_a_claim(broker, topic_name, image):
    writer = TopicWriter(broker, topic_name, "one")
    with pytest.raises(PublishError, match="must be claimed"):
        writer.publish(MANIFEST, image)


def test_the_older_of_two_writers_is_fenced(broker, topic_name, image):
    old = opened(broker, topic_name, "old")
    old.publish(MANIFEST, image)
    new = opened(broker, topic_name, "new")
    for _ in range(2):
        with pytest.raises(FencedError, match="has another writer now, session new"):
            old.publish(MANIFEST, image)
    assert new.publish(MANIFEST, image).manifest.session == "new"
    with pytest.raises(FencedError):
        old.publish(MANIFEST, image)
    change(image, 0.7)
    last = new.publish(MANIFEST, image)
    update = followed(broker, topic_name)
    assert update.manifest == last.manifest
    assert update.commit().digest == image.model.digest
    old.close()
    new.close()


def test_a_writer_that_was_taken_over_from_cannot_come_back_meanwhile(
    broker, topic_name, image, monkeypatch
):
    old = opened(broker, topic_name, "old")
    old.publish(MANIFEST, image)
    seen = []

    def look(*arguments):
        if not seen:
            seen.append("the new one looks")
            with pytest.raises(FencedError, match="has another writer now, session new"):
                old.publish(MANIFEST, image)
        return read_tail(*arguments)

    monkeypatch.setattr(topic_module, "read_tail", look)
    new = TopicWriter(broker, topic_name, "new")
    assert new.claim()[:2] == (1, "new")
    assert seen
    published = new.publish(MANIFEST, image).manifest
    assert (published.session, published.whole) == ("new", True)
    assert followed(broker, topic_name).manifest == published
    old.close()
    new.close()


def test_fenced_by_a_timeout_the_writer_goes_on_whole(broker, topic_name, image):
    writer = opened(broker, topic_name)
    writer.publish(MANIFEST, image)
    # what a timed-out transaction does too: the id gets another epoch, and nobody claims
    Transactions(broker, f"{topic_name}.writer").close()
    change(image, 0.5)
    published = writer.publish(MANIFEST, image)
    assert published.manifest.whole
    assert published.manifest.version > 1
    assert followed(broker, topic_name).commit().digest == image.model.digest
    writer.close()


def test_a_record_that_the_producer_refuses_aborts_the_publish(
    broker, topic_name, image, monkeypatch
):
    writer = opened(broker, topic_name)
    first = writer.publish(MANIFEST, image)
    visible = records_in(broker, topic_name)
    change(image, 0.5)

    def too_large(manifest, model, changes):
        yield b"Delta/0/2/0", b"torn"
        yield b"Delta/0/2/1", bytes(2 * MESSAGE_BYTES)

    monkeypatch.setattr(topic_module, "publish_records", too_large)
    with pytest.raises(PublishError, match="MessageSizeTooLarge"):
        writer.publish(MANIFEST, image)
    monkeypatch.undo()
    assert records_in(broker, topic_name) == visible
    assert followed(broker, topic_name).manifest == first.manifest
    change(image, 0.6)
    published = writer.publish(MANIFEST, image)
    assert published.manifest.whole
    assert followed(broker, topic_name).commit().digest == image.model.digest
    writer.close()


def test_a_batch_that_the_broker_refuses_is_never_committed(broker, admin, topic_name, image):
    writer = opened(broker, topic_name, blocks=2)
    change(image, 0.5)
    first = writer.publish(MANIFEST, image)
    set_config(admin, topic_name, max_message_bytes="1500")
    image.update(range(16), np.full((16, 64), 0.9, np.float32))
    with pytest.raises(PublishError):
        writer.publish(MANIFEST, image)
    assert followed(broker, topic_name).manifest == first.manifest
    set_config(admin, topic_name, max_message_bytes=str(MESSAGE_BYTES))
    published = writer.publish(MANIFEST, image)
    assert published.manifest.whole
    update = followed(broker, topic_name)
    assert update.manifest == published.manifest
    assert update.commit().digest == image.model.digest
    writer.close()


def test_a_batch_that_expires_is_a_publish_that_failed(
    broker, admin, topic_name, image, monkeypatch
):
    writer = opened(broker, topic_name, timeout=2.0)
    writer.publish(MANIFEST, image)

    def interrupted(manifest, model, changes):
        yield b"hint", b"the transaction has begun"
        time.sleep(0.3)
        admin.delete_topics([topic_name])
        yield from publish_records(manifest, model, changes)

    # the end of the transaction works, its records do not: kafka-python alone calls that a success
    monkeypatch.setattr(topic_module, "publish_records", interrupted)
    with pytest.raises(PublishError):
        writer.publish(MANIFEST, image)
    monkeypatch.undo()
    again = writer.publish(MANIFEST, image).manifest
    assert (again.version, again.whole) == (3, True)
    assert read_tail(broker, topic_name).session == "one"
    assert followed(broker, topic_name).commit().digest == image.model.digest
    writer.close()


def test_who_starts_sees_the_last_version_first(broker, topic_name):
    # 2^18 weights a version: more than one fetch for ten of them
    image = Image(18, "float32")
    writer = opened(broker, topic_name)
    manifest = Manifest(version=0, spec=Features(bits=18))
    rng = np.random.default_rng(0)
    for _ in range(10):
        image.update(range(4096), rng.normal(0, 1, (4096, 64)).astype(np.float32))
        last = writer.publish(manifest, image)
    assert last.bytes > 1_000_000
    update = followed(broker, topic_name)
    assert update.manifest == last.manifest
    assert update.commit().digest == image.model.digest
    writer.close()


def records_in(broker: Kafka, topic: str) -> int:
    """How many records a reader gets who starts at the beginning now."""
    consumer = connect(KafkaConsumer, broker, **consumer_options())
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    end, count = consumer.end_offsets([partition])[partition], 0
    while consumer.position(partition) < end:
        count += len(consumer.poll(timeout_ms=500).get(partition, ()))
    consumer.close()
    return count


def test_a_compacted_topic_is_all_that_it_takes(broker, admin, topic_name):
    writer = opened(broker, topic_name, ring=5)
    set_config(
        admin,
        topic_name,
        segment_bytes=str(1 << 20),
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="1000",
    )
    bits, rng = 18, np.random.default_rng(0)
    image = Image(bits, "float32")
    image.update(range(4096), rng.normal(0, 1, (4096, 64)).astype(np.float32))
    manifest = Manifest(version=0, spec=Features(bits=bits))
    written = 1
    follower = TopicFollower(broker, topic_name)
    for version in range(1, 60):
        pages = np.sort(rng.choice(4096, 200, replace=False))
        image.update(pages, rng.normal(0, 1, (200, 64)).astype(np.float32))
        last = writer.publish(manifest, image)
        written += 256 + 1 if version == 1 else 256 // 5 + 2
        if version == 20:
            follower.poll(10).commit()
    deadline = time.monotonic() + 60
    while records_in(broker, topic_name) > written // 2:
        assert time.monotonic() < deadline, "the broker never compacted the topic"
        time.sleep(0.5)
    # one who starts now, and one who stopped reading 39 versions ago, eight times round the ring
    for update in (followed(broker, topic_name), settled(follower, last.manifest.version)):
        assert update.manifest == last.manifest
        assert update.commit().digest == image.model.digest
    writer.close()
    follower.close()


def settled(follower: TopicFollower, version: int) -> Update:
    """The update to a version, after any to those before it."""
    for _ in range(100):
        update = follower.poll(0.2)
        if update is not None:
            update.commit()
            if update.manifest.version == version:
                return update
    raise AssertionError(follower.last_error)


def test_a_topic_that_was_made_anew_is_followed(broker, admin, topic_name, image):
    writer = opened(broker, topic_name)
    for value in (0.1, 0.2, 0.3):
        change(image, value)
        writer.publish(MANIFEST, image)
    writer.close()
    follower = TopicFollower(broker, topic_name)
    served = follower.poll(10)
    assert served.manifest.version == 3
    served.commit()
    admin.delete_topics([topic_name])
    anew = opened(broker, topic_name, "anew")
    change(image, 0.9)
    anew.publish(MANIFEST, image)
    for _ in range(60):
        update = follower.poll(0.5)
        if update is not None:
            break
    assert update.manifest.version == 1
    assert update.commit().digest == image.model.digest
    anew.close()
    follower.close()


def test_the_broker_goes_away_and_returns(own_kafka, topic_name, image):
    broker = Kafka(bootstrap_servers=own_kafka.bootstrap)
    writer = opened(broker, topic_name, timeout=2.0)
    writer.publish(MANIFEST, image)
    follower = TopicFollower(broker, topic_name)
    model = follower.poll(10).commit()
    before = threading.active_count()
    own_kafka.stop()
    change(image, 0.5)
    for _ in range(2):
        with pytest.raises(PublishError):
            writer.publish(MANIFEST, image)
    assert threading.active_count() <= before
    while not follower.errors:
        assert follower.poll(0.2) is None
    assert "cannot be read" in follower.last_error
    own_kafka.start()
    published = writer.publish(MANIFEST, image)
    assert published.manifest.whole
    update = follower.poll(20)
    assert update.manifest == published.manifest
    assert update.commit().digest == image.model.digest != model.digest
    assert follower.last_error == ""
    writer.close()
    follower.close()


def test_a_follower_outlives_the_absence_of_everything(topic_name, free_port):
    broker = Kafka(bootstrap_servers=f"127.0.0.1:{free_port}")
    follower = TopicFollower(broker, topic_name)
    assert follower.poll(0.1) is None
    assert follower.errors == 1
    writer = TopicWriter(broker, topic_name, "one", timeout=1.0)
    with pytest.raises(PublishError, match="cannot be made or checked"):
        writer.claim()
    follower.close()
    writer.close()
