"""An event's categorical features by name, for the programs that do not read this project's JSON.

The same features as ctr reads by default: every string, whole number, bool and item of an array
is a value, any other number falls in a half-octave bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def tokens(features: dict[str, Any]) -> Iterator[str]:
    """``name=value`` of each.

    >>> list(tokens({"ad": "a1", "new": True, "tags": ["x", "y"], "price": 3.5, "none": None}))
    ['ad=a1', 'new=true', 'tags=x', 'tags=y', 'price=3']
    """
    for name, value in features.items():
        if isinstance(value, list):
            yield from (f"{name}={item}" for item in value)
        elif isinstance(value, float):
            yield f"{name}={math.floor(2 * math.log2(value)) if value > 0 else 'none'}"
        elif value is not None:
            yield f"{name}={value if not isinstance(value, bool) else str(value).lower()}"


def line(event: dict[str, Any]) -> str:
    """The event as a line of Vowpal Wabbit's text format.

    >>> line({"label": 0, "weight": 0.5, "features": {"ad": "a1", "city": "New York"}})
    '-1 0.5 | ad=a1 city=New_York'
    """
    label = "1" if event["label"] else "-1"
    weight = event.get("weight")
    importance = "" if weight is None else f" {weight}"
    text = " ".join(token.replace(" ", "_") for token in tokens(event["features"]))
    return f"{label}{importance} | {text.replace(':', '_').replace('|', '_')}"
