"""What the demonstration shows: asked of the trainer, the simulator's report and the server."""

from __future__ import annotations

import http.client
import json
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT = 5.0
WINDOW_SHARE = 0.95
"""A progressive window holds the last 90% to 100% of its events (``ctr.metrics.progressive``)."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The trainer's metrics; ``log_loss`` is over its window, NaN before the first event."""

    events: int
    log_loss: float
    nonzero: int
    sparsity: float
    rejected: int
    gate_open: bool


@dataclass(frozen=True, slots=True)
class Predicted:
    """An answer of the server; ``event_time`` (Unix seconds) is its model's newest event."""

    probability: float
    version: int
    event_time: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Mean log loss over the same events: of their base rate, of the model, of the truth."""

    base: float
    model: float
    best: float

    @property
    def closed(self) -> float:
        """Share of the way from the base rate to the best reachable that the model went; NaN where
        there is no way.

        >>> round(Gap(base=0.33, model=0.27, best=0.25).closed, 2)
        0.75
        """
        if not self.base > self.best:
            return math.nan
        return (self.base - self.model) / (self.base - self.best)


@dataclass(frozen=True, slots=True)
class Row:
    """All of it at one moment: ``seconds`` after the first, ``freshness`` in seconds."""

    seconds: float
    learned: Learned
    gap: Gap
    predicted: Predicted
    freshness: float


class Stream:
    """What the simulator has reported lately, to know how well any stretch could be predicted.

    >>> stream = Stream()
    >>> stream.add({"events": 100, "clicks": 50, "realized_log_loss": 0.5})
    >>> stream.add({"events": 300, "clicks": 50, "realized_log_loss": 0.3})
    >>> [round(x, 2) for x in stream.between(100, 300)]
    [0.0, 0.2]
    """

    def __init__(self, reports: int = 1000) -> None:
        self._sums: deque[tuple[float, float, float]] = deque([(0, 0, 0)], maxlen=reports)

    @property
    def events(self) -> int:
        """Events of the last report."""
        return int(self._sums[-1][0])

    def add(self, report: dict[str, Any]) -> None:
        """Take a report, of which the totals never fall."""
        events = report["events"]
        if events > self.events:
            self._sums.append((events, report["clicks"], events * report["realized_log_loss"]))

    def between(self, first: float, last: float) -> tuple[float, float]:
        """Log loss of the base rate and of the truth over events ``first`` to ``last``.

        Between two reports clicks and loss are taken to come evenly. NaN for no events.
        """
        events, *sums = np.array(self._sums).T
        span = np.clip([first, last], events[0], events[-1])
        count = span[1] - span[0]
        if count <= 0:
            return math.nan, math.nan
        clicks, loss = (float(np.diff(np.interp(span, events, sum_))[0]) for sum_ in sums)
        return entropy(clicks / count), loss / float(count)


def entropy(p: float) -> float:
    """Log loss of always predicting ``p`` where that is the share of clicks."""
    return 0.0 if p <= 0 or p >= 1 else -p * math.log(p) - (1 - p) * math.log(1 - p)


def gap(stream: Stream, learned: Learned, window: int) -> Gap:
    """How good the model was on the last ``window`` events, before it learned each of them."""
    last = min(learned.events, stream.events)
    base, best = stream.between(last - WINDOW_SHARE * window, last)
    return Gap(base, learned.log_loss, best)


def read_report(path: Path) -> dict[str, Any] | None:
    """The simulator's figures; None before it has written any."""
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return report if report["events"] else None


def read_metrics(url: str) -> Learned:
    """The trainer's figures from its ``/metrics``. Raises OSError when it does not answer."""
    found: dict[tuple[str, str], float] = {}
    rejected = 0.0
    for family in text_string_to_metric_families(_ask(f"{url}/metrics").decode()):
        for sample in family.samples:
            found[sample.name, sample.labels.get("window", "")] = sample.value
            rejected += sample.value if sample.name == "ctr_events_rejected_total" else 0
    return Learned(
        events=int(found["ctr_events_learned_total", ""]),
        log_loss=found.get(("ctr_log_loss", "window"), math.nan),
        nonzero=int(found.get(("ctr_nonzero_weights", ""), 0)),
        sparsity=found.get(("ctr_weight_sparsity_ratio", ""), math.nan),
        rejected=int(rejected),
        gate_open=bool(found.get(("ctr_gate_open", ""), 1)),
    )


def predict(url: str, features: dict[str, Any]) -> Predicted | None:
    """The server's answer to one event; None while it has no model. Raises OSError."""
    body = json.dumps({"events": [{"features": features}]}).encode()
    answer = _ask(f"{url}/v1/predict", body)
    if not answer:
        return None
    parsed = json.loads(answer)
    model = parsed["model"]
    return Predicted(parsed["probabilities"][0], model["version"], model["event_time"] / 1000)


def _ask(url: str, body: bytes | None = None) -> bytes:
    """GET, or POST ``body``; b"" for 503. Not by urllib, which would ask a proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT)
    try:
        connection.request("GET" if body is None else "POST", parts.path, body)
        answer = connection.getresponse()
        content = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error!r}") from error
    finally:
        connection.close()
    if answer.status == 503:
        return b""
    if answer.status != 200:
        raise OSError(f"{url}: {answer.status} {content.decode('utf-8', 'replace')}")
    return content
