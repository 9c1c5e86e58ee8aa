"""A shadow: a second model that scores the same requests, and whose answers nobody gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep, time
from typing import Any

from prometheus_client import CollectorRegistry

from ctr.errors import SettingError
from ctr.features.predictor import Predictor
from ctr.features.request import RequestError, parse_events
from ctr.model.follow import TopicFollower
from ctr.model.follow_files import DirectoryFollower, FileFollower
from ctr.model.update import Follower
from ctr.observe.watchers import ShadowMetrics
from ctr.serve.following import Following
from ctr.serve.hosted import Hosted
from ctr.serve.watching import PAUSE_SECONDS, QueuedWatcher, Waiting
from ctr.settings import Config, Kafka
from ctr.types import Float32

TOPIC = "kafka:"
"""What the setting ``serve.shadow`` begins with when it names a model topic."""

MOST_WAITING = 1000
"""Requests that wait to be scored."""

_TURN_REQUESTS = 5


class Shadow(QueuedWatcher):
    """Follows a model of its own and scores what was asked with it, in a thread beside.

    Its features are those of its own versions, so that a model with other columns, crosses or
    hashing can be tried; a request that they cannot read is counted as ``rejected``. When it is
    too slow for the traffic, the requests that it misses are counted as ``dropped``.
    """

    role = "shadow"

    def __init__(
        self,
        of: str,
        follower: Follower,
        max_rows: int,
        metrics: ShadowMetrics,
        clock: Callable[[], float] = time,
    ) -> None:
        super().__init__(f"shadow of {of}", MOST_WAITING)
        self.metrics = metrics
        self._clock = clock
        self._hosted = Hosted(f"{of} (shadow)", max_rows, metrics)
        self._following = Following(follower, self._hosted, clock)

    def status(self) -> dict[str, Any]:
        """All there is to say of its model."""
        return self._hosted.status(self._clock())

    def start(self) -> None:
        super().start()
        # a version is switched to by the thread that scores, here as where requests are answered
        self._following.start(self)

    def stop(self) -> None:
        self._following.stop()
        super().stop()

    def work(self, group: list[Waiting]) -> None:
        for k, waiting in enumerate(group):
            if k % _TURN_REQUESTS == 0:
                sleep(PAUSE_SECONDS)
            if self.time_left:
                self._score(waiting)
            else:
                self.dropped(waiting, "stopped")

    def dropped(self, waiting: Waiting, reason: str) -> None:
        self.metrics.passed_over("fault" if reason == "fault" else "dropped")

    def _score(self, asked: Waiting) -> None:
        served = self._hosted.served
        if served is None:
            self.metrics.passed_over("not_ready")
            return
        try:
            probabilities = self._probabilities(asked, served.predictor)
        except RequestError:
            self.metrics.passed_over("rejected")
        else:
            self.metrics.scored(asked.probabilities, probabilities)

    def _probabilities(self, asked: Waiting, predictor: Predictor) -> Float32:
        """What ``predictor`` answers to a request."""
        if isinstance(asked.body, bytes):
            return predictor.predict(asked.body, asked.now_ms)
        batch = parse_events(predictor.parser, asked.body, asked.now_ms, "events")
        return predictor.of_batch(batch)


def follower_of(kafka: Kafka, shadow: str) -> Follower:
    """What brings the model that the setting ``serve.shadow`` names.

    ``kafka:TOPIC`` is a model topic; anything else is a snapshot file, or a directory of
    snapshots. Raises SettingError for a topic without a name, and a path where nothing is.
    """
    if shadow.startswith(TOPIC):
        topic = shadow.removeprefix(TOPIC)
        if not topic:
            raise SettingError("serve.shadow", shadow, f"{TOPIC}TOPIC with the name of a topic")
        return TopicFollower(kafka, topic)
    path = Path(shadow)
    if path.is_dir():
        return DirectoryFollower(path)
    if path.is_file():
        return FileFollower(path)
    wanted = f"a snapshot file, a directory of snapshots, or a model topic as {TOPIC}TOPIC"
    raise SettingError("serve.shadow", shadow, wanted)


def make(
    config: Config, registry: CollectorRegistry, clock: Callable[[], float] = time
) -> Shadow | None:
    """The shadow that ``config`` asks for; None when ``serve.shadow`` is empty.

    ``{model}`` in the setting is the name of the served model. Raises as ``follower_of``.
    """
    if not config.serve.shadow:
        return None
    return Shadow(
        config.model.name,
        follower_of(config.kafka, config.path(config.serve.shadow)),
        config.serve.max_rows,
        ShadowMetrics(registry, config.model.name),
        clock,
    )
