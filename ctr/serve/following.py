"""Following a model's updates beside the requests, in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import perf_counter
from typing import Protocol

from ctr.errors import CtrError
from ctr.model.update import Follower, Update
from ctr.serve.hosted import Hosted

POLL_SECONDS = 0.5
RETRY_SECONDS = 1.0
STOP_SECONDS = 5.0

log = logging.getLogger(__name__)


class Loop(Protocol):
    """The thread that scores: an event loop, or whatever else takes turns."""

    def call_soon_threadsafe(self, callback: Callable[[], None], /) -> object: ...


class Following:
    """Brings what ``follower`` finds to ``hosted`` until stopped; failures are tried again.

    The work of an update is done in this object's thread; the switch to it in the event loop's,
    between two requests. ``clock`` is Unix time.
    """

    def __init__(self, follower: Follower, hosted: Hosted, clock: Callable[[], float]) -> None:
        self._follower, self._hosted, self._clock = follower, hosted, clock
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: Loop) -> None:
        """Begin; updates are switched to in ``loop``."""
        name = f"following {self._hosted.name}"
        self._thread = threading.Thread(target=self._follow, args=(loop,), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the follower; waits for both, but not for a compilation."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                log.warning("model %s: an update was being prepared", self._hosted.name)
                return
        self._follower.close()

    def _follow(self, loop: Loop) -> None:
        refused = known = 0
        while not self._stopping.is_set():
            refusal = ""
            errors = self._follower.errors
            try:
                update = self._follower.poll(POLL_SECONDS)
                if update is not None:
                    self._bring(update, loop)
            except Exception as error:  # a thread that ends would let the model grow old unseen
                known_kind = isinstance(error, CtrError)
                refusal = str(error) if known_kind else repr(error)
                about = "model %s: %s; serving what is loaded"
                log.warning(about, self._hosted.name, refusal, exc_info=not known_kind)
                # a follower may have counted it before raising it
                refused += self._follower.errors == errors
                self._stopping.wait(RETRY_SECONDS)
            self._hosted.metrics.seen(self._follower.newest)
            if refused + self._follower.errors != known:
                known = refused + self._follower.errors
                self._hosted.failed(known, refusal or self._follower.last_error)

    def _bring(self, update: Update, loop: Loop) -> None:
        switch = self._hosted.prepare(update)
        pause = _between_requests(switch, loop)
        model, manifest = update.model, update.manifest
        self._hosted.metrics.updated(
            manifest.version,
            manifest.event_time,
            nonzero=model.nonzero,
            size=model.nbytes,
            held=update.held,
            at=self._clock(),
            pause=pause,
        )
        log.debug("model %s: version %d", self._hosted.name, manifest.version)


def _between_requests(switch: Callable[[], None], loop: Loop) -> float:
    """Run ``switch`` in the loop's thread; returns the seconds it took there."""
    done: Future[float] = Future()

    def run() -> None:
        started = perf_counter()
        try:
            switch()
        except Exception as error:  # whatever it is, it belongs to the waiting thread
            done.set_exception(error)
        else:
            done.set_result(perf_counter() - started)

    loop.call_soon_threadsafe(run)
    return done.result()
