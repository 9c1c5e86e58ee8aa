"""Kafka clients from the settings: security, connecting and waiting, and the topics ctr makes."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.cluster import collect_hosts
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError, for_code
from kafka.net.compat import KafkaNetClient

from ctr.errors import SettingError, SourceError
from ctr.settings import Kafka

_log = logging.getLogger(__name__)
_Client = TypeVar("_Client")


class Secret(str):
    """A string that shows itself as stars, since kafka-python logs its configuration.

    >>> Secret("hunter2")
    '***'
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def client_settings(kafka: Kafka) -> dict[str, Any]:
    """What every client of kafka-python (consumer, producer, admin) is made with.

    Secrets are read from their files here. When there is one, kafka-python's own logger is kept
    from DEBUG, at which it prints the bytes of every request. Raises SettingError for a file that
    cannot be read.

    >>> client_settings(Kafka(bootstrap_servers="a:1,b:2"))["bootstrap_servers"]
    ['a:1', 'b:2']
    """
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    made: dict[str, Any] = {
        "bootstrap_servers": [server for server in servers if server],
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
        # a broker that returns is found within a second (the default grows to 30)
        "reconnect_backoff_max_ms": 1000,
    }
    if kafka.security_protocol.endswith("SSL"):
        made["ssl_check_hostname"] = kafka.ssl_check_hostname
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if path := getattr(kafka, name):
                _read(f"kafka.{name}", path)
                made[name] = path
        if kafka.ssl_password_file:
            made["ssl_password"] = _secret("kafka.ssl_password_file", kafka.ssl_password_file)
    if kafka.security_protocol.startswith("SASL"):
        made["sasl_mechanism"] = kafka.sasl_mechanism
        made["sasl_plain_username"] = kafka.sasl_username
        if kafka.sasl_password_file:
            password = _secret("kafka.sasl_password_file", kafka.sasl_password_file)
        else:
            password = Secret(kafka.sasl_password)
        made["sasl_plain_password"] = password
    if any(isinstance(value, Secret) for value in made.values()):
        library = logging.getLogger("kafka")
        library.setLevel(max(library.level, logging.INFO))
    return made


def connect(
    kind: Callable[..., _Client],
    kafka: Kafka,
    client: Callable[..., KafkaNetClient] = KafkaNetClient,
    **options: Any,
) -> _Client:
    """A client of kafka-python: ``kind(**client_settings(kafka), **options)``.

    ``client`` makes its network client. Raises SourceError when the broker refuses the user, and
    what kafka-python raises when none is reachable; then no thread of it is left behind.
    """
    made: list[KafkaNetClient] = []

    def make(**configs: Any) -> KafkaNetClient:
        made.append(client(**configs))
        return made[-1]

    try:
        return kind(kafka_client=make, **client_settings(kafka), **options)
    except BaseException as error:
        secured = made and kafka.security_protocol != "PLAINTEXT"
        reason = _reason(made[0]) if secured and isinstance(error, KafkaTimeoutError) else error
        for network in made:
            network.close()
        if is_refusal(reason):
            raise SourceError(f"{kafka.bootstrap_servers} refuses the user: {reason}") from error
        raise reason from None


def _reason(network: KafkaNetClient) -> BaseException:
    """Why no connection came about: kafka-python only says that none did, and logs the rest."""
    manager = network._manager
    node = manager.cluster.bootstrap_brokers()[0].node_id

    async def connection() -> None:
        manager.reset_backoff(node)
        await manager.get_connection(node)

    reason: BaseException = KafkaTimeoutError("the brokers answer too late")
    try:
        manager.run(connection)
    except KafkaError as error:
        reason = error
    return reason


def is_refusal(error: BaseException) -> bool:
    """Whether the broker said no to this user: trying again cannot help.

    >>> from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
    >>> is_refusal(TopicAuthorizationFailedError({"events"})), is_refusal(KafkaTimeoutError())
    (True, False)
    """
    from kafka import errors

    refusals = (
        errors.AuthorizationError,
        errors.SaslAuthenticationFailedError,
        errors.UnsupportedSaslMechanismError,
    )
    return isinstance(error, refusals)


