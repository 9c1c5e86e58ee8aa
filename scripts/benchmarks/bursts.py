"""How long until clicks on a new ad change what a server answers."""

from __future__ import annotations

import http.client
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks.processes import Failure
from benchmarks.traffic import Traffic
from ctr.simulate import Simulator, SimulatorSettings

CLICKS = 20
CHANGE = 0.05
"""The odds of a click on the ad must have changed by this share, beside those of another ad that
nobody has seen, in the same context and answered by the same version."""

_POLL_SECONDS = 0.005
_LONGEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One burst. Times in seconds since just before its first event was sent; ``began`` is that
    moment in Unix time, ``version`` the one that showed it.
    """

    began: float
    acknowledged: float
    visible: float
    version: int


class Server:
    """A prediction server, asked over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; Failure for any status but 200."""
        content = None if body is None else msgspec.json.encode(body)
        self._connection.request(method, path, content)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise Failure(f"{method} {path}: {answer.status} {data.decode('utf-8', 'replace')}")
        return msgspec.json.decode(data)

    def is_ready(self) -> bool:
        """Whether a model is served."""
        try:
            self._connection.request("GET", "/readyz")
            answer = self._connection.getresponse()
            answer.read()
        except OSError:
            self._connection.close()
            return False
        return answer.status == 200

    def nonzero(self) -> int:
        """Non-zero weights of the version that is served."""
        weights: int = self.ask("GET", "/v1/status")["models"][0]["nonzero_weights"]
        return weights


class Bursts:
    """Bursts of clicks, each on an ad of its own, and how each becomes visible.

    ``seed`` decides the impressions and the pauses: bursts must not keep time with publishing.
    """

    def __init__(self, traffic: Traffic, server: Server, seed: int = 17) -> None:
        self._traffic, self._server = traffic, server
        self._random = random.Random(seed)
        self._run = f"{int(time.time())}"
        lines = Simulator(SimulatorSettings(seed=seed)).batch(2000).lines
        self._impressions = [msgspec.json.decode(line) for line in lines]

    def measure(self, number: int, check: Callable[[], None]) -> Seen:
        """Send burst ``number`` and wait until it shows; ``check`` raises when something broke."""
        ad = f"new-{self._run}-{number}"
        impressions = self._random.sample(self._impressions, CLICKS)
        question = self._question(impressions[0], ad)
        time.sleep(self._random.random() * 1.5)
        before, _ = self._log_odds(question)
        clicks = [self._click(impression, ad) for impression in impressions]
        began, start = time.time(), time.perf_counter()
        self._traffic.send(clicks)
        acknowledged = time.perf_counter() - start
        due = time.perf_counter()
        while True:
            now, version = self._log_odds(question)
            elapsed = time.perf_counter() - start
            if abs(now - before) > math.log1p(CHANGE):
                return Seen(began, acknowledged, elapsed, version)
            check()
            if elapsed > _LONGEST_SECONDS:
                raise Failure(f"burst {number} did not show within {_LONGEST_SECONDS:.0f} s")
            due = max(due + _POLL_SECONDS, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))

    def _click(self, impression: dict[str, Any], ad: str) -> bytes:
        features = {**impression["features"], "ad": ad}
        event = {"ts": int(1000 * time.time()), "label": 1, "features": features}
        return msgspec.json.encode(event)

    def _question(self, impression: dict[str, Any], ad: str) -> dict[str, Any]:
        context = {k: v for k, v in impression["features"].items() if k != "ad"}
        return {"context": context, "candidates": [{"ad": ad}, {"ad": f"{ad}-unseen"}]}

    def _log_odds(self, question: dict[str, Any]) -> tuple[float, int]:
        """Of the ad over those of the ad that nobody sees; and which version said so."""
        answer = self._server.ask("POST", "/v1/predict", question)
        ours, others = (math.log(p / (1 - p)) for p in answer["probabilities"])
        return ours - others, int(answer["model"]["version"])
