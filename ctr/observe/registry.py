"""The registry of a process, or of several that are one server: who it is, and what it uses."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector

from ctr import __version__
from ctr.observe.families import Families
from ctr.observe.processes import ProcessesCollector
from ctr.observe.slots import SharedRegistry, Slots


def make(role: str, model: str) -> CollectorRegistry:
    """A registry with ``ctr_build_info`` and the ``process_*`` metrics (CPU, memory, files).

    >>> registry = make("trainer", "clicks")
    >>> labels = {"role": "trainer", "model": "clicks", "version": __version__}
    >>> registry.get_sample_value("ctr_build_info", labels)
    1
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return _introduced(registry, role, model)


def shared(role: str, model: str, slots: Slots, index: int) -> CollectorRegistry:
    """The registry of the process that takes slot ``index``; it shows what all of them count."""
    registry = SharedRegistry(slots, index)
    registry.register(ProcessesCollector(slots.processes))
    return _introduced(registry, role, model)


def _introduced(registry: CollectorRegistry, role: str, model: str) -> CollectorRegistry:
    families = Families(role=role, model=model, version=__version__)
    families.gauge("ctr_build_info", "Role, model and version of this process; always 1.").set(1)
    families.register(registry)
    return registry