def reachable(kafka: Kafka, timeout: float = 1.0) -> bool:
    """Whether a port of ``kafka.bootstrap_servers`` takes connections, each asked ``timeout``."""
    for host, port, _ in collect_hosts(kafka.bootstrap_servers):
        try:
            with socket.create_connection((host, port), timeout):
                return True
        except OSError:
            continue
    return False


def wait_for_broker(kafka: Kafka, seconds: float, stop: threading.Event | None = None) -> bool:
    """Wait until a broker is ``reachable``; False after ``seconds``, or when ``stop`` is set."""
    deadline = time.monotonic() + seconds
    backoff, stop = Backoff(), stop or threading.Event()
    while not reachable(kafka):
        pause = min(backoff.next(), deadline - time.monotonic())
        if pause <= 0 or stop.wait(pause):
            return False
    return True


class Backoff:
    """How long to wait before trying again: doubling from ``first`` to ``most`` seconds.

    >>> backoff = Backoff(first=0.1, most=0.3)
    >>> [backoff.next() for _ in range(4)]
    [0.1, 0.2, 0.3, 0.3]
    """

    def __init__(self, first: float = 0.1, most: float = 5.0) -> None:
        self.first, self.most = first, most
        self._next = first

    def next(self) -> float:
        """Seconds to wait now."""
        pause, self._next = self._next, min(2 * self._next, self.most)
        return pause

    def reset(self) -> None:
        """It worked: the next failure waits ``first`` again."""
        self._next = self.first


def ensure_topic(
    admin: KafkaAdminClient,
    name: str,
    partitions: int,
    configs: Mapping[str, str] | None = None,
    *,
    at_least: Mapping[str, int] | None = None,
    replication_factor: int = -1,
) -> int:
    """Make the topic ``name``, or check the one there; returns how many partitions it has.

    ``configs`` are the topic's settings, ``at_least`` those of which more is fine too. Where the
    topic differs they are changed, which is logged. ``partitions`` and ``replication_factor`` are
    for a new topic only; -1 is the broker's default.

    Raises SettingError when they differ and may not be changed, and what kafka-python raises when
    the broker is not there.
    """
    wanted = dict(configs or {}) | {key: str(value) for key, value in (at_least or {}).items()}
    count = topic_partitions(admin, name)
    if count == 0:
        new = {
            "num_partitions": partitions,
            "replication_factor": replication_factor,
            "configs": wanted,
        }
        try:
            admin.create_topics({name: new}, wait_for_metadata=True)
            _log.info("made the topic %s", name)
            return topic_partitions(admin, name)
        except TopicAlreadyExistsError:  # another process was faster
            admin.wait_for_topics([name])
            count = topic_partitions(admin, name)
    there = topic_configs(admin, name)
    different = {key: value for key, value in wanted.items() if there.get(key) != value}
    for key, least in (at_least or {}).items():
        if int(there.get(key, "0")) >= least:
            different.pop(key, None)
    if different:
        _change(admin, name, different, there)
    return count


def topic_configs(admin: KafkaAdminClient, name: str) -> dict[str, str]:
    """All settings of a topic, the broker's defaults among them."""
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    described = admin.describe_configs([resource], config_filter="all")
    return {key: config["value"] for key, config in described["topic"][name].items()}


def topic_partitions(admin: KafkaAdminClient, name: str) -> int:
    """Partitions of a topic; 0 when there is no such topic."""
    (topic,) = admin.describe_topics([name])
    error = for_code(topic["error_code"])
    if error.__name__ == "UnknownTopicOrPartitionError":
        return 0
    if topic["error_code"]:
        raise error(f"topic {name}")
    return len(topic["partitions"])


def _change(
    admin: KafkaAdminClient, name: str, configs: dict[str, str], there: dict[str, str]
) -> None:
    try:
        answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)])
        result = answer["topic"][name]
    except KafkaError as error:
        if getattr(error, "retriable", False):
            raise
        result = str(error)
    for key, value in configs.items():
        if result != "OK":
            wanted = f"{value}, and it cannot be changed ({result})"
            raise SettingError(f"{key} of the topic {name}", there.get(key), wanted)
        _log.info("the topic %s: %s is now %s, was %s", name, key, value, there.get(key))


def _secret(key: str, path: str) -> Secret:
    return Secret(_read(key, path).rstrip("\r\n"))


def _read(key: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(key, path, f"a readable file ({error})") from None
