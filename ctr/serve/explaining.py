"""What each feature adds to a prediction: for looking at, not for traffic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ctr.features.parser import Parser
from ctr.features.predictor import Predictor
from ctr.features.request import read_request
from ctr.model.sparse import SparseModel


def explain(
    predictor: Predictor, model: SparseModel, body: bytes, now_ms: int, rows: Iterable[int]
) -> list[dict[str, Any]]:
    """For each of ``rows`` of the request ``body``, which ``predictor`` has answered: its
    ``logit``, and the ``bias`` and what each of the ``features`` adds to it by name, which sum
    to it.

    Weights times values of one name are added up: those of an array, or of a cross of arrays.
    A request of thousands of names has some that nobody keeps; these are together ``unnamed``.
    """
    parser, most = predictor.parser, predictor.max_rows
    events, _ = read_request(parser, body, now_ms, most)
    if (events.name_ids < 0).any():
        # the parser's table is full of other names
        parser = Parser(parser.spec, predicting=True)
        events, _ = read_request(parser, body, now_ms, most)
    batch, names = events.batch, parser.names
    weights = model.weights_at(batch.keys).astype(np.float64)
    contributions = weights * batch.values.astype(np.float64)
    explanations = []
    for row in rows:
        span = slice(batch.indptr[row], batch.indptr[row + 1])
        ids, terms = events.name_ids[span].tolist(), contributions[span].tolist()
        explanations.append(_explanation(names, ids, terms))
    return explanations


def _explanation(names: list[str], ids: list[int], terms: list[float]) -> dict[str, Any]:
    logit = unnamed = 0.0
    features: dict[str, float] = {}
    for number, term in zip(ids, terms, strict=True):
        logit += term
        if number < 0:
            unnamed += term
        elif number > 0:
            name = names[number]
            features[name] = features.get(name, 0.0) + term
    explanation = {"logit": logit, "bias": terms[0], "features": features}
    if min(ids) < 0:
        explanation["unnamed"] = unnamed
    return explanation
