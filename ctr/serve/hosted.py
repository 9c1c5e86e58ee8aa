"""A model as it is served: parser and weights of one version, switched between requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ctr.errors import SettingError
from ctr.features.parser import Parser
from ctr.features.request import RequestError, parse_request
from ctr.model.manifest import Manifest
from ctr.model.sparse import SparseModel
from ctr.model.update import Update
from ctr.observe.server import ModelMetrics
from ctr.serve import answers

_WARM = b'{"events":[{}]}'


@dataclass(frozen=True, slots=True)
class Served:
    """One version: what its manifest says, and the parser that its weights were learned with."""

    manifest: Manifest
    parser: Parser
    model: SparseModel
    head: bytes
    held: bool

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def event_time(self) -> int:
        """Time of the newest event learned, milliseconds."""
        return self.manifest.event_time


class Hosted:
    """A named model that answers requests, and takes updates between two of them.

    ``answer`` and what ``prepare`` returns are called by one thread (the event loop's);
    ``prepare``, which does the work of an update, by another.
    """

    def __init__(self, name: str, max_rows: int, metrics: ModelMetrics) -> None:
        self.name, self.metrics = name, metrics
        self.served: Served | None = None
        self.failures, self.last_failure = 0, ""
        self.max_rows = max_rows

    def current(self) -> Served:
        """What is served now; RequestError (503) when there is nothing yet."""
        served = self.served
        if served is None:
            raise RequestError(503, "model", "none yet", "a published model; try again")
        return served

    def answer(self, body: bytes, now_ms: int) -> tuple[bytes, int]:
        """The answer to a prediction request, and how many probabilities it has."""
        served = self.current()
        batch = parse_request(served.parser, body, now_ms, self.max_rows)
        probabilities = served.model.predict(batch)
        return served.head + answers.numbers(probabilities) + b"}", len(probabilities)

    def prepare(self, update: Update) -> Callable[[], None]:
        """Do an update's work beside the requests; the result, called between two of them, makes
        it the version served. Raises SettingError for features that this ctr cannot read, and
        then nothing has changed.
        """
        manifest, served = update.manifest, self.served
        if served is not None and served.manifest.spec == manifest.spec:
            parser = served.parser
        else:
            parser = self._new_parser(update)
        head = _head(self.name, manifest)

        def switch() -> None:
            self.served = Served(manifest, parser, update.commit(), head, update.held)

        return switch

    def failed(self, failures: int, last: str) -> None:
        """Updates could not be read: how often until now, and why the last time."""
        self.failures, self.last_failure = failures, last
        self.metrics.failed(failures)

    def summary(self) -> dict[str, Any]:
        """The name, and which version is served."""
        served = self.served
        if served is None:
            return {"name": self.name, "ready": False}
        return {
            "name": self.name,
            "ready": True,
            "version": served.version,
            "event_time": served.event_time,
            "held": served.held,
        }

    def status(self, now: float) -> dict[str, Any]:
        """All there is to say of the model, ``now`` (Unix time)."""
        served = self.served
        following = {"failures": self.failures, "last_failure": self.last_failure}
        if served is None:
            return {**self.summary(), "following": following}
        manifest = served.manifest
        return {
            **self.summary(),
            "following": following,
            "age_seconds": now - served.event_time / 1000,
            "events_learned": manifest.events_learned,
            "nonzero_weights": served.model.nonzero,
            "size_bytes": served.model.nbytes,
            "encoding": manifest.encoding,
            "metrics": manifest.metrics,
            "learner": msgspec.to_builtins(manifest.learner),
            "features": msgspec.to_builtins(manifest.spec),
        }

    def _new_parser(self, update: Update) -> Parser:
        """A parser for an update's features, warm: no request waits for compiled code to load."""
        served, spec = self.served, update.manifest.spec
        try:
            parser = Parser(spec, predicting=True)
        except SettingError:
            # refused, but the follower goes on from it: the next version may be readable
            if served is None or update.model is not served.model:
                update.commit()
            raise
        update.model.predict(parse_request(parser, _WARM, 0, 1))
        return parser


def _head(name: str, manifest: Manifest) -> bytes:
    """The answer up to its probabilities."""
    model = {"name": name, "version": manifest.version, "event_time": manifest.event_time}
    return answers.encode({"model": model})[:-1] + b',"probabilities":'
