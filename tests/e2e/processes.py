"""The command `ctr` in processes of its own, ended by their ids whatever a test does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 180.0
"""Seconds to wait for what should come at once: the first use of kernels compiles them."""

Settings = Mapping[str, object]
"""Settings by dotted key, as ``--set`` takes them."""


def wait_until(found: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """What ``found`` returns once that is true; asked again and again until the time is up."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return answer


class Process:
    """A command under way in ``directory``; what it says is kept."""

    def __init__(self, arguments: list[str], directory: Path, log: Path, stdin: int) -> None:
        self.arguments, self._log = arguments, log
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CTR_")}
        with log.open("wb") as said:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "ctr", *arguments],
                cwd=directory,
                env=environment,
                stdin=stdin,
                stdout=said,
                stderr=said,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> str:
        """Wait until it has said ``pattern``; the first group, or all that matched."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.said)
            assert match or self.running, f"{self} ended:\n{self.said}"
            return match

        match = wait_until(found, f"{pattern!r} from {self}", seconds)
        return match[match.lastindex or 0]

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} goes on after {seconds} s:\n{self.said}") from None

    def finish(self, seconds: float = PATIENCE) -> None:
        """Wait until it ends by itself, with success."""
        assert self.wait(seconds) == 0, f"{self} failed:\n{self.said}"

    def fail(self, seconds: float = PATIENCE) -> str:
        """Wait until it ends by itself, without success and without a traceback; what it said."""
        assert self.wait(seconds) > 0, f"{self} did not fail:\n{self.said}"
        assert "Traceback" not in self.said, self.said
        return self.said

    def terminate(self, seconds: float = PATIENCE) -> None:
        """SIGTERM, which it is to end upon with success."""
        self._popen.send_signal(signal.SIGTERM)
        self.finish(seconds)

    def kill(self) -> None:
        """SIGKILL; it must have been running."""
        assert self.running, f"{self} ended before it was killed:\n{self.said}"
        self._popen.kill()
        assert self._popen.wait() == -signal.SIGKILL, f"{self} ended by itself:\n{self.said}"

    def end(self) -> None:
        """See to it that it does not run any more."""
        if self.running:
            self._popen.kill()
        self._popen.wait()

    def __str__(self) -> str:
        return f"ctr {self.arguments[0]} (process {self.pid})"


class Processes:
    """Starts commands in ``directory``, and ends what is left of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[Process] = []
        self._lock = threading.Lock()

    def start(
        self,
        command: str,
        *arguments: str | Path,
        settings: Settings | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> Process:
        """``ctr command --set key=value… arguments…``"""
        given = [f"--set={key}={value}" for key, value in (settings or {}).items()]
        with self._lock:
            log = self.directory / f"{len(self._started):03}-{command}.txt"
            line = [command, *given, *map(str, arguments)]
            self._started.append(Process(line, self.directory, log, stdin))
            return self._started[-1]

    def end(self) -> None:
        for process in self._started:
            process.end()
