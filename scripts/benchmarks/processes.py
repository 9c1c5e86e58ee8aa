"""The processes that are measured: a broker, programs beside each other; all ended by their id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
CTR = (sys.executable, "-m", "ctr")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "scripts", ROOT)))}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
"""It is this folder's ctr that runs; Python keeps its bytecode, as where people install it."""

_STOP_SECONDS = 30.0


class Failure(Exception):
    """What went wrong, for the person at the terminal."""


def say(text: str) -> None:
    """Progress goes to standard error: standard output holds only the results."""
    print(text, file=sys.stderr, flush=True)


def end_on_sigterm() -> None:
    """SIGTERM unwinds like Ctrl-C, so that everything that was started is ended."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handle)


@contextmanager
def broker(data: Path) -> Iterator[str]:
    """A Kafka of scripts/kafka with its own data folder and port; gives its bootstrap address."""
    script = [sys.executable, str(ROOT / "scripts" / "kafka")]
    place = ["--data", str(data)]
    owner = ["--port", "0", "--owner", str(os.getpid())]
    started = subprocess.run([*script, "start", *place, *owner], stdout=subprocess.PIPE, text=True)
    try:
        if started.returncode:
            raise Failure("no Kafka; see above")
        yield started.stdout.strip()
    finally:
        subprocess.run([*script, "stop", *place], stderr=subprocess.DEVNULL)


@contextmanager
def running(name: str, command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in ``folder``, its output in ``folder/name.log``; ended on the way out."""
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the one who called this
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL when that does not help."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check_alive(folder: Path, processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Raise Failure, with the end of its log, when one of them has ended."""
    for name, process in processes.items():
        if process.poll() is not None:
            log = (folder / f"{name}.log").read_text("utf-8", "replace").strip()
            tail = "\n".join(log.splitlines()[-15:])
            raise Failure(f"{name} ended with code {process.returncode}:\n{tail}")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
