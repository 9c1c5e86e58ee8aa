"""How a setting is described: its meaning, for docs/configuration.md, and its bounds."""

from __future__ import annotations

from typing import Any

from msgspec import Meta

DAY = 86_400
"""Seconds."""


def about(text: str, **bounds: Any) -> Meta:
    """What a setting means, and what it may be (``ge``, ``lt``, ``pattern`` …)."""
    return Meta(description=text, **bounds)
