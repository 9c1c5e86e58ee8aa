"""Publishing beside learning: to the model topic in transactions, to snapshots in a directory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from ctr.errors import CtrError, FencedError, SettingError
from ctr.model.gate import SECTION, Order, Status
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore
from ctr.observe.trainer import TrainerMetrics
from ctr.settings import Config
from ctr.train.destinations import Destination, DirectoryDestination, TopicDestination
from ctr.train.lane import Lane
from ctr.train.state import State

_log = logging.getLogger(__name__)
_SHARE = 5
"""Publishing takes at most one part in this many of the time."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_CLAIMS = 5
_CLOSE_SECONDS = 5.0
_ATTEND_SECONDS = 1.0
_SAY_SECONDS = 5.0
"""How often the gate's figures are said while it is closed; a change of its state is at once."""


class Publisher:
    """Publishes a state's weights, at most every ``interval_seconds`` and a fifth of the time.

    One call of ``publish`` copies what changed since the last and returns; the rest is done on
    the publisher's own thread. What fails is counted and tried again, with everything that
    changed meanwhile; FencedError comes out of ``check``.

    Every version says how the gate is. While nothing is published ``attend`` says it, and asks
    for the operator's last order, which stands in ``order``.
    """

    def __init__(
        self, config: Config, state: State, destination: Destination, metrics: TrainerMetrics
    ) -> None:
        self._config, self._state, self._metrics = config, state, metrics
        self._destination = destination
        self._image = Image(
            config.features.bits, config.publish.encoding, config.model.seed, exact=(0,)
        )
        self._lane = Lane("ctr-publish")
        self._next, self._pause = 0.0, _FIRST_PAUSE
        self._first, self._claimed = True, False
        self._said, self._said_at, self._next_attend = Status(open=True), 0.0, 0.0
        self.version = state.version
        self.order: Order | None = None

    def claim(self, stop: threading.Event) -> bool:
        """Become the only writer, however long the broker is away; False when ``stop`` was set."""
        fenced = 0
        while not stop.is_set():
            try:
                self._destination.claim(self._state.version)
                self._claimed = True
                return True
            except SettingError:
                raise
            except FencedError:
                # the writer before us may take its producer back until it sees our claim
                fenced += 1
                if fenced == _CLAIMS:
                    raise
            except (OSError, CtrError) as error:
                self._failed(error)
                stop.wait(self._pause)
        return False

    def due(self) -> bool:
        return time.monotonic() >= self._next and not self._lane.busy

    def publish(self) -> None:
        """Copy what changed and publish it beside the learning. Only when ``due``."""
        learner, state = self._state.learner, self._state
        pages = learner.take_changed_pages()
        if self._first:
            pages = learner.touched_pages()
            self._first = False
        weights = learner.page_weights(pages)
        window, status = state.progressive.window, state.gate.status()
        manifest = Manifest(
            version=0,
            model=self._config.model.name,
            event_time=state.event_time,
            events_learned=learner.events_learned,
            positions={uri: at.to_json() for uri, at in state.positions.items()},
            spec=self._config.features,
            learner=self._config.learner,
            encoding=self._config.publish.encoding,
            seed=self._config.model.seed,
            metrics={
                "log_loss": window.log_loss,
                "normalized_entropy": window.normalized_entropy,
                "auc": window.auc,
                "calibration": window.calibration,
            },
            sections={SECTION: msgspec.to_builtins(_now(status))},
        )

        def job() -> None:
            self._image.update(pages, weights)
            if self._said_at and time.monotonic() >= self._next_attend:
                # before, as a version is visible a moment after it was published: so nothing is
                # read but what others wrote
                self._attend(status, saying=False)
            if self._write(manifest):
                self._said, self._said_at = status, time.monotonic()

        self._lane.start(job)

    def attends(self) -> bool:
        """Whether it is time to ``attend``, and nothing is under way."""
        due = self._claimed and time.monotonic() >= self._next_attend
        return due and not self._lane.busy

    def attend(self) -> None:
        """Hear the operator, and say how the gate is if that is not known yet."""
        status = self._state.gate.status()
        self._lane.start(lambda: self._attend(status))

    def finish(self, timeout: float) -> bool:
        """Publish what is left, for at most ``timeout`` seconds; whether it worked."""
        deadline = time.monotonic() + timeout
        if not self._claimed or not self._lane.wait(timeout):
            return False
        before = self.version
        self.publish()
        self._lane.wait(max(0.0, deadline - time.monotonic()))
        return self.version > before

    def check(self) -> None:
        """Raise what cannot get better by trying again."""
        self._lane.check()

    def close(self) -> None:
        self._lane.wait(_CLOSE_SECONDS)
        self._destination.close()

    def _attend(self, status: Status, saying: bool = True) -> None:
        self._next_attend = time.monotonic() + _ATTEND_SECONDS
        try:
            self.order = self._destination.order() or self.order
            if saying and self._must_say(status):
                self._destination.say(_now(status))
                self._said, self._said_at = status, time.monotonic()
        except (FencedError, SettingError):
            raise
        except Exception as error:  # as below
            self._next_attend += self._pause
            self._failed(error, "of the gate nothing was said or heard")

    def _must_say(self, status: Status) -> bool:
        """At once when its state has changed, now and then when only figures have."""
        if _state_of(status) != _state_of(self._said):
            return True
        # what is let out says it itself
        return not status.open and time.monotonic() >= self._said_at + _SAY_SECONDS

    def _write(self, manifest: Manifest) -> bool:
        """Publish; whether it worked."""
        started = time.monotonic()
        try:
            self.version, size = self._destination.publish(manifest, self._image)
        except (FencedError, SettingError):
            raise
        except Exception as error:  # a broker can fail in any way; the image keeps all changes
            self._failed(error)
            # the next publish is tried first
            self._next = self._next_attend = time.monotonic() + self._pause
            return False
        seconds = time.monotonic() - started
        self._pause = _FIRST_PAUSE
        wait = max(self._config.publish.interval_seconds, _SHARE * seconds)
        self._next = started + wait
        self._metrics.published(self.version, time.time(), seconds, size)
        return True

    def _failed(self, error: Exception, what: str = "not published") -> None:
        self._metrics.failed("publish")
        _log.warning("%s, trying again in %.1f s: %s", what, self._pause, error)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def _now(status: Status) -> Status:
    return msgspec.structs.replace(status, time=int(1000 * time.time()))


def _state_of(status: Status) -> tuple[bool, bool, str]:
    return status.open, status.overridden, status.order.id if status.order else ""


def make_publisher(
    config: Config,
    state: State,
    session: str,
    metrics: TrainerMetrics,
    clock: Callable[[], float] = time.time,
) -> Publisher | None:
    """The publisher that ``config.publish`` asks for; None for ``to = "none"``."""
    if config.publish.to == "none":
        return None
    snapshots = SnapshotStore(config.path(config.publish.directory), clock=clock)
    destination: Destination = DirectoryDestination(config, snapshots)
    if config.publish.to == "kafka":
        destination = TopicDestination(config, session, snapshots)
    return Publisher(config, state, destination, metrics)
