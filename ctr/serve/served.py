"""One version of a model as it is served, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctr.features.parser import Parser
from ctr.features.predictor import Predictor
from ctr.features.request import Options
from ctr.model.manifest import Manifest
from ctr.model.sparse import SparseModel
from ctr.serve import answers
from ctr.serve.explaining import explain
from ctr.types import Float32

_PROBABILITIES = b',"probabilities":'


@dataclass(frozen=True, slots=True)
class Served:
    """One version: what its manifest says, and the parser that its weights were learned with.

    ``predictor`` has the parser and the weights, and makes probabilities; ``head`` is an answer
    as far as these.
    """

    manifest: Manifest
    parser: Parser
    model: SparseModel
    head: bytes
    held: bool
    predictor: Predictor

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def event_time(self) -> int:
        """Time of the newest event learned, milliseconds."""
        return self.manifest.event_time

    def answer(self, body: bytes, now_ms: int, probabilities: Float32) -> bytes:
        """What is said to the request that ``predictor`` has just found the probabilities of."""
        options = self.predictor.options
        if options is None:
            return self.head + answers.numbers(probabilities) + b"}"
        return self._chosen(body, now_ms, probabilities, options)

    def _chosen(self, body: bytes, now_ms: int, probabilities: Float32, options: Options) -> bytes:
        """The answer to a request that asks for ``top_k`` or ``explain``."""
        rows: Sequence[int] = range(len(probabilities))
        if options.top_k:
            order = np.argsort(-probabilities, kind="stable")
            rows = order[: options.top_k].tolist()
        told: list[dict[str, Any]] = []
        if options.explain:
            told = explain(self.predictor, self.model, body, now_ms, rows)
        if not options.top_k:
            content = self.head + answers.numbers(probabilities)
            return content + b',"explanations":' + answers.encode(told) + b"}"
        top: list[dict[str, Any]] = [
            {"index": row, "probability": float(probabilities[row])} for row in rows
        ]
        for one, explanation in zip(top, told, strict=False):
            one["explanation"] = explanation
        head = self.head.removesuffix(_PROBABILITIES)
        return head + b',"top":' + answers.encode(top) + b"}"


def head(name: str, manifest: Manifest) -> bytes:
    """The answer of the model ``name`` up to its probabilities."""
    model = {"name": name, "version": manifest.version, "event_time": manifest.event_time}
    return answers.encode({"model": model})[:-1] + _PROBABILITIES
