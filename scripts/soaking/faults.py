"""What goes wrong during a soak: processes killed, the broker away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.processes import ROOT, say

_AWAY_SECONDS = 5.0


class Faults:
    """Draws one fault after another; ``seen`` counts them.

    ``restart_trainer`` kills the trainer and starts another; ``server`` is the process whose
    children are the workers; ``kafka`` the broker's data folder.
    """

    def __init__(
        self, seed: int, restart_trainer: Callable[[], None], server: int, kafka: Path
    ) -> None:
        self.seen: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._restart_trainer, self._server, self._kafka = restart_trainer, server, kafka

    def one(self) -> None:
        faults = (self._kill_trainer, self._kill_worker, self._stop_broker)
        self._random.choice(faults)()

    def _kill_trainer(self) -> None:
        self._said("trainer killed")
        self._restart_trainer()

    def _kill_worker(self) -> None:
        workers = children(self._server)
        if workers:
            self._said("worker killed")
            os.kill(self._random.choice(workers), signal.SIGKILL)

    def _stop_broker(self) -> None:
        self._said("broker away")
        script = [sys.executable, str(ROOT / "scripts" / "kafka")]
        place = ["--data", str(self._kafka)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*script, "stop", *place], check=True, **quiet)
        time.sleep(_AWAY_SECONDS)
        start = [*script, "start", *place, "--owner", str(os.getpid())]
        subprocess.run(start, check=True, **quiet)

    def _said(self, what: str) -> None:
        self.seen[what] += 1
        say(what)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory_mib(pid: int) -> float:
    """The memory of a process and those that it started; what they share counts once.

    0 for one that has ended.
    """
    total = 0.0
    for one in (pid, *children(pid)):
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
    return total
