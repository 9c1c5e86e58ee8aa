"""The rivals' kernels run as plain Python, too, and to the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ctr.learn import LEARNERS

ROOT = Path(__file__).resolve().parents[2]


def run(jit: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.rivals_stream"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "0" if jit else "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_the_compiler_the_kernels_agree_with_the_twins_and_with_themselves() -> None:
    plain, compiled = run(jit=False), run(jit=True)
    assert (plain[0], compiled[0]) == ("plain", "compiled")
    assert {line.split()[0] for line in plain[1:]} == set(LEARNERS)
    assert plain[1:] == compiled[1:]
