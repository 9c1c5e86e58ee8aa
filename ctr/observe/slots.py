"""Metrics of several processes as one: each keeps its numbers in a slot that all of them map.

What a process counted stays when it ends, however it ends, and who takes its slot after it counts
on from there: no counter ever falls. Any of them can show the numbers of all. A slot is written
by one process at a time and read without a lock.

A slot begins with the bytes in use, the process id (0: nobody) and the load (uint32 each; what
load is, the processes agree upon). An entry follows another: the length of its name and the number
of its cells (uint32 each), the name (JSON: family and label values, filled up with blanks to 8
bytes), the cells (float64). An entry is written before the bytes in use are raised, and never
moved or removed.
"""

from __future__ import annotations

import logging
import math
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ctr.observe.families import Cells, Families, Found, Labels, Room, own_room

log = logging.getLogger(__name__)

SLOT_BYTES = 1 << 18
_FIRST = 16
_ENTRY = struct.Struct("=II")


class Slots:
    """``count`` slots in the memory that the descriptor ``fd`` stands for; made anew without one.

    >>> slots = Slots(2)
    >>> for process in range(2):
    ...     slots.room(process)("requests_total", ("clicks", "200"), 1)[0] += 5
    >>> [(index, labels, list(cells)) for index, _, labels, cells in slots.entries()]
    [(0, ('clicks', '200'), [5.0]), (1, ('clicks', '200'), [5.0])]
    """

    def __init__(self, count: int, fd: int | None = None) -> None:
        self.count = count
        if fd is None:
            fd = os.memfd_create("ctr-metrics")
            os.ftruncate(fd, count * SLOT_BYTES)
        self.fd = fd
        self._mapped = memoryview(mmap.mmap(fd, count * SLOT_BYTES))

    def room(self, index: int) -> Room:
        """Where a process that has taken slot ``index`` keeps its numbers."""
        known: dict[tuple[str, Labels], Cells] = {}
        for name, labels, cells in self._entries(index):
            known[name, labels] = cells

        def room(family: str, labels: Labels, count: int) -> Cells:
            if (family, labels) not in known:
                known[family, labels] = self._new_entry(index, family, labels, count)
            return known[family, labels]

        return room

    def take(self, index: int) -> Room:
        """Make slot ``index`` this process's own, which goes on from the counts there."""
        self._words(index)[1], self._words(index)[2] = os.getpid(), 0
        return self.room(index)

    def release(self, index: int) -> None:
        """The process that had slot ``index`` has ended; its counts stay."""
        self._words(index)[1] = 0

    def processes(self) -> list[int]:
        """The ids of the processes that run, the one of slot 0 first."""
        return [pid for index in range(self.count) if (pid := self._words(index)[1])]

    def loaded(self, index: int, load: int) -> bool:
        """Tell the load of the process of slot ``index``; whether another one, 0 aside, has less.

        >>> slots = Slots(3)
        >>> for index in range(3):
        ...     _ = slots.take(index)
        >>> slots.loaded(1, 5), slots.loaded(2, 5), slots.loaded(1, 4)
        (True, False, False)
        """
        self._words(index)[2] = load
        others = [self._words(other) for other in range(1, self.count) if other != index]
        return any(words[1] and words[2] < load for words in others)

    def entries(self) -> Iterator[tuple[int, str, Labels, Cells]]:
        """All there is: slot, family, label values and cells."""
        for index in range(self.count):
            for entry in self._entries(index):
                yield (index, *entry)

    def _words(self, index: int) -> memoryview:
        start = index * SLOT_BYTES
        return self._mapped[start : start + 12].cast("I")

    def _entries(self, index: int) -> Iterator[tuple[str, Labels, Cells]]:
        start, at = index * SLOT_BYTES, _FIRST
        end = max(at, self._words(index)[0])
        while at < end:
            length, count = _ENTRY.unpack_from(self._mapped, start + at)
            at += _ENTRY.size
            name, *labels = msgspec.json.decode(self._mapped[start + at :][:length])
            at += length
            yield name, tuple(labels), _numbers(self._mapped[start + at :][: 8 * count])
            at += 8 * count

    def _new_entry(self, index: int, family: str, labels: Labels, count: int) -> Cells:
        name = msgspec.json.encode([family, *labels])
        name += b" " * (-len(name) % 8)
        words, start = self._words(index), index * SLOT_BYTES
        at = max(_FIRST, words[0])
        cells_at = at + _ENTRY.size + len(name)
        end = cells_at + 8 * count
        if end > SLOT_BYTES:
            log.warning("no room to share %s %s: it is not shown", family, labels)
            return own_room(family, labels, count)
        _ENTRY.pack_into(self._mapped, start + at, len(name), count)
        self._mapped[start + at + _ENTRY.size : start + cells_at] = name
        words[0] = end
        return _numbers(self._mapped[start + cells_at : start + end])


def _numbers(memory: memoryview) -> Cells:
    numbers: Any = memory.cast("d")
    cells: Cells = numbers
    return cells


class SharedRegistry(CollectorRegistry):
    """A registry whose ``Families`` keep their numbers in slot ``index``, and show those of all.

    Counters and histograms are added up. Of a gauge the largest number is shown, or the sum, as
    it was made; what a process that ended had as a gauge is forgotten.
    """

    def __init__(self, slots: Slots, index: int) -> None:
        super().__init__()
        self.slots, self.index = slots, index
        self._room = slots.take(index)

    def register(self, collector: Collector) -> None:
        if not isinstance(collector, Families):
            super().register(collector)
            return
        super().register(_OfAll(collector, self.slots))
        gauges = {family.name for family in collector if family.kind == "gauge"}
        for index, name, _, cells in self.slots.entries():
            if index == self.index and name in gauges:
                cells[0] = math.nan
        for family in collector:
            family.move(self._room)


class _OfAll(Collector):
    """Families with the numbers of all slots."""

    def __init__(self, families: Families, slots: Slots) -> None:
        self._families, self._slots = families, slots

    def describe(self) -> Iterable[Metric]:
        return self._families.describe()

    def collect(self) -> Iterable[Metric]:
        there: dict[str, dict[Labels, list[list[float]]]] = {}
        for _, name, labels, cells in self._slots.entries():
            numbers = list(cells)
            if not math.isnan(numbers[0]):
                there.setdefault(name, {}).setdefault(labels, []).append(numbers)
        for family in self._families:
            found: Found = {
                labels: family.combined(several)
                for labels, several in there.get(family.name, {}).items()
            }
            yield family.metric(found)
