"""The first start of a command compiles and says so; a second one finds everything compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from ctr.cli.options import COMPILING
from ctr.kernels import cache
from tests.cli.conftest import Command
from tests.conftest import Kafka
from tests.e2e.processes import Processes, wait_until

_ask = build_opener(ProxyHandler({})).open  # not by way of a proxy

Cached = set[tuple[str, int, int]]


def cached(folder: Path) -> Cached:
    """The files of a cache: names, sizes, times of change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return {(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files}


def run(*arguments: str, kept: Path | None = None) -> str:
    """What a command says on standard error, with its compiled code kept there."""
    command = [sys.executable, "-m", "ctr", *arguments]
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": str(kept)} if kept else {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def copied(to: Path) -> Path:
    """A copy of all that is compiled so far, which no other process adds to."""
    folder = Path(cache._DIRECTORY)
    shutil.copytree(folder, to / folder.name)
    return to


def test_the_first_start_says_that_it_compiles_and_the_second_does_not(tmp_path: Path) -> None:
    assert COMPILING in run("simulate", "--events", "1", kept=tmp_path)
    compiled = cached(tmp_path)
    assert COMPILING not in run("simulate", "--events", "1", kept=tmp_path)
    assert cached(tmp_path) == compiled


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "events.jsonl"),
        ("evaluate", "events.jsonl", "--grid", "alpha=0.05,0.1"),
        ("inspect", "models", "--names", "events.jsonl"),
        ("prune", "models", "--keep", "9", "--on", "events.jsonl", "-o", "p.model", "--force"),
        ("train", "events.jsonl", "--set", "checkpoint.directory=second"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_second_start_compiles_nothing(
    ctr: Command, events: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert ctr("train", events, "--set", "publish.directory=models").code == 0
    run(*command)
    shutil.rmtree("second", ignore_errors=True)
    kept = copied(tmp_path / "kept")
    compiled = cached(kept)
    assert COMPILING not in run(*command, kept=kept)
    assert cached(kept) == compiled


def test_nor_does_one_with_kafka(
    ctr: Command,
    kafka: Kafka,
    topic_name: str,
    processes: Processes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = ["--bootstrap-servers", kafka.bootstrap]
    named = [*at, "--name", topic_name]
    simulate = ["simulate", "--events", "1000", "--to", "kafka", *at, "--topic", topic_name]
    train = ["train", *named, "--topic", topic_name, "--stop-at-end"]
    train += ["--set", "metrics.port=-1", "--set"]

    def all_three(checkpoints: str) -> str:
        said = run(*simulate) + run(*train, checkpoints)
        server = processes.start("serve", *named, "--port", "0")
        url = server.wait_for(r"serving \S+ on (http://\S+)")
        wait_until(lambda: _predicts(url), "a prediction")
        server.terminate()
        return said + server.said

    all_three("checkpoint.directory=first")
    kept = copied(tmp_path / "kept")
    compiled = cached(kept)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(kept))
    assert COMPILING not in all_three("checkpoint.directory=second")
    assert cached(kept) == compiled


def _predicts(url: str) -> bool:
    """Whether it has a model to predict by."""
    try:
        with _ask(Request(f"{url}/v1/predict", b'{"events":[{"features":{}}]}')) as answer:
            return answer.status == 200
    except HTTPError:
        return False
