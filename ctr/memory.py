"""How much memory there is for this process, and what becomes of what it freed."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGE_BYTES = 256 << 20, 32 << 20


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


def keep_freed() -> bool:
    """Have freed memory kept for the next batch; False where the C library has no such setting.

    glibc gives arrays of some MiB back to the system when they are freed, and the system clears
    every page of the next ones: a tenth of the processor time of learning from Kafka, as batches
    are made on one thread and freed on another (``docs/speed.md``). Blocks of 32 MiB and more,
    which are not batches, are given back as before.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = (_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES)
    return all(mallopt(name, size) == 1 for name, size in kept)
