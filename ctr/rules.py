"""Rules between settings: what the type of one setting alone cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ctr.settings import Config, Kafka, Learner

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")


def broken(config: Config) -> Iterator[tuple[str, str]]:
    """The settings that the others contradict, and what each must be: ``(key, wanted)``.

    >>> list(broken(Config()))
    []
    """
    yield from _calibration(config)
    yield from _learner(config.learner)
    yield from _kafka(config.kafka)
    yield from _topics(config)
    yield from _directories(config)


def _calibration(config: Config) -> Iterator[tuple[str, str]]:
    if not config.gate.min_calibration < config.gate.max_calibration:
        yield (
            "gate.min_calibration",
            f"< gate.max_calibration ({config.gate.max_calibration})",
        )


def _learner(learner: Learner) -> Iterator[tuple[str, str]]:
    if learner.momentum and (learner.name != "ogd" or learner.rates != "global"):
        yield "learner.momentum", "0 unless learner.name is ogd and learner.rates is global"


def _kafka(kafka: Kafka) -> Iterator[tuple[str, str]]:
    if kafka.ssl_keyfile and not kafka.ssl_certfile:
        yield "kafka.ssl_certfile", "given with kafka.ssl_keyfile"
    for name in ("ssl_cafile", "ssl_certfile"):
        if getattr(kafka, name) and not kafka.security_protocol.endswith("SSL"):
            yield "kafka.security_protocol", f"'SSL' or 'SASL_SSL' when kafka.{name} is given"
    if kafka.security_protocol.startswith("SASL") != bool(kafka.sasl_mechanism):
        if kafka.sasl_mechanism:
            wanted = "'SASL_SSL' or 'SASL_PLAINTEXT' when kafka.sasl_mechanism is given"
            yield "kafka.security_protocol", wanted
        yield "kafka.sasl_mechanism", f"given with the protocol {kafka.security_protocol}"
    if kafka.sasl_mechanism and not kafka.sasl_username:
        yield "kafka.sasl_username", "given with kafka.sasl_mechanism"
    if kafka.sasl_mechanism and not (kafka.sasl_password or kafka.sasl_password_file):
        yield "kafka.sasl_password_file", "given (or kafka.sasl_password) with kafka.sasl_mechanism"
    if kafka.sasl_password and kafka.sasl_password_file:
        yield "kafka.sasl_password", "empty when kafka.sasl_password_file is given"


def _topics(config: Config) -> Iterator[tuple[str, str]]:
    uses = {
        "events.topic": (config.events.source == "kafka", config.events.topic),
        "dead_letters.topic": (config.dead_letters.to == "kafka", config.dead_letters.topic),
        "publish.topic": (config.publish.to == "kafka", config.publish.topic),
        "prediction_log.topic": (config.prediction_log.sample > 0, config.prediction_log.topic),
    }
    taken: dict[str, str] = {}
    for key, (used, template) in uses.items():
        topic = config.path(template)
        if used and not _TOPIC.fullmatch(topic):
            yield key, "a topic name: 1 to 249 letters, digits, '.', '_' or '-'"
        if used and topic in taken:
            yield key, f"another topic than {taken[topic]}"
        if used:
            taken[topic] = key
    if taken and not config.kafka.bootstrap_servers.strip(" ,"):
        yield "kafka.bootstrap_servers", "host:port, or several separated by commas"


def _directories(config: Config) -> Iterator[tuple[str, str]]:
    uses = {
        "events.directory": (config.events.source == "directory", config.events.directory),
        "checkpoint.directory": (True, config.checkpoint.directory),
        "publish.directory": (config.publish.to != "none", config.publish.directory),
        "dead_letters.directory": (
            config.dead_letters.to == "directory",
            config.dead_letters.directory,
        ),
    }
    taken: dict[str, str] = {}
    for key, (used, template) in uses.items():
        directory = config.path(template).rstrip("/") or template
        if used and not directory.strip():
            yield key, "the name of a directory"
        elif used and directory in taken:
            yield key, f"another directory than {taken[directory]}"
        if used:
            taken[directory] = key
