"""Settings: how a model leaves the trainer."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from ctr.settings.about import DAY, about


class Publish(Struct, frozen=True, forbid_unknown_fields=True):
    """Publishing the model: to a compacted topic, or as snapshots in a directory."""

    to: Annotated[
        Literal["kafka", "directory", "none"],
        about("Where models are published; directory by default if events.source is."),
    ] = "kafka"
    topic: Annotated[str, about("Model topic; {model} is the model's name.")] = "ctr.{model}.model"
    directory: Annotated[str, about("Directory of snapshots; {model} is the model's name.")] = (
        "state/{model}/snapshots"
    )
    interval_seconds: Annotated[
        float,
        about("Time between publishes (at least 5 times the last one's duration).", gt=0, le=DAY),
    ] = 1.0
    encoding: Annotated[
        Literal["q2.13", "float32"], about("Encoding of weights (paper, section 4.2).")
    ] = "q2.13"
    snapshot_seconds: Annotated[
        float, about("Time between snapshot files when publishing to Kafka.", gt=0, le=DAY)
    ] = 60.0
    keep: Annotated[int, about("Latest snapshots kept.", ge=1, le=10_000)] = 5
    keep_hourly: Annotated[int, about("Hours of which one snapshot is kept.", ge=0)] = 24
    keep_daily: Annotated[int, about("Days of which one snapshot is kept.", ge=0)] = 7


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """The gate before publishing: a model that went bad is not served."""

    enabled: Annotated[bool, about("false publishes whatever the metrics say.")] = True
    window: Annotated[int, about("Events of one window of the gate.", ge=100)] = 100_000
    grace: Annotated[int, about("Events at the start that are not judged.", ge=0)] = 50_000
    min_calibration: Annotated[float, about("Least predicted / observed clicks.", ge=0)] = 0.8
    max_calibration: Annotated[float, about("Most predicted / observed clicks.", gt=0)] = 1.25
    max_normalized_entropy: Annotated[
        float, about("Normalized entropy stays below this.", gt=0)
    ] = 1.0
    max_rate_drop: Annotated[
        float,
        about(
            "Closes when a window lasts this many times as long, in event time, as the one before.",
            gt=1,
        ),
    ] = 20.0
    reopen_after: Annotated[int, about("Good windows in a row that reopen it.", ge=1)] = 2
