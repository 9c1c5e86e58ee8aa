"""Metric families that hold plain numbers: set by their owner, read at each scrape.

prometheus_client's own ``Counter`` cannot be set, but here a counter goes on from the total that
a checkpoint brought; its locks on every update would be a fifth of a prediction request; and its
way to add up processes is chosen by an environment variable, for the whole of a process. A family
has one writing thread per series; the scraping thread only reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]
Cells = MutableSequence[float]
Room = Callable[[str, Labels, int], Cells]
"""Where the numbers of a series are kept: family, label values, how many numbers -> cells."""

Found = Mapping[Labels, Sequence[float]]
"""The numbers of a family's series, by label values."""


def own_room(family: str, labels: Labels, count: int) -> Cells:
    """Numbers of this process alone."""
    return [0] * count


class Number:
    """One series of a counter or gauge, to be kept by who changes it often.

    ``base`` is what a counter's cell held before: another process may have begun the count.
    """

    __slots__ = ("base", "cells")

    def __init__(self, cells: Cells, base: float = 0) -> None:
        self.cells, self.base = cells, base

    def set(self, value: float) -> None:
        self.cells[0] = self.base + value

    def add(self, amount: float) -> None:
        self.cells[0] += amount


class Histogram:
    """One series of a histogram; ``bounds`` are the buckets' upper ends, ascending, inclusive.

    >>> seconds = Histogram((0.001, 0.01))
    >>> for value in (0.001, 0.002, 5.0):
    ...     seconds.observe(value)
    >>> seconds.counts, round(seconds.sum, 3)
    ([1, 1, 1], 5.003)
    """

    __slots__ = ("bounds", "cells")

    def __init__(self, bounds: Sequence[float], cells: Cells | None = None) -> None:
        self.bounds = tuple(bounds)
        self.cells: Cells = [0] * (len(bounds) + 2) if cells is None else cells

    @property
    def counts(self) -> list[int]:
        """How many values fell into each bucket, the last one being without an end."""
        return [int(count) for count in self.cells[:-1]]

    @property
    def sum(self) -> float:
        return self.cells[-1]

    def observe(self, value: float) -> None:
        cells = self.cells
        cells[bisect_left(self.bounds, value)] += 1
        cells[-1] += value

    def add(self, counts: Iterable[int], total: float) -> None:
        """Many values at once: how many fell into each bucket, and their sum."""
        for bucket, count in enumerate(counts):
            self.cells[bucket] += count
        self.cells[-1] += total


class _Series:
    """What families of every kind share: their series by label values, each in its own cells."""

    kind: Kind

    def __init__(self, name: str, about: str, labels: Labels, fixed: Mapping[str, str]) -> None:
        self.name, self._about = name, about
        self._labels = (*fixed, *labels)
        self._fixed = tuple(fixed.values())
        self._room: Room = own_room

    def found(self) -> Found:
        """The numbers of this process's own series."""
        raise NotImplementedError

    def combined(self, several: Sequence[Sequence[float]]) -> Sequence[float]:
        """The numbers of one series from those that several processes have for it."""
        return [sum(values) for values in zip(*several, strict=True)]

    def move(self, room: Room) -> None:
        """Keep the numbers elsewhere from now on: a counter's are added to what is there."""
        raise NotImplementedError

    def metric(self, found: Found | None = None) -> Metric:
        """The family as prometheus_client writes it out: its own series, or those ``found``."""
        raise NotImplementedError

    def _cells(self, labels: Labels, count: int) -> Cells:
        return self._room(self.name, (*self._fixed, *labels), count)


