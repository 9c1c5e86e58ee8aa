"""What the processes of one server use of the machine, together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_TICK = 1 / os.sysconf("SC_CLK_TCK")


class _Usage(NamedTuple):
    """Of one process: seconds (``ended``: of children that are no more), bytes, files."""

    seconds: float
    ended: float
    started: float
    virtual: int
    own: int
    shared: int
    files: int
    most_files: float


class ProcessesCollector(Collector):
    """prometheus_client's ``process_*`` for several processes, the parent of all others first.

    Memory that they share is counted once. Shows nothing where there is no ``/proc``.

    >>> [family.name for family in ProcessesCollector(lambda: [os.getpid()]).collect()][:2]
    ['process_virtual_memory_bytes', 'process_resident_memory_bytes']
    """

    def __init__(self, processes: Callable[[], Sequence[int]], proc: Path = Path("/proc")) -> None:
        self._processes, self._proc = processes, proc

    def collect(self) -> Iterable[Metric]:
        used: list[_Usage] = []
        for pid in self._processes():
            with suppress(OSError, ValueError, LookupError):  # it may end meanwhile
                used.append(self._usage(pid))
        if not used:
            return
        gauge = GaugeMetricFamily
        resident = sum(one.own for one in used) + max(one.shared for one in used)
        yield gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            value=sum(one.virtual for one in used),
        )
        yield gauge(
            "process_resident_memory_bytes", "Resident memory size in bytes.", value=resident
        )
        yield gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            value=min(one.started for one in used),
        )
        yield CounterMetricFamily(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            value=sum(one.seconds for one in used) + used[0].ended,
        )
        yield gauge(
            "process_open_fds",
            "Number of open file descriptors.",
            value=sum(one.files for one in used),
        )
        yield gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            value=sum(one.most_files for one in used),
        )

    def _usage(self, pid: int) -> _Usage:
        folder = self._proc / str(pid)
        # the name of the program, in brackets, may hold anything
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        lines = (folder / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        limits = (folder / "limits").read_text().splitlines()
        most = next(line.split()[3] for line in limits if line.startswith("Max open files"))
        return _Usage(
            seconds=_TICK * (int(stat[11]) + int(stat[12])),
            ended=_TICK * (int(stat[13]) + int(stat[14])),
            started=self._booted() + _TICK * int(stat[19]),
            virtual=int(stat[20]),
            own=_bytes(status["RssAnon"]),
            shared=_bytes(status["RssFile"]) + _bytes(status["RssShmem"]),
            files=len(os.listdir(folder / "fd")),
            most_files=float("inf") if most == "unlimited" else float(most),
        )

    def _booted(self) -> float:
        lines = (self._proc / "stat").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("btime "))


def _bytes(text: str) -> int:
    """``1234 kB``."""
    return int(text.split()[0]) << 10
