"""Trainer and server metrics with every series filled in."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from ctr.metrics.progressive import Figures
from ctr.observe import registry
from ctr.observe.server import ServerMetrics
from ctr.observe.trainer import OPERATIONS, TrainerMetrics
from ctr.observe.watchers import PredictionLogMetrics, ShadowMetrics

FIGURES = Figures(
    events=1000,
    log_loss=0.25,
    base_log_loss=0.5,
    normalized_entropy=0.5,
    auc=0.8,
    predicted_clicks=99.5,
    observed_clicks=100.0,
    calibration=0.995,
    base_rate=0.1,
)


def trainer(model: str = "clicks") -> tuple[CollectorRegistry, TrainerMetrics]:
    made = registry.make("trainer", model)
    metrics = TrainerMetrics(made, model)
    metrics.learned(1000, event_time_ms=1_700_000_000_500)
    metrics.rejected({"syntax": 3, "utf-8": 0})
    metrics.subsampled(250)
    metrics.figures(FIGURES, replace(FIGURES, log_loss=0.2))
    metrics.coverage({"user": 1000, "ad*site": 10}, events=1000)
    metrics.lag({"kafka:events/0": 7, "kafka:events/1": 0, "log:a directory": 4096})
    metrics.model(nonzero=25, touched=100, bits=22, learning_rate=0.05)
    metrics.gate(False, ["calibration"])
    metrics.checkpointed(at=1_700_000_001.5, seconds=0.25, size=1 << 20)
    metrics.paused(0.003)
    metrics.published(version=12, at=1_700_000_002.5, seconds=0.125, size=1 << 16)
    metrics.dead_letters(written=3, unacknowledged=1)
    for operation in OPERATIONS:
        metrics.failed(operation)
    return made, metrics


def server(model: str = "clicks") -> tuple[CollectorRegistry, ServerMetrics]:
    made = registry.make("server", model)
    metrics = ServerMetrics(made)
    served = metrics.model(model)
    served.updated(
        12,
        1_700_000_000_500,
        nonzero=25,
        size=200,
        held=False,
        at=1_700_000_003.0,
        pause=0.0005,
    )
    served.seen(13)
    served.answered(200, predictions=100, seconds=0.0004)
    served.answered(422, predictions=0, seconds=0.0001)
    served.failed(1)
    metrics.traffic("predictions").refused("slow")
    metrics.key_requests.add(1, "bidder")
    ShadowMetrics(made, model).updated(
        3, 1_700_000_000_500, nonzero=25, size=200, held=False, at=1_700_000_003.0, pause=0.0005
    )
    PredictionLogMetrics(made, model).waiting(1)
    return made, metrics
