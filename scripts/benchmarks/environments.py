"""The programs to compare with, each in an environment of its own in build/."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache

from benchmarks.processes import ROOT, say

OTHERS = ROOT / "build" / "bench-venv"
"""Vowpal Wabbit, River and confluent-kafka, as locked."""

DATATABLE = "1.1.0"
"""H2O datatable has wheels for Python 3.9 to 3.12 on Linux x86-64 (glibc >= 2.35) and macOS."""

WITH_DATATABLE = ROOT / "build" / "conformance-venv"


def others() -> None:
    """Make the environment of the locked programs, unless it is there as locked."""
    locked, stamp = ROOT / "requirements-bench.txt", OTHERS / "installed.txt"
    if stamp.exists() and stamp.read_bytes() == locked.read_bytes():
        return
    say("installing Vowpal Wabbit, River and confluent-kafka into build/bench-venv")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(OTHERS)], check=True)
    pip = [str(OTHERS / "bin" / "pip"), "--disable-pip-version-check", "--no-input", "--quiet"]
    install = [*pip, "install", "--require-hashes", "--requirement", str(locked)]
    subprocess.run(install, check=True)
    stamp.write_bytes(locked.read_bytes())


@cache
def has_datatable() -> bool:
    """Make the environment of datatable unless it is there. False: no wheel for any Python here."""
    stamp = WITH_DATATABLE / "installed.txt"
    if stamp.exists() and stamp.read_text() == DATATABLE:
        return True
    candidates = [sys.executable, *map(shutil.which, ("python3.12", "python3.11"))]
    for python in dict.fromkeys(filter(None, candidates)):
        say(f"installing datatable for {python} into build/conformance-venv")
        subprocess.run([python, "-m", "venv", "--clear", str(WITH_DATATABLE)], check=True)
        pip = [str(WITH_DATATABLE / "bin" / "pip"), "--disable-pip-version-check", "--no-input"]
        wanted = ["--quiet", "--only-binary=:all:", f"datatable=={DATATABLE}"]
        if subprocess.run([*pip, "install", *wanted]).returncode == 0:
            stamp.write_text(DATATABLE)
            return True
    return False
