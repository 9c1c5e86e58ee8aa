"""Clients of a prediction server: good ones, whose every answer is checked, and bad ones."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
from collections import Counter
from typing import Any

_TIMEOUT = 30.0


class Client(threading.Thread):
    """Asks for predictions over one connection until ``stop``; ``seen`` counts what came.

    ``good``: as it should be. ``broken``: the connection ended under a request, as it does when
    the process that had it is killed. Anything else is spelled out.
    """

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.seen: Counter[str] = Counter()
        self._port, self._random, self._stop_it = port, random.Random(seed), threading.Event()

    def stop(self) -> None:
        self._stop_it.set()
        self.join()

    def run(self) -> None:
        connection = self._connect()
        while not self._stop_it.wait(0.005):
            rows = self._random.choice([1, 1, 1, 20])
            try:
                connection.request("POST", "/v1/predict", self._body(rows))
                answer = connection.getresponse()
                self.seen[self._verdict(answer.status, answer.read(), rows)] += 1
            except (OSError, http.client.HTTPException):
                self.seen["broken"] += 1
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)

    def _body(self, rows: int) -> bytes:
        number = self._random.randrange
        candidates = [{"ad": f"a{number(500)}", "price": number(9) + 0.5} for _ in range(rows)]
        context = {"user": f"u{number(5000)}", "site": f"site{number(20)}.example"}
        return json.dumps({"context": context, "candidates": candidates}).encode()

    def _verdict(self, status: int, body: bytes, rows: int) -> str:
        if status != 200:
            return f"status {status}: {body[:200]!r}"
        answer: dict[str, Any] = json.loads(body)
        probabilities = answer["probabilities"]
        if len(probabilities) != rows or not all(0 < p < 1 for p in probabilities):
            return f"answer {body[:200]!r}"
        return "good"


def _post(body: bytes, *more: bytes) -> bytes:
    head = [b"POST /v1/predict HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


_LONG = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
_NESTED = b'{"events":[{"features":' + b"[" * 200 + b"]" * 200 + b"}]}"
ABUSE: dict[str, tuple[bytes, frozenset[int]]] = {
    "no JSON": (_post(b"{"), frozenset({422})),
    "no object": (_post(b"[1]"), frozenset({422})),
    "nested": (_post(_NESTED), frozenset({422})),
    "invalid UTF-8": (_post(b'{"events":[{"features":{"a":"\xff"}}]}'), frozenset({422})),
    "too long": (_LONG, frozenset({413})),
    "no such route": (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({404})),
    "no such method": (b"DELETE /v1/predict HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({405})),
    "compressed": (_post(b"abc", b"Content-Encoding: br"), frozenset({415})),
    "garbage": (bytes(range(256)) * 4, frozenset({400})),
    "half a request": (b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Le", frozenset()),
    "half a body": (_post(b"{}")[:-1], frozenset()),
}
"""What bad clients send, and the status wanted; none: nothing, as they go away."""


class BadClient(threading.Thread):
    """Sends all of ``ABUSE`` again and again; ``wrong`` counts answers that are not as wanted."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.sent, self.wrong = 0, Counter[str]()
        self._port, self._stop_it = port, threading.Event()

    def stop(self) -> None:
        self._stop_it.set()
        self.join()

    def run(self) -> None:
        while True:
            for name, (content, wanted) in ABUSE.items():
                if self._stop_it.wait(0.05):
                    return
                self.sent += 1
                try:
                    got = self._send(content, bool(wanted))
                except OSError:  # the worker was killed, or closed before it read all
                    continue
                if got is not None and got not in wanted:
                    self.wrong[f"{name}: {got}"] += 1

    def _send(self, content: bytes, answered: bool) -> int | None:
        with socket.create_connection(("127.0.0.1", self._port), _TIMEOUT) as connection:
            connection.sendall(content)
            if not answered:
                return None
            first = connection.recv(4096).split(b" ", 2)
            return int(first[1]) if len(first) > 1 else None