class Family(_Series):
    """A counter or gauge: one number per combination of label values.

    ``fixed`` are labels with the same value in every series (the model's name); the methods take
    the values of the other ``labels``, in order. A counter may be set, to a total kept elsewhere.
    """

    def __init__(
        self,
        kind: Literal["counter", "gauge"],
        name: str,
        about: str,
        labels: Labels,
        fixed: Mapping[str, str],
        summed: bool = True,
    ) -> None:
        super().__init__(name, about, labels, fixed)
        self.kind, self._summed = kind, summed
        self._numbers: dict[Labels, Number] = {}

    def of(self, *labels: str) -> Number:
        """The series of these label values, to be kept by who changes it often."""
        number = self._numbers.get(labels)
        if number is None:
            number = self._numbers[labels] = self._number(self._cells(labels, 1))
        return number

    def set(self, value: float, *labels: str) -> None:
        self.of(*labels).set(value)

    def add(self, amount: float, *labels: str) -> None:
        self.of(*labels).add(amount)

    def replace(self, values: Mapping[str, float]) -> None:
        """The series of a family with one label, all at once: those not named here vanish."""
        self._numbers = {(label,): self.of(label) for label in values}
        for label, value in values.items():
            self.set(value, label)

    def found(self) -> Found:
        numbers = list(self._numbers.items())
        return {(*self._fixed, *labels): number.cells for labels, number in numbers}

    def combined(self, several: Sequence[Sequence[float]]) -> Sequence[float]:
        return super().combined(several) if self._summed else max(several, key=list)

    def move(self, room: Room) -> None:
        self._room = room
        for labels, number in self._numbers.items():
            moved = self._number(self._cells(labels, 1))
            moved.set(number.cells[0])
            number.cells, number.base = moved.cells, moved.base

    def _number(self, cells: Cells) -> Number:
        return Number(cells, cells[0] if self.kind == "counter" else 0)

    def metric(self, found: Found | None = None) -> Metric:
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = make(self.name, self._about, labels=self._labels)
        for labels, cells in (self.found() if found is None else found).items():
            family.add_metric(labels, cells[0])
        return family


class HistogramFamily(_Series):
    """A histogram: one ``Histogram`` per combination of label values."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        about: str,
        bounds: Sequence[float],
        labels: Labels,
        fixed: Mapping[str, str],
    ) -> None:
        super().__init__(name, about, labels, fixed)
        self._bounds = tuple(bounds)
        self._histograms: dict[Labels, Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        """The series of these label values, to be kept by who observes often."""
        histogram = self._histograms.get(labels)
        if histogram is None:
            cells = self._cells(labels, len(self._bounds) + 2)
            histogram = self._histograms[labels] = Histogram(self._bounds, cells)
        return histogram

    def found(self) -> Found:
        series = list(self._histograms.items())
        return {(*self._fixed, *labels): list(one.cells) for labels, one in series}

    def move(self, room: Room) -> None:
        self._room = room
        for labels, histogram in self._histograms.items():
            before, histogram.cells = histogram.cells, self._cells(labels, len(histogram.cells))
            histogram.add(map(int, before[:-1]), before[-1])

    def metric(self, found: Found | None = None) -> Metric:
        family = HistogramMetricFamily(self.name, self._about, labels=self._labels)
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, cells in (self.found() if found is None else found).items():
            *counts, total = cells
            family.add_metric(labels, list(zip(ends, accumulate(counts), strict=True)), total)
        return family


class Families(Collector):
    """A set of families to be registered together.

    >>> registry = CollectorRegistry()
    >>> families = Families(model="clicks")
    >>> rejected = families.counter("events_rejected_total", "Bad events.", "reason")
    >>> families.register(registry)
    >>> rejected.set(3, "syntax")
    >>> registry.get_sample_value(
    ...     "events_rejected_total", {"model": "clicks", "reason": "syntax"})
    3
    """

    def __init__(self, **fixed: str) -> None:
        self._fixed = fixed
        self._families: list[Family | HistogramFamily] = []

    def __iter__(self) -> Iterator[Family | HistogramFamily]:
        return iter(self._families)

    def counter(self, name: str, about: str, *labels: str) -> Family:
        return self._add(Family("counter", name, about, labels, self._fixed))

    def gauge(self, name: str, about: str, *labels: str, summed: bool = False) -> Family:
        """Of several processes (``ctr.observe.slots``) the largest is shown, or their sum."""
        return self._add(Family("gauge", name, about, labels, self._fixed, summed))

    def histogram(
        self, name: str, about: str, bounds: Sequence[float], *labels: str
    ) -> HistogramFamily:
        family = HistogramFamily(name, about, bounds, labels, self._fixed)
        self._families.append(family)
        return family

    def register(self, registry: CollectorRegistry) -> None:
        """Show them at this registry; ValueError if it has one of the names already."""
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        return [family.metric() for family in self._families]

    def describe(self) -> Iterable[Metric]:
        """The names, which the registry checks for collisions."""
        return self.collect()

    def _add(self, family: Family) -> Family:
        self._families.append(family)
        return family
