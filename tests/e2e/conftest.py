"""Processes that a test starts, ended with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts commands in the test's own folder; none of them outlives the test."""
    processes = Processes(tmp_path)
    try:
        yield processes
    finally:
        processes.end()
