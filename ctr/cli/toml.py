"""Settings as a TOML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """``sections`` of strings, numbers, booleans, lists and tables as a TOML file.

    >>> print(to_toml({"features": {"bits": 20, "columns": {"price": "linear"}}}), end="")
    [features]
    bits = 20
    columns = {"price" = "linear"}
    """
    blocks = (
        "".join([f"[{name}]\n", *(f"{key} = {_value(value)}\n" for key, value in pairs.items())])
        for name, pairs in sections.items()
    )
    return "\n".join(blocks)


def _value(value: Any) -> str:
    """As in JSON, except for tables and for the one character that TOML wants escaped as well."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_value(k)} = {_value(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
