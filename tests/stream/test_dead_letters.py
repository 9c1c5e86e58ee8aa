"""Dead letters: none lost, whatever fails, and the bytes as they were."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from ctr.config import load
from ctr.errors import LockedError, SettingError
from ctr.kafka import ensure_topic, topic_configs
from ctr.settings import Kafka
from ctr.stream import open_dead_letters
from ctr.stream.dead_letters import DeadLetters, Delivery, Letter, address
from ctr.stream.letter_log import LogDelivery, from_line, read_letters, to_line
from ctr.stream.letter_topic import MARGIN_BYTES, TopicDelivery
from ctr.types import Position, Records, Rejected

REASONS = ("ok", "syntax", "utf8")


def bad(values: Sequence[bytes], first: int = 0, source: str = "kafka:events/3") -> Any:
    """Records that are bad as a whole, every other one for another reason."""
    records, n = Records.of(values, source, first), len(values)
    none = np.full(n, -1, np.int64)
    reasons = (1 + np.arange(n) % 2).astype(np.uint8)
    numbers = np.arange(n, dtype=np.int32)
    lines = np.zeros(n, np.int32)
    return records, Rejected(reasons, records.starts, records.ends, numbers, lines, none, none)


def expected(values: Sequence[bytes], first: int = 0) -> list[Letter]:
    return [
        Letter(f"events/3/{first + i}/0", REASONS[1 + i % 2], value)
        for i, value in enumerate(values)
    ]


class Slow:
    """Delivers to a list as long as it is open; fails where ``errors`` has something to raise."""

    def __init__(self, errors: Sequence[Exception] = (), most: int = 1 << 30) -> None:
        self.got: list[Letter] = []
        self.open, self.errors, self.most = threading.Event(), list(errors), most
        self.closed = False

    def prepare(self) -> None:
        pass

    def deliver(self, letters: Sequence[Letter], closing: threading.Event) -> int:
        while not self.open.wait(0.01):
            if closing.is_set():
                raise OSError("closing")
        if self.errors:
            raise self.errors.pop(0)
        taken = letters[: self.most]
        self.got += taken
        return len(taken)

    def close(self) -> None:
        self.closed = True


# ---- the queue


def test_they_are_delivered_in_order() -> None:
    delivery = Slow(most=7)
    delivery.open.set()
    letters = DeadLetters(delivery, REASONS)
    values = [b"%d" % i for i in range(50)]
    letters.write(*bad(values[:20]))
    letters.write(*bad(values[20:], first=20))
    assert letters.flush(10)
    assert [letter.value for letter in delivery.got] == values
    assert letters.pending() == []
    assert letters.counters() == {"written": 50, "unacknowledged": 0, "failures": 0}
    letters.close()
    assert delivery.closed


def test_pending_are_those_not_acknowledged_and_can_be_sent_again() -> None:
    delivery = Slow()
    letters = DeadLetters(delivery, REASONS)
    values = [b"a", b"b", b"\xff\0"]
    letters.write(*bad(values, first=9))
    pending = letters.pending()
    assert pending == expected(values, first=9)
    assert not letters.flush(0.05)
    letters.close(timeout=0.05)
    assert delivery.got == []
    # as they come out of a checkpoint: plain tuples
    after = Slow()
    after.open.set()
    restarted = DeadLetters(after, REASONS)
    restarted.resend([tuple(letter) for letter in pending])
    assert restarted.flush(10)
    assert after.got == pending
    restarted.close()


def test_it_is_full_at_the_limit_until_there_is_room() -> None:
    delivery = Slow()
    letters = DeadLetters(delivery, REASONS, max_unacknowledged=10)
    letters.write(*bad([b"x"] * 9))
    assert not letters.is_full()
    letters.write(*bad([b"y"]))
    assert letters.is_full()
    delivery.open.set()
    assert letters.flush(10)
    assert not letters.is_full()
    assert len(delivery.got) == 10
    letters.close()


def test_the_limit_is_one_of_bytes_too() -> None:
    letters = DeadLetters(Slow(), REASONS, max_bytes=1000)
    letters.write(*bad([b"x" * 600]))
    assert not letters.is_full()
    letters.write(*bad([b"x" * 600]))
    assert letters.is_full()
    letters.close(timeout=0)


def test_failures_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    delivery = Slow(errors=[OSError("no space"), RuntimeError("what?")])
    delivery.open.set()
    letters = DeadLetters(delivery, REASONS)
    with caplog.at_level(logging.WARNING):
        letters.write(*bad([b"a", b"b"]))
        assert letters.flush(10)
    assert delivery.got == expected([b"a", b"b"])
    assert letters.counters()["failures"] == 2
    (message,) = caplog.messages  # one message, not one a try
    assert message == "2 dead letters wait, trying again: OSError('no space')"
    letters.close()


def test_what_cannot_get_better_is_raised() -> None:
    class Misconfigured(Slow):
        def prepare(self) -> None:
            raise SettingError("max.message.bytes of the topic dead", "1", "2")

    letters = DeadLetters(Misconfigured(), REASONS)
    letters._thread.join(10)
    with pytest.raises(SettingError, match=r"max\.message\.bytes"):
        letters.write(*bad([b"kept all the same"]))
    assert [letter.value for letter in letters.pending()] == [b"kept all the same"]
    with pytest.raises(SettingError, match=r"max\.message\.bytes"):
        letters.is_full()


def test_none_only_counts() -> None:
    letters = DeadLetters(None, REASONS)
    letters.write(*bad([b"a", b"b"]))
    letters.resend([("events/0/0/0", "syntax", b"c")])
    assert letters.counters() == {"written": 2, "unacknowledged": 0, "failures": 0}
    assert (letters.pending(), letters.flush(0)) == ([], True)
    letters.close()


def test_addresses() -> None:
    records = Records.of([b"a", b"b"], "kafka:clicks.v2/12", first=70)
    assert address(records, 1, 3) == "clicks.v2/12/71/3"
    assert address(Records.of([b"a"], "file:a/b.jsonl"), 0, 0) == "file:a/b.jsonl/0/0"
    logged = Records.of([b"a"], "log:state/log", first=33)
    logged.after = Position("000000000001.jsonl", 40)
    assert address(logged, 0, 0) == "log:state/log/000000000001.jsonl/33/0"


# ---- a log directory


@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=60))
def test_any_bytes_survive_a_line(source: str, reason: str, value: bytes) -> None:
    letter = Letter(source, reason, value)
    line = to_line(letter)
    assert line.count(b"\n") == 1
    assert from_line(line) == letter


def test_letters_in_a_log_directory(tmp_path: Path) -> None:
    values = [b"a\nb", b"\xff\0\n", b"", os.urandom(10_000_000), b"last"]
    letters = DeadLetters(LogDelivery(tmp_path, segment_bytes=1000), REASONS)
    letters.write(*bad(values))
    assert letters.flush(30)
    with pytest.raises(LockedError):
        LogDelivery(tmp_path)
    letters.close()
    assert list(read_letters(tmp_path)) == expected(values)


def test_a_directory_by_configuration(tmp_path: Path) -> None:
    settings = {"dead_letters.to": "directory", "dead_letters.directory": f"{tmp_path}/{{model}}"}
    letters = open_dead_letters(load(environment={}, overrides=settings), REASONS)
    letters.write(*bad([b"x"]))
    assert letters.flush(10)
    letters.close()
    assert list(read_letters(tmp_path / "clicks")) == expected([b"x"])


# ---- a topic


def consumed(bootstrap: str, topic: str, count: int) -> list[Letter]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    found: list[Letter] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        for records in consumer.poll(500).values():
            for record in records:
                headers = dict(record.headers)
                assert record.key is None
                assert list(headers) == ["ctr.reason", "ctr.source"]
                source, reason = headers["ctr.source"].decode(), headers["ctr.reason"].decode()
                found.append(Letter(source, reason, record.value))
    consumer.close()
    return found


@pytest.fixture
def letters_to(kafka: Any, topic_name: str) -> Any:
    opened: list[DeadLetters] = []

    def make(source: str = "") -> DeadLetters:
        delivery: Delivery = TopicDelivery(
            Kafka(bootstrap_servers=kafka.bootstrap), topic_name, source
        )
        opened.append(DeadLetters(delivery, REASONS))
        return opened[-1]

    yield make
    for letters in opened:
        letters.close(timeout=1)


def test_letters_in_a_topic(kafka: Any, topic_name: str, letters_to: Any) -> None:
    values = [b"plain", b"\xff\0\n", b"", *(b"%d" % i for i in range(3000))]
    letters = letters_to()
    letters.write(*bad(values))
    assert letters.flush(30)
    assert consumed(kafka.bootstrap, topic_name, len(values)) == expected(values)


def test_a_topic_takes_what_the_source_takes_and_more(
    kafka: Any, topic_name: str, letters_to: Any
) -> None:
    source = f"{topic_name}-source"
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as admin:
        limit = {"num_partitions": 1, "configs": {"max.message.bytes": "10000000"}}
        admin.create_topics({source: limit}, wait_for_metadata=True)
        letters = letters_to(source)
        value = random.Random(2).randbytes(10_000_000)
        letters.write(*bad([value, b"small"]))
        assert letters.flush(30)
        assert letters.counters()["failures"] == 0
        made = topic_configs(admin, topic_name)["max.message.bytes"]
    assert int(made) == 10_000_000 + MARGIN_BYTES
    assert consumed(kafka.bootstrap, topic_name, 2) == expected([value, b"small"])


def test_a_letter_larger_than_the_topic_takes_raises_its_limit(
    kafka: Any, topic_name: str, letters_to: Any
) -> None:
    letters = letters_to()
    value = random.Random(3).randbytes(4_000_000)
    letters.write(*bad([b"first", value, b"last"]))
    assert letters.flush(30)
    assert letters.counters()["failures"] == 0
    assert consumed(kafka.bootstrap, topic_name, 3) == expected([b"first", value, b"last"])
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as admin:
        # somebody lowers it behind our back
        ensure_topic(admin, topic_name, 1, {"max.message.bytes": "10000"})
    letters.write(*bad([value], first=3))
    assert letters.flush(30)
    assert letters.counters()["failures"] == 1
    assert consumed(kafka.bootstrap, topic_name, 4)[3:] == expected([value], first=3)


def test_letters_wait_for_a_broker_that_is_away(own_kafka: Any, topic_name: str) -> None:
    config = load(
        environment={},
        overrides={
            "kafka.bootstrap_servers": own_kafka.bootstrap,
            "dead_letters.topic": topic_name,
        },
    )
    letters = open_dead_letters(config, REASONS)
    letters.write(*bad([b"1", b"2"]))
    assert letters.flush(30)
    own_kafka.stop()
    letters.write(*bad([b"3", b"4"], first=2))
    assert not letters.flush(2)
    assert [letter.value for letter in letters.pending()] == [b"3", b"4"]
    own_kafka.start()
    assert letters.flush(30)
    # an outage repeats nothing
    assert consumed(own_kafka.bootstrap, topic_name, 4) == expected([b"1", b"2", b"3", b"4"])
    own_kafka.stop()
    letters.write(*bad([b"5"], first=4))
    began = time.monotonic()
    letters.close(timeout=0.5)
    assert time.monotonic() - began < 5
    pending = letters.pending()
    assert pending == expected([b"5"], first=4)

    restarted = open_dead_letters(config, REASONS)  # with the broker still away
    restarted.resend(pending)
    assert not restarted.flush(1)
    own_kafka.start()
    assert restarted.flush(30)
    restarted.close()
    found = consumed(own_kafka.bootstrap, topic_name, 5)
    # the one that was in flight when we closed may be there twice, and is not there zero times
    assert found[:5] == expected([b"1", b"2", b"3", b"4", b"5"])
    assert set(found[5:]) <= set(pending)
