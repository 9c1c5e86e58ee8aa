"""Publishers that die on the way and topics that lose records: a version is whole or not there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from ctr.kafka import connect
from ctr.model import follow
from ctr.model import topic as topic_module
from ctr.model.follow import TopicFollower
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.records import publish_records
from ctr.model.sparse import SparseModel
from ctr.model.tail import consumer_options
from ctr.model.topic import TopicWriter
from ctr.model.transactions import PublishError, Transactions
from ctr.settings import Features, Kafka

from .test_topic import followed, records_in, set_config
from .twins import BITS, listed_in

BLOCKS, RING = 4, 3
PUBLISH_RECORDS = 2 + BLOCKS // RING
"""At least so many a version that is not whole has: delta, blocks, manifest."""


@pytest.fixture
def broker(kafka) -> Kafka:
    return Kafka(bootstrap_servers=kafka.bootstrap)


@pytest.fixture
def admin(broker) -> Iterator[KafkaAdminClient]:
    client = connect(KafkaAdminClient, broker)
    yield client
    client.close()


class Publishing:
    """A writer whose versions are all different; ``contents`` is what each of them is."""

    def __init__(self, broker: Kafka, topic: str, session: str = "one", bits: int = BITS) -> None:
        self.broker, self.topic, self.bits = broker, topic, bits
        self.manifest = Manifest(version=0, spec=Features(bits=bits))
        self.image = Image(bits, "float32")
        self.contents: dict[int, int] = {}
        """The digest of each version that was committed."""
        self._draw = np.random.default_rng(1)
        self.writer = TopicWriter(broker, topic, session, blocks=BLOCKS, ring=RING)
        self.writer.claim()

    def change(self) -> None:
        pages = (1 << self.bits) // 64
        some = np.sort(self._draw.choice(pages, max(2, pages // 20), replace=False))
        self.image.update(some, self._draw.normal(0, 1, (len(some), 64)).astype(np.float32))

    def publish(self, times: int = 1) -> int:
        for _ in range(times):
            self.change()
            published = self.writer.publish(self.manifest, self.image).manifest
            self.contents[published.version] = self.image.model.digest
        return published.version

    def claim_again(self, session: str) -> None:
        """As a trainer that was started again."""
        self.writer.close()
        self.writer = TopicWriter(self.broker, self.topic, session, blocks=BLOCKS, ring=RING)
        self.writer.claim()

    def close(self) -> None:
        self.writer.close()


class Server:
    """Follows a topic and serves what it gets, as a server does; slowly, if it is asked rarely."""

    def __init__(self, broker: Kafka, topic: str, contents: dict[int, int]) -> None:
        self.follower = TopicFollower(broker, topic)
        self.version = 0
        self._model: SparseModel | None = None
        self._contents = contents

    def take(self, seconds: float) -> bool:
        """Wait so long for a newer version; whether one came. What is served is always exact."""
        update = self.follower.poll(seconds)
        if update is not None:
            assert update.manifest.version > self.version
            self.version, self._model = update.manifest.version, update.commit()
        assert self._model is None or self._model.digest == self._contents[self.version]
        return update is not None

    def reach(self, version: int) -> None:
        """Go on until this version is served."""
        for _ in range(100):
            if self.version == version:
                return
            self.take(0.2)
        raise AssertionError(f"{version} never came: {self.version}, {self.follower.last_error}")


@pytest.fixture
def publishing(broker, topic_name) -> Iterator[Publishing]:
    made = Publishing(broker, topic_name)
    yield made
    made.close()


@pytest.fixture
def serve(broker, publishing) -> Iterator[Callable[[], Server]]:
    """Starts servers of what is published, and ends them."""
    started: list[Server] = []

    def start() -> Server:
        started.append(Server(broker, publishing.topic, publishing.contents))
        return started[-1]

    yield start
    for server in started:
        server.follower.close()


def end_of(broker: Kafka, topic: str) -> int:
    """The offset after the last committed record."""
    consumer = connect(KafkaConsumer, broker, **consumer_options())
    try:
        partition = TopicPartition(topic, 0)
        end: int = consumer.end_offsets([partition])[partition]
        return end
    finally:
        consumer.close()


def truncate(admin: KafkaAdminClient, topic: str, offset: int) -> None:
    """Remove what is before ``offset``."""
    set_config(admin, topic, cleanup_policy="compact,delete")
    admin.delete_records({TopicPartition(topic, 0): offset})


# ---- publishers that die


def half_of(publishing: Publishing, count: int) -> None:
    """What a publisher leaves that is gone after ``count`` records of the next version."""
    dying = Transactions(publishing.broker, f"{publishing.topic}.writer")
    publishing.change()
    changes = publishing.image.take_changes()
    complete = publishing.manifest.describing(
        publishing.image.model,
        version=publishing.writer.version + 1,
        blocks=BLOCKS,
        ring=RING,
        whole=False,
    )
    records = list(publish_records(complete, publishing.image.model, changes))
    assert len(records) >= PUBLISH_RECORDS
    producer = dying._producer
    producer.begin_transaction()
    for key, value in records[:count]:
        producer.send(publishing.topic, value, key, partition=0)
    producer.flush(timeout=10)
    dying.close(0)  # the transaction stays open on the broker, as after SIGKILL


@pytest.mark.parametrize("count", range(PUBLISH_RECORDS + 1))
def test_a_publisher_that_dies_after_any_record_shows_nothing(publishing, serve, count) -> None:
    last = publishing.publish(3)
    server = serve()
    server.reach(last)
    half_of(publishing, count)
    assert not server.take(0.3)
    # nor does one who starts while the transaction is open wait for its end
    serve().reach(last)
    publishing.claim_again("two")
    new = publishing.publish()
    assert new > last
    for one in (server, serve()):
        one.reach(new)
        assert one.follower.errors == 0
    server.reach(publishing.publish())


DYING = """
import os, signal, sys
import numpy as np
from ctr.model import topic as module
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.records import publish_records
from ctr.settings import Features, Kafka

