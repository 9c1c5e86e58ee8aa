"""The typed tree of settings: what can be set, its default, its bounds and its meaning.

``ctr.config`` reads it from TOML, environment and flags; ``docs/configuration.md`` is made from
the descriptions here, so they are written for the reader of that page.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from ctr.settings.about import about
from ctr.settings.learning import Checkpoint, Features, Learner, Metrics
from ctr.settings.publishing import Gate, Publish
from ctr.settings.serving import PredictionLog, Serve
from ctr.settings.stream import DeadLetters, Events, Kafka

__all__ = [
    "Checkpoint",
    "Config",
    "DeadLetters",
    "Events",
    "Features",
    "Gate",
    "Kafka",
    "Learner",
    "Metrics",
    "Model",
    "PredictionLog",
    "Publish",
    "Serve",
]


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
        about(
            "Seed of every randomized rounding in learner and encoding, and of which events "
            "are kept.",
            ge=0,
        ),
    ] = 0


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
    prediction_log: PredictionLog = field(default_factory=PredictionLog)

    def path(self, template: str) -> str:
        """A topic or directory with ``{model}`` filled in."""
        return template.replace("{model}", self.model.name)
