"""The processes of a demonstration: started, watched, and ended with it, however it ends."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from ctr.config import PREFIX
from ctr.errors import CtrError

_PATIENCE = 20.0
_LINES = 12
_PR_SET_PDEATHSIG = 1


class ChildEndedError(CtrError):
    """A process ended that should not have; the message has its last words."""


class Child:
    """``python -m MODULE ARGUMENTS`` with its output in ``log``.

    It has a session of its own, so that Ctrl-C at a terminal reaches only the demonstration, which
    ends it in order. On Linux it gets SIGTERM should the demonstration be killed.
    """

    def __init__(
        self, name: str, log: Path, module: str, arguments: Sequence[str], may_end: bool
    ) -> None:
        self.name, self.log, self.may_end = name, log, may_end
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                # -P: a folder named ctr where this was called is not the package
                [sys.executable, "-P", "-m", module, *arguments],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=ends_with_this_process(),
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def find(self, pattern: str) -> str | None:
        """The first group of ``pattern`` in what it has written so far."""
        match = re.search(pattern, self.log.read_text("utf-8", "replace"))
        return match[1] if match else None

    def check(self) -> None:
        """Raise ChildEndedError if it has ended, unless it did so well and may."""
        if self.running or (self.may_end and self.process.returncode == 0):
            return
        lines = self.log.read_text("utf-8", "replace").splitlines()[-_LINES:]
        code = self.process.returncode
        how = f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
        said = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
        raise ChildEndedError(f"the {self.name} {how}; its last lines:\n{said}")


class Children:
    """All of them; when the ``with`` block is left, however, none is running any more."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []

    def start(
        self, name: str, *arguments: str, module: str = "ctr", may_end: bool = False
    ) -> Child:
        """Start ``python -m MODULE ARGUMENTS``, to be called ``name``."""
        child = Child(name, self._logs / f"{name}.log", module, arguments, may_end)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raise ChildEndedError if one of them has ended that should not have."""
        for child in self._children:
            child.check()

    def end(self) -> None:
        """SIGTERM to all, and SIGKILL to those that take longer than anybody would wait."""
        for child in self._children:
            if child.running:
                child.process.terminate()
        deadline = time.monotonic() + _PATIENCE
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self._children.clear()

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def _environment() -> dict[str, str]:
    """Of this process, with its own package first and without settings: they name other brokers."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith(PREFIX) and "__" in name)
    }
    paths = [str(Path(__file__).resolve().parents[3]), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths)}


def ends_with_this_process() -> Callable[[], None] | None:
    """For ``preexec_fn``: SIGTERM for the new process when this one is gone (Linux only)."""
    if sys.platform != "linux":
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was too late to ask
            os._exit(1)

    return ask
