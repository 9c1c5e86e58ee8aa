"""A hook for schemathesis: whole numbers are written as such.

JSON Schema takes 39.0 for an integer. The specification of events does not (``docs/events.md``),
and there is no schema that says so.
"""

from __future__ import annotations

from typing import Any

import schemathesis

WHOLE = ("ts", "top_k")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return written(body)


def written(value: Any) -> Any:
    if isinstance(value, list):
        return [written(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: int(one)
        if key in WHOLE and isinstance(one, float) and one.is_integer()
        else written(one)
        for key, one in value.items()
    }
