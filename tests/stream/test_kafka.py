"""The Kafka source on a real broker, both ways of reading."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from ctr.errors import OffsetsLostError, SettingError, SourceError
from ctr.settings import Events, Kafka
from ctr.stream.kafka import KafkaSource
from ctr.types import Position, Records

from .worlds import Topic, by_source, positions_after, read_all, values_of

BOTH = pytest.mark.parametrize("fast", [True, False], ids=["fast", "poll"])


@pytest.fixture
def make(kafka: Any, topic_name: str) -> Callable[..., Topic]:
    return lambda **options: Topic(kafka.bootstrap, topic_name, **options)


def values(count: int, first: int = 0) -> list[bytes | None]:
    return [b"%d" % i for i in range(first, first + count)]


def read_until(source: KafkaSource, enough: Callable[[list[Records]], bool]) -> list[Records]:
    found: list[Records] = []
    deadline = time.monotonic() + 30
    while not enough(found):
        assert time.monotonic() < deadline, f"only {by_source(found)}"
        if (records := source.next_batch(0.5)) is not None:
            found.append(records)
    return found


def read_count(source: KafkaSource, count: int) -> list[Records]:
    return read_until(source, lambda found: sum(map(len, found)) >= count)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- what is read


@BOTH
@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_every_codec(make: Callable[..., Topic], fast: bool, codec: str) -> None:
    topic = make(fast=fast, codec=codec)
    expected = topic.put(values(1000))
    assert by_source(read_all(topic.open(batch_bytes=1 << 20))) == expected


@BOTH
def test_only_committed_transactions_are_read(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    producer = topic.producer(transactional_id=topic.topic)
    producer.init_transactions()
    expected = []
    for i in range(6):
        producer.begin_transaction()
        for n in range(40):
            producer.send(topic.topic, b"%d/%d" % (i, n), partition=0)
        if i % 3 == 1:
            producer.flush()
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            expected += [b"%d/%d" % (i, n) for n in range(40)]
    producer.begin_transaction()
    producer.send(topic.topic, b"open", partition=0).get(10)
    uri = f"kafka:{topic.topic}/0"

    source = topic.open()
    found = read_all(source)
    assert by_source(found) == {uri: expected}
    # the last thing before the open transaction is a marker, and the position is after it
    assert found[-1].after == Position("", 6 * 41)

    live = topic.open(positions_after({}, found), stop_at_end=False)
    assert by_source([r for r in [live.next_batch(1)] if r]) == {}
    producer.commit_transaction()
    producer.close()
    assert by_source(read_count(live, 1)) == {uri: [b"open"]}
    read_until(live, lambda _: live.lag()[uri] == 0)
    live.close()


@BOTH
def test_an_aborted_tail_moves_the_position_without_records(
    make: Callable[..., Topic], fast: bool
) -> None:
    topic = make(fast=fast)
    source = topic.open(stop_at_end=False)
    assert source.next_batch(0.1) is None
    producer = topic.producer(transactional_id=topic.topic)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic.topic, b"no", partition=1).get(10)
    producer.abort_transaction()
    producer.close()
    found = read_until(source, lambda found: bool(found) and found[-1].after.offset == 2)
    assert {records.source for records in found} == {f"kafka:{topic.topic}/1"}
    assert sum(map(len, found)) == 0
    source.close()


@BOTH
def test_the_timestamps_are_kafkas(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    producer = topic.producer()
    stamps = [1_700_000_000_000 + 7 * i for i in range(10)]
    for stamp in stamps:
        producer.send(topic.topic, b"x", partition=0, timestamp_ms=stamp)
    producer.close()
    found = read_all(topic.open())
    assert [t for records in found for t in records.timestamps.tolist()] == stamps


@BOTH
def test_what_comes_after_the_end_is_left(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    expected = topic.put(values(30))
    source = topic.open()
    found = [source.next_batch(20)]
    topic.put(values(30, 1000))
    found += read_all(source)
    assert by_source([records for records in found if records]) == expected


# ---- where it starts


@BOTH
def test_latest_and_what_came_since_a_first_start(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    topic.put(values(9))
    source = topic.open(start="latest", stop_at_end=False)
    assert source.next_batch(0.5) is None
    start = source.start()
    source.close()
    assert start == {f"kafka:{topic.topic}/{n}": Position("", 3) for n in range(3)}
    expected = topic.put(values(9, 100))
    # nothing was learned, so the positions it started with are what a checkpoint holds
    assert by_source(read_all(topic.open(start, start="latest"))) == expected


@BOTH
def test_a_start_by_time(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    producer = topic.producer()
    for i in range(10):
        stamp = 1_700_000_000_000 + 1000 * i
        producer.send(topic.topic, b"%d" % i, partition=i % 2, timestamp_ms=stamp)
    producer.close()
    found = read_all(topic.open(start="1700000007000"))
    prefix = f"kafka:{topic.topic}/"
    assert by_source(found) == {f"{prefix}1": [b"7", b"9"], f"{prefix}0": [b"8"]}
    assert by_source(read_all(topic.open(start="2023-11-14T22:13:28+00:00"))) == {
        f"{prefix}1": [b"9"],
        f"{prefix}0": [b"8"],
    }


@BOTH
def test_partitions_found_while_running(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    expected = topic.put(values(9))
    source = topic.open(stop_at_end=False, start="earliest")
    found = read_count(source, 9)
    with KafkaAdminClient(bootstrap_servers=topic.settings.bootstrap_servers) as admin:
        admin.create_partitions({topic.topic: 5})
    producer = topic.producer()
    wait_until(lambda: len(producer.partitions_for(topic.topic) or ()) == 5 or _refresh(producer))
    for n in (3, 4):
        producer.send(topic.topic, b"new", partition=n)
        expected[f"kafka:{topic.topic}/{n}"] = [b"new"]
    producer.close()
    found += read_count(source, 2)
    source.close()
    assert by_source(found) == expected
    assert source.start()[f"kafka:{topic.topic}/4"] == Position("", 0)


def _refresh(producer: Any) -> bool:
    producer._metadata.request_update()
    time.sleep(0.1)
    return False


@BOTH
def test_partitions_found_after_a_restart_start_at_the_earliest(
    make: Callable[..., Topic], fast: bool
) -> None:
    topic = make(fast=fast)
    expected = topic.put(values(9))
    known = {f"kafka:{topic.topic}/0": Position("", 1), "file:old.jsonl": Position("", 77)}
    expected[f"kafka:{topic.topic}/0"].pop(0)
    assert by_source(read_all(topic.open(known, start="latest"))) == expected


@BOTH
def test_a_topic_that_comes_later(
    kafka: Any, topic_name: str, fast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Kafka(bootstrap_servers=kafka.bootstrap)
    source = KafkaSource(settings, Events(topic=topic_name), fast=fast)
    with caplog.at_level(logging.WARNING, "ctr"):
        assert source.next_batch(1.5) is None
    (message,) = [r.message for r in caplog.records if r.name.startswith("ctr")]
    assert message == f"the topic {topic_name} does not exist yet; waiting for it"
    topic = Topic(kafka.bootstrap, topic_name, fast=fast)
    expected = topic.put(values(9))
    assert by_source(read_count(source, 9)) == expected
    source.close()


def test_a_topic_that_never_comes_is_an_error_for_who_stops_at_its_end(
    kafka: Any, topic_name: str
) -> None:
    settings, events = (
        Kafka(bootstrap_servers=kafka.bootstrap),
        Events(topic=topic_name, stop_at_end=True),
    )
    source = KafkaSource(settings, events, topic_seconds=0.3)
    with pytest.raises(SourceError, match=f"the topic {topic_name} does not exist at"):
        source.next_batch(20)
    source.close()


# ---- what is lost


def delete_before(topic: Topic, partition: int, offset: int) -> None:
    with KafkaAdminClient(bootstrap_servers=topic.settings.bootstrap_servers) as admin:
        admin.delete_records({TopicPartition(topic.topic, partition): offset})


@BOTH
def test_offsets_that_are_gone_at_the_start(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    expected = topic.put(values(30))
    uri = f"kafka:{topic.topic}/0"
    delete_before(topic, 0, 6)
    resume = {uri: Position("", 2)}
    source = topic.open(resume)
    message = f"{uri}: offset 2, which comes next, is no longer there; the topic has 6 to 10"
    with pytest.raises(OffsetsLostError, match=message):
        source.next_batch(20)
    source.close()
    going_on = topic.open(resume, on_lost_offsets="continue")
    expected[uri] = expected[uri][6:]
    assert by_source(read_all(going_on)) == expected
    assert going_on.counters()["offsets_lost"] == 1


@BOTH
def test_offsets_that_go_while_it_runs(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    uri = f"kafka:{topic.topic}/0"
    producer = topic.producer(batch_size=1000)
    for i in range(100):
        producer.send(topic.topic, b"%0999d" % i, partition=0)
    producer.close()
    sources = [topic.open(stop_at_end=False, on_lost_offsets=how) for how in ("error", "continue")]
    found = [read_count(source, 1) for source in sources]
    delete_before(topic, 0, 90)
    strict, going_on = sources
    with pytest.raises(OffsetsLostError, match=r"offset \d\d?, .* has 90 to 100"):
        read_count(strict, 100)
    strict.close()
    last = read_until(going_on, lambda more: bool(more) and more[-1].after.offset == 100)
    numbers = [int(value) for value in by_source(found[1] + last)[uri]]
    gap = numbers.index(90)
    assert 0 < gap < 30
    assert numbers == [*range(gap), *range(90, 100)]
    assert going_on.counters()["offsets_lost"] == 1
    going_on.close()


@BOTH
def test_a_partition_that_is_gone(make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    resume = {f"kafka:{topic.topic}/7": Position("", 5)}
    source = topic.open(resume)
    with pytest.raises(OffsetsLostError, match=r"/7: offset 5, .* has no such partition"):
        source.next_batch(20)
    source.close()


# ---- offsets committed for lag tools


@BOTH
def test_commits_are_seen_by_lag_tools(kafka: Any, make: Callable[..., Topic], fast: bool) -> None:
    topic = make(fast=fast)
    topic.put(values(9))
    events = Events(topic=topic.topic, stop_at_end=True)
    source = KafkaSource(topic.settings, events, group=topic.topic, fast=fast)
    found = read_until(source, lambda _: source.ended())
    source.commit(positions_after({"file:x": Position("", 1)}, found))
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as admin:
        wait_until(lambda: committed(admin, topic.topic) == dict.fromkeys(range(3), 3))
    source.close()


def committed(admin: KafkaAdminClient, group: str) -> dict[int, int]:
    try:
        offsets = admin.list_group_offsets([group])[group]
    except KafkaError:  # the topic for them is made at the first commit
        return {}
    return {at.partition: there.offset for at, there in offsets.items()}


def test_a_commit_that_fails_is_only_counted() -> None:
    settings = Kafka(bootstrap_servers="127.0.0.1:1")
    source = KafkaSource(settings, Events(), group="g")
    source.commit({"kafka:events/0": Position("", 5)})
    wait_until(lambda: source.counters()["commit_failures"] == 1)
    source.close()


# ---- what goes wrong


def test_no_broker_is_waited_for() -> None:
    before = threading.enumerate()
    source = KafkaSource(Kafka(bootstrap_servers="127.0.0.1:1"), Events())
    assert source.healthy
    began = time.monotonic()
    assert source.next_batch(0.5) is None
    assert 0.4 < time.monotonic() - began < 3
    assert not source.healthy
    assert source.counters()["errors"] >= 2
    assert source.counters()["outages"] == 1
    source.close()
    assert set(threading.enumerate()) <= set(before)


def test_an_outage_loses_and_repeats_nothing(own_kafka: Any, topic_name: str) -> None:
    topics = [
        Topic(own_kafka.bootstrap, f"{topic_name}-{fast}", fast=fast) for fast in (True, False)
    ]
    expected = [topic.put(values(300)) for topic in topics]
    sources = [topic.open(stop_at_end=False) for topic in topics]
    found = [read_count(source, 100) for source in sources]
    own_kafka.stop()
    for source, records in zip(sources, found, strict=True):
        deadline = time.monotonic() + 20
        while source.healthy:
            assert time.monotonic() < deadline
            if (more := source.next_batch(0.2)) is not None:  # what had been fetched before
                records.append(more)
        assert source.next_batch(0.1) is None
        assert source.counters()["outages"] == 1
    own_kafka.start()
    for topic, those in zip(topics, expected, strict=True):
        for uri, more in topic.put(values(300, 1000)).items():
            those[uri] += more
    for source, records, those in zip(sources, found, expected, strict=True):
        records += read_count(source, 600 - sum(map(len, records)))
        assert source.next_batch(0.3) is None
        assert by_source(records) == those
        assert source.healthy
        source.close()


def test_a_batch_that_is_corrupt_on_the_brokers_disk(own_kafka: Any, topic_name: str) -> None:
    topic = Topic(own_kafka.bootstrap, topic_name, fast=True, codec="lz4")
    producer = topic.producer()
    for i in range(3):
        for n in range(10):
            producer.send(topic.topic, b"%d/%d" % (i, n), partition=0)
        producer.flush()
    producer.close()
    own_kafka.stop()
    log = own_kafka.data / "data" / f"{topic_name}-0" / "00000000000000000000.log"
    content = bytearray(log.read_bytes())
    first = 12 + int.from_bytes(content[8:12], "big")
    content[first + 80] ^= 1
    log.write_bytes(bytes(content))
    own_kafka.start()
    uri = f"kafka:{topic_name}/0"
    for fast in (True, False):
        topic.fast = fast
        source = topic.open()
        found = read_count(source, 10)
        assert by_source(found) == {uri: [b"0/%d" % n for n in range(10)]}
        with pytest.raises(SourceError, match=r"offset 10 .*\(read 3 times\); events\.skip"):
            read_count(source, 1)
        assert source.counters()["corrupt_batches"] == 3
        source.close()
    topic.fast = True
    rest = by_source(read_all(topic.open(skip=[f"{uri}:10-19"])))
    assert rest == {uri: [b"%d/%d" % (i, n) for i in (0, 2) for n in range(10)]}


def test_a_seam_that_is_not_as_expected_is_told(
    make: Callable[..., Topic], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kafka.__version__", "9.0.0")
    topic = make(fast=None)
    expected = topic.put(values(9))
    with caplog.at_level(logging.WARNING, "ctr"):
        source = topic.open()
    assert "poll(), several times slower: kafka-python is 9.0.0, and 3.0.12 is" in caplog.text
    assert not source.fast
    assert by_source(read_all(source)) == expected


def test_a_topic_that_cannot_be() -> None:
    with pytest.raises(SettingError, match=r"events\.topic must be a topic's name"):
        KafkaSource(Kafka(), Events(topic="bad name"))


def test_the_seam_is_there() -> None:
    source = KafkaSource(Kafka(), Events())
    assert source.fast
    source.close()


@BOTH
def test_a_record_batch_is_given_in_pieces_of_the_size_asked_for(
    make: Callable[..., Topic], fast: bool
) -> None:
    topic = make(fast=fast)
    producer = topic.producer(batch_size=2000)
    for i in range(400):
        producer.send(topic.topic, b"%0100d" % i, partition=0)
    producer.close()
    found = read_all(topic.open(batch_bytes=4096))
    assert [v for r in found for v in values_of(r)] == [b"%0100d" % i for i in range(400)]
    sizes = [int((r.ends - r.starts).sum()) for r in found]
    assert max(sizes) < 3 * 4096
    # small batches are merged
    assert len(found) < 30
