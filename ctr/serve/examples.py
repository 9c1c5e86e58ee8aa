"""Examples of requests and their answers, by name; a test sends each to a server."""

from __future__ import annotations

from typing import Any

_MODEL = {"name": "clicks", "version": 84, "event_time": 1_700_000_000_000}


def _example(summary: str, value: Any) -> dict[str, Any]:
    return {"summary": summary, "value": value}


_CANDIDATES = {
    "context": {"user": "u17", "site": "x.com"},
    "candidates": [{"ad": "a9"}, {"ad": "a4"}, {"ad": "a2", "tags": ["new", "sale"]}],
}

REQUESTS = {
    "events": _example(
        "Two events",
        {
            "events": [
                {"features": {"user": "u17", "ad": "a9", "site": "x.com", "hour": 13}},
                {"features": {"user": "u17", "ad": "a4", "site": "x.com", "price": 1.25}},
            ]
        },
    ),
    "candidates": _example("Candidates that share a context", _CANDIDATES),
    "top_k": _example("The two best candidates", {**_CANDIDATES, "top_k": 2}),
    "explain": _example(
        "What each feature adds",
        {"events": [{"features": {"user": "u17", "ad": "a9"}}], "explain": True},
    ),
}

ANSWERS = {
    "events": _example("Two events", {"model": _MODEL, "probabilities": [0.0183, 0.0062]}),
    "candidates": _example(
        "Candidates that share a context",
        {"model": _MODEL, "probabilities": [0.0183, 0.0062, 0.0091]},
    ),
    "top_k": _example(
        "The two best candidates",
        {
            "model": _MODEL,
            "top": [{"index": 0, "probability": 0.0183}, {"index": 2, "probability": 0.0091}],
        },
    ),
    "explain": _example(
        "What each feature adds",
        {
            "model": _MODEL,
            "probabilities": [0.0208],
            "explanations": [
                {"logit": -3.85, "bias": -4.11, "features": {"user": -0.01, "ad": 0.27}}
            ],
        },
    ),
}
