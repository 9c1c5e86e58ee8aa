"""The broker as the kafka service of docker-compose.yml."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

from engines.base import DEFAULT_DATA, DEFAULT_PORT, ROOT, Failure, State, answers


def available() -> bool:
    """Whether there is an engine, and not the command alone."""
    return works("docker", "info") and works("docker", "compose", "version")


def works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def compose(data: Path, state: State, *arguments: str) -> str:
    """What `docker compose ARGUMENTS` of this data folder's project prints."""
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml")]
    if data != DEFAULT_DATA:  # the default one is the kafka of `docker compose up`
        command += ["--project-name", f"ctr-{hashlib.sha256(bytes(data)).hexdigest()[:8]}"]
    environment = os.environ | {"CTR_KAFKA_PORT": str(state.get("port", DEFAULT_PORT))}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"docker compose {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def prefetch(data: Path) -> None:
    compose(data, {}, "pull", "kafka")


def running(data: Path, state: State) -> bool:
    return bool(compose(data, state, "ps", "--quiet", "--status", "running", "kafka").strip())


def start(data: Path, state: State, timeout: float) -> State:
    """Start the service and wait until it answers; its state."""
    compose(data, state, "up", "--detach", "kafka")
    deadline = time.monotonic() + timeout
    while not answers(state["port"]):
        if time.monotonic() > deadline:
            told = compose(data, state, "logs", "--tail", "20", "kafka")
            raise Failure(f"no answer within {timeout:.0f} s\n{told}")
        time.sleep(0.2)
    return state


def stop(data: Path, state: State) -> None:
    compose(data, state, "stop", "kafka")
