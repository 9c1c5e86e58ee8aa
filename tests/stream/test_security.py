"""TLS and SASL against a real broker, whole record batches and dead letters included."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaConnectionError
from msgspec.structs import replace

from ctr.errors import SourceError
from ctr.kafka import connect, wait_for_broker
from ctr.settings import Events, Kafka
from ctr.stream.dead_letters import DeadLetters
from ctr.stream.kafka import KafkaSource
from ctr.stream.letter_topic import TopicDelivery

from .test_dead_letters import REASONS, bad
from .worlds import by_source, read_all

SECURE = """
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
username="broker" password="b" user_broker="b" user_trainer="right";
ssl.keystore.location={folder}/keys.p12
ssl.keystore.password=secret
ssl.truststore.location={folder}/keys.p12
ssl.truststore.password=secret
"""


@pytest.fixture
def secure(own_kafka: Any, tmp_path: Path) -> Iterator[Kafka]:
    """The settings for a broker that speaks TLS with a key of its own and asks for a password."""
    if os.environ.get("CTR_KAFKA_ENGINE", "java") != "java":
        pytest.skip("the broker's command line is taken from its process")
    command = Path(f"/proc/{own_kafka.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    own_kafka.stop()
    _make_keys(tmp_path, Path(os.fsdecode(command[0])).with_name("keytool"))
    properties = Path(os.fsdecode(command[-1]))
    text = properties.read_text()
    controller = re.search(r"CONTROLLER://127\.0\.0\.1:(\d+)", text)
    assert controller is not None
    kept = [line for line in text.splitlines() if not line.startswith(("listeners", "advertised"))]
    secured = SECURE.format(port=own_kafka.port, controller=controller[1], folder=tmp_path)
    secure_file = tmp_path / "secure.properties"
    secure_file.write_text("\n".join(kept) + secured)
    (tmp_path / "password").write_text("right\n")
    settings = Kafka(
        bootstrap_servers=own_kafka.bootstrap,
        security_protocol="SASL_SSL",
        ssl_cafile=str(tmp_path / "ca.pem"),
        sasl_mechanism="PLAIN",
        sasl_username="trainer",
        sasl_password_file=str(tmp_path / "password"),
    )
    with (tmp_path / "console.log").open("wb") as console:
        broker = subprocess.Popen(
            [*command[:-1], os.fsencode(secure_file)], stdout=console, stderr=console
        )
    try:
        assert wait_for_broker(settings, 60), (tmp_path / "console.log").read_text()[-3000:]
        yield settings
    finally:
        broker.terminate()
        broker.wait()


def _make_keys(folder: Path, beside_java: Path) -> None:
    keytool = str(beside_java) if beside_java.exists() else shutil.which("keytool") or "keytool"
    store = ["-alias", "broker", "-keystore", f"{folder}/keys.p12", "-storepass", "secret"]
    names = ["-dname", "CN=localhost", "-ext", "SAN=ip:127.0.0.1"]
    kind = ["-keyalg", "RSA", "-storetype", "PKCS12", "-validity", "30"]
    export = ["-exportcert", "-rfc", "-file", f"{folder}/ca.pem"]
    for step in (["-genkeypair", *kind, *names], export):
        subprocess.run([keytool, *step, *store], check=True, capture_output=True)


def test_events_and_dead_letters_through_tls(secure: Kafka, topic_name: str) -> None:
    with connect(KafkaAdminClient, secure) as admin:
        admin.create_topics({topic_name: {"num_partitions": 1}}, wait_for_metadata=True)
    values = [b"%d" % i * 300 for i in range(5000)]
    producer = connect(KafkaProducer, secure, linger_ms=5)
    for value in values:
        producer.send(topic_name, value)
    producer.close()
    expected = {f"kafka:{topic_name}/0": values}
    for fast in (True, False):
        source = KafkaSource(secure, Events(topic=topic_name, stop_at_end=True), fast=fast)
        assert by_source(read_all(source)) == expected
    letters = DeadLetters(TopicDelivery(secure, f"{topic_name}-dead"), REASONS)
    letters.write(*bad([b"x"]))
    assert letters.flush(30)
    letters.close()

    before = threading.enumerate()
    wrong = replace(secure, sasl_password_file="", sasl_password="wrong")
    source = KafkaSource(wrong, Events(topic=topic_name))
    with pytest.raises(SourceError, match=r"refuses the user: .*SaslAuthenticationFailed") as error:
        source.next_batch(20)
    assert "wrong" not in str(error.value)
    source.close()
    assert set(threading.enumerate()) <= set(before)

    # a certificate of our own that the system's authorities have not signed
    strange = replace(secure, ssl_cafile="")
    with pytest.raises(KafkaConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(KafkaAdminClient, strange, bootstrap_timeout_ms=500)
