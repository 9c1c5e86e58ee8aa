"""A trainer's configuration with everything in one directory and nothing published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctr.config import load
from ctr.settings import Config


def config_of(directory: Path, **settings: Any) -> Config:
    """Small windows and tables, a cross, dead letters in ``directory``; ``settings`` by key."""
    given = {
        "features.bits": 16,
        "features.crosses": [["user", "ad"]],
        "checkpoint.directory": str(directory / "state"),
        "publish.to": "none",
        "dead_letters.to": "directory",
        "dead_letters.directory": str(directory / "dead"),
        "metrics.window": 1000,
        "gate.window": 500,
        "gate.grace": 100,
    }
    return load(environment={}, overrides=given | settings)
