"""A model as it is served: parser and weights of one version, switched between requests."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.types import Scope

from ctr.errors import SettingError
from ctr.features.parser import Parser
from ctr.features.predictor import Predictor
from ctr.features.request import RequestError
from ctr.model.update import Update
from ctr.observe.server import ModelMetrics
from ctr.serve.answers import Answer
from ctr.serve.endpoint import Work
from ctr.serve.served import Served as Served
from ctr.serve.served import head
from ctr.serve.watching import Asked, Watcher


class Hosted:
    """A named model that answers requests, and takes updates between two of them.

    ``answer`` and what ``prepare`` returns are called by one thread (the event loop's);
    ``prepare``, which does the work of an update, by another. Each of ``watchers`` is told of
    every request after it was answered.
    """

    def __init__(
        self,
        name: str,
        max_rows: int,
        metrics: ModelMetrics,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.name, self.metrics, self.watchers = name, metrics, tuple(watchers)
        self.served: Served | None = None
        self.failures, self.last_failure = 0, ""
        self.max_rows = max_rows

    def current(self) -> Served:
        """What is served now; RequestError (503) when there is nothing yet."""
        served = self.served
        if served is None:
            raise RequestError(503, "model", "none yet", "a published model; try again")
        return served

    def answer(self, scope: Scope, body: bytes, now_ms: int) -> Answer:
        """The answer to a prediction request (``docs/serving.md``), received at ``now_ms``."""
        served = self.current()
        probabilities = served.predictor.predict(body, now_ms)
        content = served.answer(body, now_ms, probabilities)
        if self.watchers:
            self.watched(Asked(body, now_ms, served, probabilities.copy()))
        return Answer(content, len(probabilities))

    def watched(self, asked: Asked) -> None:
        """Tell the watchers of a request that was answered."""
        for watcher in self.watchers:
            watcher.seen(asked)

    def guarded(self, work: Work) -> Work:
        """``work`` such that all of an answer is of one version: here it takes turns with updates
        already, in the event loop.
        """
        return work

    def prepare(self, update: Update) -> Callable[[], None]:
        """Do an update's work beside the requests; the result, called between two of them, makes
        it the version served. Raises SettingError for features that this ctr cannot read, and
        then nothing has changed.
        """
        manifest, predictor = update.manifest, self._predictor(update)
        said = head(self.name, manifest)

        def switch() -> None:
            model = update.commit()
            predictor.bind(model.bits, model.arrays)
            self.served = Served(manifest, predictor.parser, model, said, update.held, predictor)

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

    def _predictor(self, update: Update) -> Predictor:
        """The one of the version before, if it can read this one's requests."""
        served = self.served
        if served is None or served.manifest.spec != update.manifest.spec:
            return self._new_predictor(update)
        # requests of ever new names fill the parser, for good: so not for longer than a version
        return self._new_predictor(update) if served.parser.is_crowded else served.predictor

    def _new_predictor(self, update: Update) -> Predictor:
        """One for an update's features, warm: no request waits for compiled code to load."""
        served, spec = self.served, update.manifest.spec
        try:
            parser = Parser(spec, predicting=True)
        except SettingError:
            # refused, but the follower goes on from it: the next version may be readable
            if served is None or update.model is not served.model:
                update.commit()
            raise
        predictor = Predictor(parser, self.max_rows)
        predictor.bind(update.model.bits, update.model.arrays)
        predictor.warm()
        if served is None:
            # what was imported and compiled stays: looking at all of it for garbage, again and
            # again, would stop requests for a tenth of a second each time
            gc.collect()
            gc.freeze()
        return predictor
