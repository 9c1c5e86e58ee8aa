"""Requests that a model has answered, as its watchers see them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ctr.features.request import parse_events, parse_request
from ctr.model.sparse import SparseModel
from ctr.observe.server import ServerMetrics
from ctr.serve.hosted import Hosted
from ctr.serve.watching import Asked
from ctr.settings import Features

from .running import SPEC, random_model, whole

NOW = 1_700_000_000_000
MOST_ROWS = 1000


def hosted(
    version: int = 84, spec: Features = SPEC, model: SparseModel | None = None, name: str = "clicks"
) -> Hosted:
    """A model that is served as it is."""
    made = Hosted(name, MOST_ROWS, ServerMetrics(CollectorRegistry()).model(name))
    made.prepare(whole(version, model or random_model(spec, density=1), spec))()
    return made


def asked(hosted: Hosted, body: bytes | list[bytes], now_ms: int = NOW) -> Asked:
    """What ``hosted`` tells of a request: the body of a v1 request, or the events of V2."""
    served = hosted.current()
    if isinstance(body, bytes):
        batch = parse_request(served.parser, body, now_ms, hosted.max_rows)
    else:
        batch = parse_events(served.parser, body, now_ms, "events")
    return Asked(body, now_ms, served, served.model.predict(batch))
