"""A progress bar over the bytes of a source."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

import click


class Progress:
    """Shows how far the files are read, on a terminal only; ``of`` gives (read, whole or None)."""

    def __init__(self, stream: TextIO) -> None:
        self.of: Callable[[], tuple[int, int | None]] = lambda: (0, None)
        self._stream = stream
        self._bar: Any = None
        self._shown, self._next = 0, 0.0

    def show(self, label: str) -> None:
        """Bring the bar up to date, at most ten times a second."""
        if not self._stream.isatty() or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.1
        read, whole = self.of()
        if self._bar is None:
            self._bar = click.progressbar(length=whole or max(read, 1), file=self._stream)
            self._bar.__enter__()
        self._bar.label = label
        self._bar.length = whole or max(read, 1)
        self._bar.update(read - self._shown)
        self._shown = read

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*error)
