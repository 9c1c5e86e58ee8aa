"""The typed tree of settings: what can be set, its default, its bounds and its meaning.

``ctr.config`` reads it from TOML, environment and flags; ``docs/configuration.md`` is made from
the descriptions here, so they are written for the reader of that page.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

_DAY = 86_400


def _about(text: str, **bounds: Any) -> Meta:
    return Meta(description=text, **bounds)


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """The model's identity."""

    name: Annotated[
        str,
        Meta(
            description="Name of the model: part of its topics, directories, metrics and route.",
            pattern=r"^[A-Za-z0-9_-]{1,64}\Z",
            extra={"wanted": "1 to 64 letters, digits, '_' or '-'"},
        ),
    ] = "clicks"
    seed: Annotated[
        int,
        _about(
            "Seed of every randomized rounding in learner and encoding, and of which events "
            "are kept.",
            ge=0,
        ),
    ] = 0


class Kafka(Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach Kafka; shared by source, dead letters, model topic and server."""

    bootstrap_servers: Annotated[str, _about("Comma-separated host:port list.")] = "localhost:9092"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _about("Transport security.")
    ] = "PLAINTEXT"
    ssl_cafile: Annotated[str, _about("PEM file of the authorities that sign the brokers.")] = ""
    ssl_certfile: Annotated[str, _about("PEM file of the client certificate.")] = ""
    ssl_keyfile: Annotated[str, _about("PEM file of the client key.")] = ""
    ssl_password_file: Annotated[str, _about("File holding the client key's password.")] = ""
    ssl_check_hostname: Annotated[bool, _about("Check that certificates match host names.")] = True
    sasl_mechanism: Annotated[
        Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], _about("SASL mechanism.")
    ] = ""
    sasl_username: Annotated[str, _about("SASL user name.")] = ""
    sasl_password: Annotated[
        str,
        _about(
            "SASL password; better given by environment or by file. Never logged.",
            extra={"secret": True},
        ),
    ] = ""
    sasl_password_file: Annotated[str, _about("File holding the SASL password.")] = ""
    client_id: Annotated[str, _about("Client id shown in the broker's logs and quotas.")] = "ctr"
    replication_factor: Annotated[
        int, _about("Replicas of topics that ctr makes; -1 is the broker's default.", ge=-1)
    ] = -1

    def __repr__(self) -> str:
        """All fields but the password, so that no log gets it by way of a repr."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["sasl_password"] = "***" if self.sasl_password else ""
        return f"Kafka({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Events(Struct, frozen=True, forbid_unknown_fields=True):
    """Where events come from."""

    source: Annotated[
        Literal["kafka", "directory"], _about("A Kafka topic, or a log directory (embedded).")
    ] = "kafka"
    topic: Annotated[str, _about("Kafka topic of the events.")] = "events"
    directory: Annotated[str, _about("Log directory of the events (source = directory).")] = ""
    start: Annotated[
        str,
        _about("First start without checkpoint: earliest, latest, or a time (ISO 8601 or ms)."),
    ] = "earliest"
    stop_at_end: Annotated[
        bool, _about("Stop when everything that was there at the start has been learned.")
    ] = False
    on_lost_offsets: Annotated[
        Literal["error", "continue"],
        _about("When Kafka no longer has the offset to resume from: stop, or go on and count it."),
    ] = "error"
    keep_without_click: Annotated[
        float,
        _about(
            "Share of the events without a click that are learned, each weighing as many times "
            "more; which ones is decided by the event's id.",
            ge=1e-6,
            le=1,
        ),
    ] = 1.0
    batch_bytes: Annotated[
        int, _about("Bytes taken from the source at once.", ge=4096, le=1 << 28)
    ] = 4_194_304
    reader: Annotated[
        Literal["auto", "batches", "poll"],
        _about(
            "How Kafka's records are read: as whole batches, or by kafka-python's public poll(), "
            "several times slower; auto takes batches where that version has them."
        ),
    ] = "auto"
    parsers: Annotated[
        int,
        _about(
            "Threads that parse, ahead of the one that learns; 0 is one for each core but one, "
            "4 at most. What is learned does not depend on it.",
            ge=0,
            le=64,
        ),
    ] = 0
    discover_seconds: Annotated[
        float, _about("How often new partitions are looked for.", gt=0, le=_DAY)
    ] = 10.0
    skip: Annotated[
        list[str],
        _about(
            "Ranges to leave out, as source:first-last (kafka:events/0:100-250), to undo poison."
        ),
    ] = field(default_factory=list)


class Features(Struct, frozen=True, forbid_unknown_fields=True):
    """How event bytes become hashed features; written into every checkpoint and manifest."""

    features: Annotated[
        str, _about('Key of the object that holds the features; "" reads flat events.')
    ] = "features"
    label: Annotated[str, _about("Key (dotted path when flat) of the label.")] = "label"
    id: Annotated[str, _about("Key of the event's id.")] = "id"
    ts: Annotated[str, _about("Key of the event's time, milliseconds since the epoch.")] = "ts"
    weight: Annotated[str, _about("Key of the importance weight.")] = "weight"
    on_missing_label: Annotated[
        Literal["reject", "skip"], _about("An event without label is bad, or is passed over.")
    ] = "reject"
    include: Annotated[list[str], _about("Only these columns are features; empty means all.")] = (
        field(default_factory=list)
    )
    exclude: Annotated[list[str], _about("Columns that are not features.")] = field(
        default_factory=list
    )
    columns: Annotated[
        dict[str, Literal["categorical", "log_bucket", "linear"]],
        _about("Kind of a column's numbers, where the default is not meant."),
    ] = field(default_factory=dict)
    crosses: Annotated[list[list[str]], _about('Products of columns, as [["user", "ad"]].')] = (
        field(default_factory=list)
    )
    time_features: Annotated[
        list[Literal["hour", "dow"]], _about("Hour of day and day of week, from the event's time.")
    ] = field(default_factory=list)
    time_zone: Annotated[str, _about("Zone of the time features, as Europe/Paris.")] = "UTC"
    bits: Annotated[int, _about("The table has 2^bits coordinates.", ge=8, le=32)] = 22
    hash_seed: Annotated[int, _about("Seed of the feature hash.", ge=0, le=(1 << 63) - 1)] = 0
    max_features: Annotated[
        int, _about("Features of one event, crosses included.", ge=1, le=65_536)
    ] = 1024
    max_event_bytes: Annotated[int, _about("Bytes of one event.", ge=64, le=1 << 28)] = 1_048_576
    max_abs_value: Annotated[float, _about("Largest |x| of a feature.", gt=0, le=1e30)] = 1e6


class Learner(Struct, frozen=True, forbid_unknown_fields=True):
    """The learner: FTRL-Proximal (McMahan et al. 2013, Algorithm 1), or one of its rivals."""

    name: Annotated[
        Literal["ftrl", "rda", "fobos", "ogd", "ogd-count"],
        _about("Learner; docs/learners.md says what each is."),
    ] = "ftrl"
    alpha: Annotated[float, _about("Learning rate.", gt=0, le=1e6)] = 0.1
    beta: Annotated[float, _about("Smooths the first steps of a coordinate.", gt=0, le=1e9)] = 1.0
    l1: Annotated[float, _about("l1 penalty: makes weights exactly zero.", ge=0, le=1e9)] = 1.0
    l2: Annotated[float, _about("l2 penalty, (l2/2)*|w|^2 in the objective.", ge=0, le=1e9)] = 1.0
    power: Annotated[
        float, _about("Exponent of the per-coordinate rate; 0.5 is the paper's.", ge=0, le=1)
    ] = 0.5
    schedule: Annotated[
        str,
        _about(
            "Decay of alpha with events: constant, power(r=1e6,c=0.1), exponential(r=1e6), "
            "piecewise(1e6:0.5,1e7:0.1) or performance(window=1e5,factor=0.5)."
        ),
    ] = "power(r=1e6,c=0.1)"
    rates: Annotated[
        Literal["per-coordinate", "global"],
        _about("A rate for each coordinate by its own n, or alpha for all."),
    ] = "per-coordinate"
    n: Annotated[
        Literal["squares", "counts"],
        _about("What n is: the sum of squared gradients, or PN/(P+N) of clicks and non-clicks."),
    ] = "squares"
    momentum: Annotated[float, _about("Momentum of ogd with a global rate.", ge=0, lt=1)] = 0.0
    min_count: Annotated[
        int,
        _about("Events of a coordinate that ogd-count only counts.", ge=0, le=1_000_000_000),
    ] = 10
    state: Annotated[
        Literal["default", "float64", "float32", "q2.13"],
        _about("Precision of the learner's state; default is 16 bytes a coordinate for ftrl."),
    ] = "default"


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    """Progressive metrics and the trainer's /metrics endpoint."""

    window: Annotated[int, _about("Events of the sliding window.", ge=100, le=1_000_000_000)] = (
        100_000
    )
    host: Annotated[str, _about("Address of the trainer's /metrics.")] = "127.0.0.1"
    port: Annotated[
        int, _about("Port of the trainer's /metrics; 0 takes a free one, -1 none.", ge=-1, le=65535)
    ] = 9464
    coverage_names: Annotated[
        int, _about("Feature names whose coverage is exported (the first seen).", ge=0, le=100)
    ] = 64


class Checkpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """Checkpoints: learner state, metrics and offsets in one atomic file."""

    directory: Annotated[
        str, _about("Directory of the checkpoints; {model} is the model's name.")
    ] = "state/{model}"
    interval_seconds: Annotated[float, _about("Time between checkpoints.", gt=0, le=_DAY)] = 10.0
    keep: Annotated[int, _about("Checkpoints kept.", ge=1, le=1000)] = 3
    load: Annotated[
        str,
        _about(
            "Start from this checkpoint file instead of the newest one. A restart goes on from "
            "what was learned since, until another file is named."
        ),
    ] = ""


class Publish(Struct, frozen=True, forbid_unknown_fields=True):
    """Publishing the model: to a compacted topic, or as snapshots in a directory."""

    to: Annotated[
        Literal["kafka", "directory", "none"],
        _about("Where models are published; directory by default if events.source is."),
    ] = "kafka"
    topic: Annotated[str, _about("Model topic; {model} is the model's name.")] = "ctr.{model}.model"
    directory: Annotated[str, _about("Directory of snapshots; {model} is the model's name.")] = (
        "state/{model}/snapshots"
    )
    interval_seconds: Annotated[
        float,
        _about("Time between publishes (at least 5 times the last one's duration).", gt=0, le=_DAY),
    ] = 1.0
    encoding: Annotated[
        Literal["q2.13", "float32"], _about("Encoding of weights (paper, section 4.2).")
    ] = "q2.13"
    snapshot_seconds: Annotated[
        float, _about("Time between snapshot files when publishing to Kafka.", gt=0, le=_DAY)
    ] = 60.0
    keep: Annotated[int, _about("Latest snapshots kept.", ge=1, le=10_000)] = 5
    keep_hourly: Annotated[int, _about("Hours of which one snapshot is kept.", ge=0)] = 24
    keep_daily: Annotated[int, _about("Days of which one snapshot is kept.", ge=0)] = 7


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """The gate before publishing: a model that went bad is not served."""

    enabled: Annotated[bool, _about("false publishes whatever the metrics say.")] = True
    window: Annotated[int, _about("Events of one window of the gate.", ge=100)] = 100_000
    grace: Annotated[int, _about("Events at the start that are not judged.", ge=0)] = 50_000
    min_calibration: Annotated[float, _about("Least predicted / observed clicks.", ge=0)] = 0.8
    max_calibration: Annotated[float, _about("Most predicted / observed clicks.", gt=0)] = 1.25
    max_normalized_entropy: Annotated[
        float, _about("Normalized entropy stays below this.", gt=0)
    ] = 1.0
    max_rate_drop: Annotated[
        float,
        _about(
            "Closes when a window lasts this many times as long, in event time, as the one before.",
            gt=1,
        ),
    ] = 20.0
    reopen_after: Annotated[int, _about("Good windows in a row that reopen it.", ge=1)] = 2


class DeadLetters(Struct, frozen=True, forbid_unknown_fields=True):
    """Where bad events go, with their bytes intact."""

    to: Annotated[
        Literal["kafka", "directory", "none"],
        _about(
            "A Kafka topic, a log directory, or nowhere (only counted); "
            "directory by default if events.source is."
        ),
    ] = "kafka"
    topic: Annotated[str, _about("Dead-letter topic; {model} is the model's name.")] = (
        "ctr.{model}.dead"
    )
    directory: Annotated[str, _about("Directory of dead letters; {model} is the model's name.")] = (
        "state/{model}/dead"
    )
    max_unacknowledged: Annotated[
        int, _about("Intake stalls at this many dead letters not yet acknowledged.", ge=1)
    ] = 10_000


class Serve(Struct, frozen=True, forbid_unknown_fields=True):
    """The prediction server."""

    host: Annotated[str, _about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _about("Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[int, _about("Bytes of one request.", ge=1024)] = 8_388_608
    max_rows: Annotated[int, _about("Events or candidates of one request.", ge=1)] = 10_000


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    model: Model = field(default_factory=Model)
    kafka: Kafka = field(default_factory=Kafka)
    events: Events = field(default_factory=Events)
    features: Features = field(default_factory=Features)
    learner: Learner = field(default_factory=Learner)
    metrics: Metrics = field(default_factory=Metrics)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    publish: Publish = field(default_factory=Publish)
    gate: Gate = field(default_factory=Gate)
    dead_letters: DeadLetters = field(default_factory=DeadLetters)
    serve: Serve = field(default_factory=Serve)

    def path(self, template: str) -> str:
        """A topic or directory with ``{model}`` filled in."""
        return template.replace("{model}", self.model.name)
