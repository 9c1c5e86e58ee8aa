"""The registry of a process: who it is, and what it uses of the machine."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector

from ctr import __version__
from ctr.observe.families import Families


def make(role: str, model: str) -> CollectorRegistry:
    """A registry with ``ctr_build_info`` and the ``process_*`` metrics (CPU, memory, files).

    >>> registry = make("trainer", "clicks")
    >>> labels = {"role": "trainer", "model": "clicks", "version": __version__}
    >>> registry.get_sample_value("ctr_build_info", labels)
    1
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    families = Families(role=role, model=model, version=__version__)
    families.gauge("ctr_build_info", "Role, model and version of this process; always 1.").set(1)
    families.register(registry)
    return registry
