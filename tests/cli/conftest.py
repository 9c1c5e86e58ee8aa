"""The command in this process, where that will do; in one of its own, where signals matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from ctr.cli import main
from ctr.cli.options import COMPILING
from ctr.simulate import KINDS, Simulator, SimulatorSettings


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str
    raw: bytes
    """``out`` as it came; events may be no text."""


Command = Callable[..., Said]


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment."""
    for name in os.environ:
        if name.startswith("CTR_") and "__" in name:
            monkeypatch.delenv(name)


@pytest.fixture
def ctr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Calls the command with these arguments, in a folder of the test's own.

    With ``stdin`` in a process of its own: standard input is read by its descriptor.
    """
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: object, stdin: bytes | None = None) -> Said:
        words = [str(argument) for argument in arguments]
        if stdin is not None:
            command = [sys.executable, "-m", "ctr", *words]
            ended = subprocess.run(command, input=stdin, capture_output=True)
            return Said(ended.returncode, ended.stdout.decode(), ended.stderr.decode(), b"")
        done = CliRunner().invoke(main, words, prog_name="ctr")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        said = done.stderr.replace(f"{COMPILING}\n", "")  # whether it does is not this test's
        return Said(done.exit_code, done.stdout, said, done.stdout_bytes)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def stream() -> Simulator:
    """What made ``events``; its figures are theirs."""
    kinds = tuple(kind for kind in KINDS if kind != "empty")
    return Simulator(SimulatorSettings(seed=3, bad_share=0.01, bad_kinds=kinds))


@pytest.fixture(scope="session")
def lines(stream: Simulator) -> bytes:
    """5,000 events, a hundredth of them bad."""
    return stream.batch(5000).data


@pytest.fixture
def events(tmp_path: Path, lines: bytes) -> Path:
    """The same in a file."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines)
    return path
