"""Client settings, secrets, and topics on a real broker."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from ctr.errors import SettingError
from ctr.kafka import (
    Backoff,
    Secret,
    client_settings,
    connect,
    ensure_topic,
    reachable,
    topic_configs,
    topic_partitions,
    wait_for_broker,
)
from ctr.settings import Kafka

NOBODY = Kafka(bootstrap_servers="127.0.0.1:1")


def test_every_client_knows_every_setting(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key", "password"):
        (tmp_path / name).write_text("x\n")
    kafka = Kafka(
        security_protocol="SASL_SSL",
        ssl_cafile=str(tmp_path / "ca"),
        ssl_certfile=str(tmp_path / "cert"),
        ssl_keyfile=str(tmp_path / "key"),
        ssl_password_file=str(tmp_path / "password"),
        ssl_check_hostname=False,
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="trainer",
        sasl_password_file=str(tmp_path / "password"),
    )
    made = client_settings(kafka)
    for client in (KafkaConsumer, KafkaProducer, KafkaAdminClient):
        assert set(made) <= set(client.DEFAULT_CONFIG)
    assert (made["sasl_plain_password"], made["ssl_password"]) == ("x", "x")
    assert (made["sasl_plain_username"], made["ssl_check_hostname"]) == ("trainer", False)


def test_plain_text_has_no_security_settings() -> None:
    made = client_settings(Kafka(bootstrap_servers=" a:1 , b:2,"))
    assert made["bootstrap_servers"] == ["a:1", "b:2"]
    assert not [key for key in made if key.startswith(("ssl", "sasl"))]


@pytest.mark.parametrize(
    "name", ["ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_password_file", "sasl_password_file"]
)
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    kafka = Kafka(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", **{name: str(tmp_path / "none")}
    )
    with pytest.raises(SettingError, match=rf"kafka\.{name} must be a readable file .*none"):
        client_settings(kafka)


def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    library = logging.getLogger("kafka")
    before = library.level
    kafka = Kafka(
        bootstrap_servers="127.0.0.1:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="me",
        sasl_password="hunter2",
    )
    try:
        made = client_settings(kafka)
        # at DEBUG the library prints requests, the one with the password among them
        assert not library.isEnabledFor(logging.DEBUG)
        with caplog.at_level(logging.DEBUG), pytest.raises(KafkaError):
            connect(KafkaAdminClient, kafka, bootstrap_timeout_ms=100)
    finally:
        library.setLevel(before)
    assert "hunter2" not in repr(made)
    assert "hunter2" not in caplog.text
    assert f"{Secret('hunter2')!r}" == "'***'"
    assert Secret("hunter2").encode() == b"hunter2"


def test_no_broker_is_reachable_and_no_thread_stays() -> None:
    before = threading.enumerate()
    assert not reachable(NOBODY)
    began = time.monotonic()
    assert not wait_for_broker(NOBODY, 0.3)
    assert time.monotonic() - began < 2
    for kind in (KafkaConsumer, KafkaAdminClient, KafkaProducer):
        with pytest.raises(KafkaTimeoutError):
            connect(kind, NOBODY, bootstrap_timeout_ms=100)
    assert set(threading.enumerate()) <= set(before)


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    assert not wait_for_broker(NOBODY, 30, stop)
    assert time.monotonic() - began < 5


def test_backoff_begins_again() -> None:
    backoff = Backoff(first=1, most=3)
    assert [backoff.next() for _ in range(4)] == [1, 2, 3, 3]
    backoff.reset()
    assert backoff.next() == 1


def test_topics_are_made_and_checked(kafka: Any, topic_name: str) -> None:
    settings = Kafka(bootstrap_servers=f"127.0.0.1:1,{kafka.bootstrap}")
    assert wait_for_broker(settings, 5)
    with connect(KafkaAdminClient, settings) as admin:
        configs = {"cleanup.policy": "compact"}
        assert topic_partitions(admin, topic_name) == 0
        assert (
            ensure_topic(admin, topic_name, 3, configs, at_least={"max.message.bytes": 5000}) == 3
        )
        assert topic_partitions(admin, topic_name) == 3
        # a second time nothing changes, and less is enough
        assert (
            ensure_topic(admin, topic_name, 9, configs, at_least={"max.message.bytes": 4000}) == 3
        )
        made = topic_configs(admin, topic_name)
        assert (made["cleanup.policy"], made["max.message.bytes"]) == ("compact", "5000")


def test_a_topic_that_differs_is_changed(
    kafka: Any, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(KafkaAdminClient, Kafka(bootstrap_servers=kafka.bootstrap)) as admin:
        ensure_topic(admin, topic_name, 1, {"retention.ms": "60000"})
        with caplog.at_level(logging.INFO, "ctr"):
            ensure_topic(
                admin,
                topic_name,
                1,
                {"retention.ms": "70000"},
                at_least={"max.message.bytes": 9**9},
            )
        made = topic_configs(admin, topic_name)
        assert (made["retention.ms"], made["max.message.bytes"]) == ("70000", str(9**9))
        assert f"{topic_name}: retention.ms is now 70000, was 60000" in caplog.text
        with pytest.raises(SettingError, match=f"cleanup.policy of the topic {topic_name} must be"):
            ensure_topic(admin, topic_name, 1, {"cleanup.policy": "never"})
