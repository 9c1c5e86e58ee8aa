"""The metrics of a process under way, as its endpoint shows them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from .processes import PATIENCE, Process, wait_until


class Endpoint:
    """``/metrics`` of ``process``, which was started with port 0 and says where it is."""

    def __init__(self, process: Process) -> None:
        self.url = process.wait_for(r"on (http://\S+:\d+)")
        self.port = int(self.url.rpartition(":")[2])

    def text(self) -> str:
        answer = httpx.get(f"{self.url}/metrics", timeout=30)
        answer.raise_for_status()
        return answer.text

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of ``name`` with these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait_for(self, name: str, least: float, seconds: float = PATIENCE, **labels: str) -> float:
        """Wait until ``name`` is ``least`` or more."""

        def found() -> float | None:
            value = self.value(name, **labels)
            return value if value >= least else None

        return wait_until(found, f"{name} {labels} >= {least}", seconds) or 0.0
