"""Settings: where events come from and where bad ones go."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct, field

from ctr.settings.about import DAY, about


class Kafka(Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach Kafka; shared by source, dead letters, model topic and server."""

    bootstrap_servers: Annotated[str, about("Comma-separated host:port list.")] = "localhost:9092"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], about("Transport security.")
    ] = "PLAINTEXT"
    ssl_cafile: Annotated[str, about("PEM file of the authorities that sign the brokers.")] = ""
    ssl_certfile: Annotated[str, about("PEM file of the client certificate.")] = ""
    ssl_keyfile: Annotated[str, about("PEM file of the client key.")] = ""
    ssl_password_file: Annotated[str, about("File holding the client key's password.")] = ""
    ssl_check_hostname: Annotated[bool, about("Check that certificates match host names.")] = True
    sasl_mechanism: Annotated[
        Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], about("SASL mechanism.")
    ] = ""
    sasl_username: Annotated[str, about("SASL user name.")] = ""
    sasl_password: Annotated[
        str,
        about(
            "SASL password; better given by environment or by file. Never logged.",
            extra={"secret": True},
        ),
    ] = ""
    sasl_password_file: Annotated[str, about("File holding the SASL password.")] = ""
    client_id: Annotated[str, about("Client id shown in the broker's logs and quotas.")] = "ctr"
    replication_factor: Annotated[
        int, about("Replicas of topics that ctr makes; -1 is the broker's default.", ge=-1)
    ] = -1

    def __repr__(self) -> str:
        """All fields but the password, so that no log gets it by way of a repr."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["sasl_password"] = "***" if self.sasl_password else ""
        return f"Kafka({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Events(Struct, frozen=True, forbid_unknown_fields=True):
    """Where events come from."""

    source: Annotated[
        Literal["kafka", "directory"], about("A Kafka topic, or a log directory (embedded).")
    ] = "kafka"
    topic: Annotated[str, about("Kafka topic of the events.")] = "events"
    directory: Annotated[str, about("Log directory of the events (source = directory).")] = ""
    start: Annotated[
        str,
        about("First start without checkpoint: earliest, latest, or a time (ISO 8601 or ms)."),
    ] = "earliest"
    stop_at_end: Annotated[
        bool, about("Stop when everything that was there at the start has been learned.")
    ] = False
    on_lost_offsets: Annotated[
        Literal["error", "continue"],
        about("When Kafka no longer has the offset to resume from: stop, or go on and count it."),
    ] = "error"
    keep_without_click: Annotated[
        float,
        about(
            "Share of the events without a click that are learned, each weighing as many times "
            "more; which ones is decided by the event's id.",
            ge=1e-6,
            le=1,
        ),
    ] = 1.0
    batch_bytes: Annotated[
        int, about("Bytes taken from the source at once.", ge=4096, le=1 << 28)
    ] = 4_194_304
    reader: Annotated[
        Literal["auto", "batches", "poll"],
        about(
            "How Kafka's records are read: as whole batches, or by kafka-python's public poll(), "
            "several times slower; auto takes batches where that version has them."
        ),
    ] = "auto"
    parsers: Annotated[
        int,
        about(
            "Threads that parse, ahead of the one that learns; 0 is one for each core but one, "
            "4 at most. What is learned does not depend on it.",
            ge=0,
            le=64,
        ),
    ] = 0
    discover_seconds: Annotated[
        float, about("How often new partitions are looked for.", gt=0, le=DAY)
    ] = 10.0
    skip: Annotated[
        list[str],
        about(
            "Ranges to leave out, as source:first-last (kafka:events/0:100-250), to undo poison."
        ),
    ] = field(default_factory=list)


class DeadLetters(Struct, frozen=True, forbid_unknown_fields=True):
    """Where bad events go, with their bytes intact."""

    to: Annotated[
        Literal["kafka", "directory", "none"],
        about(
            "A Kafka topic, a log directory, or nowhere (only counted); "
            "directory by default if events.source is."
        ),
    ] = "kafka"
    topic: Annotated[str, about("Dead-letter topic; {model} is the model's name.")] = (
        "ctr.{model}.dead"
    )
    directory: Annotated[str, about("Directory of dead letters; {model} is the model's name.")] = (
        "state/{model}/dead"
    )
    max_unacknowledged: Annotated[
        int, about("Intake stalls at this many dead letters not yet acknowledged.", ge=1)
    ] = 10_000
