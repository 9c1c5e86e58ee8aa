"""Settings: what is learned, how, and how it is watched and kept."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct, field

from ctr.settings.about import DAY, about


class Features(Struct, frozen=True, forbid_unknown_fields=True):
    """How event bytes become hashed features; written into every checkpoint and manifest."""

    features: Annotated[
        str, about('Key of the object that holds the features; "" reads flat events.')
    ] = "features"
    label: Annotated[str, about("Key (dotted path when flat) of the label.")] = "label"
    id: Annotated[str, about("Key of the event's id.")] = "id"
    ts: Annotated[str, about("Key of the event's time, milliseconds since the epoch.")] = "ts"
    weight: Annotated[str, about("Key of the importance weight.")] = "weight"
    on_missing_label: Annotated[
        Literal["reject", "skip"], about("An event without label is bad, or is passed over.")
    ] = "reject"
    include: Annotated[list[str], about("Only these columns are features; empty means all.")] = (
        field(default_factory=list)
    )
    exclude: Annotated[list[str], about("Columns that are not features.")] = field(
        default_factory=list
    )
    columns: Annotated[
        dict[str, Literal["categorical", "log_bucket", "linear"]],
        about("Kind of a column's numbers, where the default is not meant."),
    ] = field(default_factory=dict)
    crosses: Annotated[list[list[str]], about('Products of columns, as [["user", "ad"]].')] = field(
        default_factory=list
    )
    time_features: Annotated[
        list[Literal["hour", "dow"]], about("Hour of day and day of week, from the event's time.")
    ] = field(default_factory=list)
    time_zone: Annotated[str, about("Zone of the time features, as Europe/Paris.")] = "UTC"
    bits: Annotated[int, about("The table has 2^bits coordinates.", ge=8, le=32)] = 22
    hash_seed: Annotated[int, about("Seed of the feature hash.", ge=0, le=(1 << 63) - 1)] = 0
    max_features: Annotated[
        int, about("Features of one event, crosses included.", ge=1, le=65_536)
    ] = 1024
    max_event_bytes: Annotated[int, about("Bytes of one event.", ge=64, le=1 << 28)] = 1_048_576
    max_abs_value: Annotated[float, about("Largest |x| of a feature.", gt=0, le=1e30)] = 1e6


class Learner(Struct, frozen=True, forbid_unknown_fields=True):
    """The learner: FTRL-Proximal (McMahan et al. 2013, Algorithm 1), or one of its rivals."""

    name: Annotated[
        Literal["ftrl", "rda", "fobos", "ogd", "ogd-count"],
        about("Learner; docs/learners.md says what each is."),
    ] = "ftrl"
    alpha: Annotated[float, about("Learning rate.", gt=0, le=1e6)] = 0.1
    beta: Annotated[float, about("Smooths the first steps of a coordinate.", gt=0, le=1e9)] = 1.0
    l1: Annotated[float, about("l1 penalty: makes weights exactly zero.", ge=0, le=1e9)] = 1.0
    l2: Annotated[float, about("l2 penalty, (l2/2)*|w|^2 in the objective.", ge=0, le=1e9)] = 1.0
    power: Annotated[
        float, about("Exponent of the per-coordinate rate; 0.5 is the paper's.", ge=0, le=1)
    ] = 0.5
    schedule: Annotated[
        str,
        about(
            "Decay of alpha with events: constant, power(r=1e6,c=0.1), exponential(r=1e6), "
            "piecewise(1e6:0.5,1e7:0.1) or performance(window=1e5,factor=0.5)."
        ),
    ] = "power(r=1e6,c=0.1)"
    rates: Annotated[
        Literal["per-coordinate", "global"],
        about("A rate for each coordinate by its own n, or alpha for all."),
    ] = "per-coordinate"
    n: Annotated[
        Literal["squares", "counts"],
        about("What n is: the sum of squared gradients, or PN/(P+N) of clicks and non-clicks."),
    ] = "squares"
    momentum: Annotated[float, about("Momentum of ogd with a global rate.", ge=0, lt=1)] = 0.0
    min_count: Annotated[
        int,
        about("Events of a coordinate that ogd-count only counts.", ge=0, le=1_000_000_000),
    ] = 10
    state: Annotated[
        Literal["default", "float64", "float32", "q2.13"],
        about("Precision of the learner's state; default is 16 bytes a coordinate for ftrl."),
    ] = "default"


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    """Progressive metrics and the trainer's /metrics endpoint."""

    window: Annotated[int, about("Events of the sliding window.", ge=100, le=1_000_000_000)] = (
        100_000
    )
    host: Annotated[str, about("Address of the trainer's /metrics.")] = "127.0.0.1"
    port: Annotated[
        int, about("Port of the trainer's /metrics; 0 takes a free one, -1 none.", ge=-1, le=65535)
    ] = 9464
    coverage_names: Annotated[
        int, about("Feature names whose coverage is exported (the first seen).", ge=0, le=100)
    ] = 64


class Checkpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """Checkpoints: learner state, metrics and offsets in one atomic file."""

    directory: Annotated[
        str, about("Directory of the checkpoints; {model} is the model's name.")
    ] = "state/{model}"
    interval_seconds: Annotated[float, about("Time between checkpoints.", gt=0, le=DAY)] = 10.0
    keep: Annotated[int, about("Checkpoints kept.", ge=1, le=1000)] = 3
    load: Annotated[
        str,
        about(
            "Start from this checkpoint file instead of the newest one. A restart goes on from "
            "what was learned since, until another file is named."
        ),
    ] = ""
