"""Where events come from and where bad ones go: Kafka, log directory, files, memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctr.settings import Config
from ctr.stream.dead_letters import DeadLetters, Delivery
from ctr.stream.source import Source
from ctr.types import Positions


def open_source(config: Config, resume: Positions) -> Source:
    """The source that ``config.events`` names, going on from ``resume`` (empty: a first start)."""
    events = config.events
    if events.source == "kafka":
        # only what is used is imported: an embedded start is faster
        from ctr.stream.kafka import KafkaSource

        group = f"ctr.{config.model.name}"
        fast = None if events.reader == "auto" else events.reader == "batches"
        return KafkaSource(config.kafka, events, group=group, resume=resume, fast=fast)
    from ctr.stream.directory import DirectorySource

    return DirectorySource(
        events.directory,
        resume=resume,
        start=events.start,
        stop_at_end=events.stop_at_end,
        go_on=events.on_lost_offsets == "continue",
        batch_bytes=events.batch_bytes,
        skip=events.skip,
    )


def open_dead_letters(config: Config, reasons: Sequence[str]) -> DeadLetters:
    """Where ``config.dead_letters`` sends bad events; ``reasons`` names the parser's codes."""
    settings = config.dead_letters
    delivery: Delivery | None = None
    if settings.to == "kafka":
        from ctr.stream.letter_topic import TopicDelivery

        source = config.events.topic if config.events.source == "kafka" else ""
        delivery = TopicDelivery(config.kafka, config.path(settings.topic), source)
    elif settings.to == "directory":
        from ctr.stream.letter_log import LogDelivery

        delivery = LogDelivery(Path(config.path(settings.directory)))
    return DeadLetters(delivery, reasons, settings.max_unacknowledged)
