"""The kinds of events, by name. Imports nothing: what measures must stay small."""

from __future__ import annotations

FEATURES = {"narrow": 10, "wide": 39, "uniform": 39, "broad": 200}
_SIMULATED = 20
"""About, in a mixture of numbers, arrays and gaps."""


def columns_of(kind: str) -> int:
    """How many features an event has.

    >>> columns_of("wide"), columns_of("features-100"), columns_of("simulated")
    (39, 100, 20)
    """
    if kind == "simulated":
        return _SIMULATED
    number = kind.removeprefix("features-")
    return int(number) if number != kind else FEATURES[kind]