servers, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
writer = module.TopicWriter(Kafka(bootstrap_servers=servers), topic, "dying", blocks=4, ring=3)
writer.claim()
image = Image(10, "float32")
image.update(range(16), np.full((16, 64), 0.5, np.float32))
manifest = Manifest(version=0, spec=Features(bits=10))
writer.publish(manifest, image)
image.update(range(16), np.full((16, 64), 0.75, np.float32))

def records(*given):
    for at, record in enumerate(publish_records(*given)):
        if at == count:
            writer._transactions._producer.flush(timeout=10)
            os.kill(os.getpid(), signal.SIGKILL)
        yield record

module.publish_records = records
writer.publish(manifest, image)
"""


def test_a_process_that_is_killed_while_it_publishes(broker, topic_name) -> None:
    arguments = [broker.bootstrap_servers, topic_name, str(PUBLISH_RECORDS - 1)]
    killed = subprocess.run([sys.executable, "-c", DYING, *arguments])
    assert killed.returncode == -signal.SIGKILL
    update = followed(broker, topic_name)
    assert update.manifest.version == 1
    assert set(listed_in(update.commit().pages()).values()) == {0.5}
    after = Publishing(broker, topic_name, "after")
    assert after.publish() == 2
    server = Server(broker, topic_name, after.contents)
    server.reach(2)
    assert server.follower.errors == 0
    server.follower.close()
    after.close()


@pytest.mark.parametrize("count", range(PUBLISH_RECORDS))
def test_a_publish_that_is_given_up_after_any_record_shows_nothing(
    publishing, serve, monkeypatch, count
) -> None:
    last = publishing.publish(2)
    server = serve()
    server.reach(last)
    before = records_in(publishing.broker, publishing.topic)

    def interrupted(*given):
        for at, record in enumerate(publish_records(*given)):
            if at == count:
                raise OSError("the network is gone")
            yield record

    monkeypatch.setattr(topic_module, "publish_records", interrupted)
    publishing.change()
    with pytest.raises(PublishError, match="the network is gone"):
        publishing.writer.publish(publishing.manifest, publishing.image)
    monkeypatch.undo()
    assert not server.take(0.3)
    assert records_in(publishing.broker, publishing.topic) == before
    version = publishing.publish()
    for one in (server, serve()):
        one.reach(version)
        assert one.follower.errors == 0


# ---- topics that lose records


def test_whoever_starts_anywhere_in_the_topic_waits_for_a_whole_version(
    publishing, admin, serve
) -> None:
    """As the cleaner goes on from the front, at each offset where it may have come to."""
    last = publishing.publish(7)
    servers = []
    for offset in range(1, end_of(publishing.broker, publishing.topic), 3):
        truncate(admin, publishing.topic, offset)
        servers.append(serve())
        servers[-1].take(0.3)
        assert servers[-1].version in (0, last)
    assert {server.version for server in servers} == {0, last}
    last = publishing.publish(RING)
    for server in servers:
        server.reach(last)
        assert server.follower.errors == 0


def test_a_server_that_the_ring_has_overtaken_waits_for_a_full_cycle(
    publishing, admin, serve
) -> None:
    server = serve()
    first = publishing.publish(2)
    server.reach(first)
    publishing.publish(RING + 1)
    end = end_of(publishing.broker, publishing.topic)
    last = publishing.publish()
    truncate(admin, publishing.topic, end)
    # the last version alone is left: neither its delta nor its blocks are enough
    for _ in range(5):
        assert not server.take(0.3)
    assert server.version == first
    assert server.follower.newest == last
    last = publishing.publish(RING)
    server.reach(last)
    server.reach(publishing.publish())


def test_servers_that_start_and_read_slowly_while_the_topic_is_compacted(
    broker, admin, publishing, serve, monkeypatch
) -> None:
    slowly = {"max_partition_fetch_bytes": 1 << 14, "max_poll_records": 2}
    monkeypatch.setattr(follow, "consumer_options", lambda: consumer_options() | slowly)
    set_config(
        admin,
        publishing.topic,
        segment_bytes=str(1 << 20),
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="200",
    )
    servers: list[Server] = []
    deadline = time.monotonic() + 60
    last = publishing.publish()
    while len(servers) < 8 or records_in(broker, publishing.topic) > last * PUBLISH_RECORDS // 2:
        assert time.monotonic() < deadline, "the broker never compacted the topic"
        servers.append(serve())
        for _ in range(5):
            last = publishing.publish()
            for server in servers[-8:]:
                server.take(0.01)
    for server in [*servers[-8:], serve()]:
        server.reach(last)
        assert server.follower.errors == 0


# ---- what is not what it says


@pytest.mark.parametrize("forged", [{"digest": "0" * 16}, {"nonzero": 1}])
def test_a_version_that_is_not_what_its_manifest_says_is_never_served(
    publishing, serve, forged
) -> None:
    last = publishing.publish(2)
    server = serve()
    server.reach(last)
    publishing.change()
    model, changes = publishing.image.model, publishing.image.take_changes()
    layout = {"blocks": BLOCKS, "ring": RING, "whole": False}
    bad = publishing.manifest.describing(model, version=last + 1, **layout, **forged)
    forger = Transactions(publishing.broker, f"{publishing.topic}.forger")
    forger.write(publishing.topic, publish_records(bad, model, changes))
    forger.close()
    late = serve()
    for one in (server, late):
        while not one.follower.errors:
            assert not one.take(0.2)
        assert f"version {last + 1} should have" in one.follower.last_error
    assert (server.version, late.version) == (last, 0)
    publishing.claim_again("mended")
    version = publishing.publish()
    assert version == last + 2
    for one in (server, late):
        one.reach(version)
