"""One job at a time on a thread of its own: what checkpoints and publishes are written by."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Lane:
    """Runs jobs one after the other, away from the loop; a job that raises ends the lane.

    >>> lane, done = Lane("example"), []
    >>> lane.start(lambda: done.append(1))
    >>> lane.wait(5.0), done
    (True, [1])
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is under way; ``start`` must not be called then."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, job: Callable[[], None]) -> None:
        """Run ``job`` on the thread."""
        self._thread = threading.Thread(target=self._run, args=(job,), name=self._name, daemon=True)
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Wait for the job under way; False when it is not done after ``timeout`` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.busy

    def check(self) -> None:
        """Raise in the caller what a job raised."""
        if self._error is not None:
            raise self._error

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            self._error = error
