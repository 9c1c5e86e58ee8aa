"""The metrics' kernels run as plain Python, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_without_the_compiler_the_metrics_agree_with_a_recount() -> None:
    tests = ["test_progressive.py", "test_coverage.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "recount or auc"]
        + [f"tests/metrics/{name}" for name in tests],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
