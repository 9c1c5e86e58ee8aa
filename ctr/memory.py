"""How much memory there is: for the machine, or for the container that this process is in."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes that the machine has, or that a container may use of them.

    ``root`` is where ``sys`` is.

    >>> memory_limit() >= available_memory() > 0
    True
    """
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError, ValueError):  # no limit is "max"
        found.append(int((root / "sys" / "fs" / "cgroup" / "memory.max").read_text()))
    return min(found)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this process can still get: what is free, or what its container may use.

    Where the system does not say, all that there is. ``root`` is where ``proc`` and ``sys`` are.
    """
    found = [memory_limit(root)]
    with suppress(OSError, KeyError):  # not Linux, or an old one
        lines = (root / "proc" / "meminfo").read_text().splitlines()
        sizes = dict(line.split(":", 1) for line in lines)
        found.append(int(sizes["MemAvailable"].split()[0]) << 10)
    return min(found)
