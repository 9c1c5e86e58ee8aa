"""Metric families that hold plain numbers: set by their owner, read at each scrape.

prometheus_client's own ``Counter`` cannot be set, but here a counter goes on from the total that
a checkpoint brought; and its locks on every update would be a fifth of a prediction request. A
family has one writing thread per series; the scraping thread only reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Family:
    """A counter or gauge: one number per combination of label values.

    ``fixed`` are labels with the same value in every series (the model's name); the methods take
    the values of the other ``labels``, in order. A counter may be set, to a total kept elsewhere.
    """

    def __init__(
        self,
        kind: Literal["counter", "gauge"],
        name: str,
        about: str,
        labels: tuple[str, ...],
        fixed: Mapping[str, str],
    ) -> None:
        self._kind, self._name, self._about = kind, name, about
        self._labels = (*fixed, *labels)
        self._fixed = tuple(fixed.values())
        self._values: dict[tuple[str, ...], float] = {}

    def set(self, value: float, *labels: str) -> None:
        self._values[labels] = value

    def add(self, amount: float, *labels: str) -> None:
        self._values[labels] = self._values.get(labels, 0) + amount

    def replace(self, values: Mapping[str, float]) -> None:
        """The series of a family with one label, all at once: those not named here vanish."""
        self._values = {(label,): value for label, value in values.items()}

    def metric(self) -> Metric:
        """The family as prometheus_client writes it out."""
        make = CounterMetricFamily if self._kind == "counter" else GaugeMetricFamily
        family = make(self._name, self._about, labels=self._labels)
        for labels, value in list(self._values.items()):
            family.add_metric((*self._fixed, *labels), value)
        return family


class Histogram:
    """One series of a histogram; ``bounds`` are the buckets' upper ends, ascending, inclusive.

    >>> seconds = Histogram((0.001, 0.01))
    >>> for value in (0.001, 0.002, 5.0):
    ...     seconds.observe(value)
    >>> seconds.counts, round(seconds.sum, 3)
    ([1, 1, 1], 5.003)
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class HistogramFamily:
    """A histogram: one ``Histogram`` per combination of label values."""

    def __init__(
        self, name: str, about: str, bounds: Sequence[float], labels: tuple[str, ...]
    ) -> None:
        self._name, self._about, self._bounds, self._labels = name, about, bounds, labels
        self._series: dict[tuple[str, ...], Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        """The series of these label values, to be kept by who observes often."""
        return self._series.setdefault(labels, Histogram(self._bounds))

    def metric(self) -> Metric:
        """The family as prometheus_client writes it out."""
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, series in list(self._series.items()):
            cumulative = accumulate(list(series.counts))
            buckets = list(zip(ends, cumulative, strict=True))
            family.add_metric(labels, buckets, series.sum)
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

    def counter(self, name: str, about: str, *labels: str) -> Family:
        return self._add(Family("counter", name, about, labels, self._fixed))

    def gauge(self, name: str, about: str, *labels: str) -> Family:
        return self._add(Family("gauge", name, about, labels, self._fixed))

    def histogram(
        self, name: str, about: str, bounds: Sequence[float], *labels: str
    ) -> HistogramFamily:
        family = HistogramFamily(name, about, bounds, labels)
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
