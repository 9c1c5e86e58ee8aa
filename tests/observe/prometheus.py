"""A real Prometheus that scrapes what a test runs, and its API."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

Samples = list[tuple[dict[str, str], float]]
T = TypeVar("T")


class Prometheus:
    """Scrapes ``targets`` (job name -> ports on loopback) every half second until closed.

    ``binary`` is the program, ``port`` a free port, ``directory`` an empty folder; ``rules`` are
    rule files.
    """

    def __init__(
        self,
        binary: Path,
        port: int,
        directory: Path,
        targets: Mapping[str, Sequence[int]],
        rules: Sequence[Path] = (),
    ) -> None:
        config = directory / "prometheus.json"  # JSON is YAML
        config.write_text(json.dumps(_config(targets, rules)))
        self._log = directory / "prometheus.log"
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            self._until(self._ready, 30, "Prometheus to start")
        except BaseException:
            self.close()
            raise

    def query(self, expression: str) -> Samples:
        """The instant vector of ``expression``: (labels, value) each."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        return [
            (sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]
        ]

    def wait_for(
        self,
        expression: str,
        good: Callable[[Samples], bool] = bool,
        seconds: float = 20,
    ) -> Samples:
        """The first result of ``expression`` that is ``good`` (by default: that is not empty)."""
        return self._until(
            lambda: found if good(found := self.query(expression)) else None,
            seconds,
            f"{expression} (now: {self.query(expression)})",
        )

    def metadata(self) -> dict[str, str]:
        """Type of every metric that the targets expose, by name (counters without ``_total``)."""
        known = self._client.get("/api/v1/metadata").json()["data"]
        return {name: about[0]["type"] for name, about in known.items()}

    def close(self) -> None:
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ready(self) -> bool | None:
        try:
            return self._client.get("/-/ready").status_code == 200 or None
        except httpx.TransportError:
            return None

    def _until(self, attempt: Callable[[], T | None], seconds: float, what: str) -> T:
        end = time.monotonic() + seconds
        while (found := attempt()) is None:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            time.sleep(0.1)
        return found


def _config(targets: Mapping[str, Sequence[int]], rules: Sequence[Path]) -> dict[str, object]:
    return {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(rule) for rule in rules],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}],
            }
            for job, ports in targets.items()
        ],
    }
