"""The kernels run as plain Python, too, and to the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(jit: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ftrl_stream"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "0" if jit else "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_without_the_compiler_the_kernels_agree_with_the_twin_and_with_themselves() -> None:
    plain, compiled = run(jit=False), run(jit=True)
    assert (plain[0], compiled[0]) == ("plain", "compiled")
    assert len(plain) == 3
    assert plain[1:] == compiled[1:]
