"""What both engines need: words for the user, a folder's state, ports, a broker's answer."""

from __future__ import annotations

import contextlib
import fcntl
import json
import random
import re
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "kafka"
DEFAULT_DATA = ROOT / ".data" / "kafka"
DEFAULT_PORT = 9092
HOST = "127.0.0.1"

State = dict[str, Any]
"""Engine, ports and process id of a data folder's broker, as broker.json holds them."""


class Failure(Exception):
    """What went wrong, for the person at the terminal."""


def say(text: str) -> None:
    """Progress goes to standard error: standard output holds only the answer."""
    print(f"kafka: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel frees it however this process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kafka_version() -> str:
    pom = (DEPLOY / "pom.xml").read_text()
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", pom)
    if not found:
        raise Failure(f"{DEPLOY / 'pom.xml'} names no kafka.version")
    return found[1]


def read_state(data: Path) -> State:
    """The data folder's broker; empty before its first start."""
    try:
        state: State = json.loads((data / "broker.json").read_text())
        return state
    except FileNotFoundError:
        return {}


def write_state(data: Path, state: State) -> None:
    scratch = data / "broker.json.tmp"
    scratch.write_text(json.dumps(state) + "\n")
    scratch.replace(data / "broker.json")


def answers(port: int) -> bool:
    """Whether a broker answers here and is in its own cluster's metadata (so topics can be made).

    The request is Kafka's Metadata, version 5, for no topics; the reply starts with the
    correlation id, a throttle time and the number of brokers.
    """
    request = struct.pack(">hhihi?", 3, 5, 1, -1, 0, False)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            reply = connection.makefile("rb").read(16)
    except OSError:
        return False
    return len(reply) == 16 and int.from_bytes(reply[12:], "big") > 0


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_port() -> int:
    """A free port outside the range from which the kernel picks clients' ports.

    Inside it, a client that keeps trying to reach a stopped broker is sooner or later given the
    broker's own port, connects to itself, and the broker cannot come back.
    """
    for port in random.sample(range(10_000, 30_000), 200):
        if port_is_free(port):
            return port
    raise Failure("found no free port between 10000 and 30000")
