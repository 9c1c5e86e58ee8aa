"""Clients on bare sockets, who may send whatever they like."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from .running import Running

BODY = b'{"events":[{"features":{"user":"u1"}}]}'
PREDICT = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\n"


def whole_request(body: bytes = BODY, *headers: bytes) -> bytes:
    """A prediction request as it should be."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return PREDICT + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, str]:
        """What it says is wrong: path, got, wanted, and nothing else."""
        assert self.headers["content-type"] == "application/json"
        [(key, error)] = json.loads(self.body).items()
        assert key == "error"
        assert error.keys() == {"path", "got", "wanted"}
        assert all(isinstance(value, str) for value in error.values())
        assert error["path"]
        assert error["wanted"]
        return dict(error)


@dataclass
class Client:
    socket: socket.socket
    reader: BinaryIO

    def send(self, data: bytes) -> bool:
        """Whether all of it could be sent."""
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            return False
        return True

    def answer(self) -> Answer:
        """The next answer, which must come."""
        line = self.reader.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers: dict[str, str] = {}
        while (header := self.reader.readline().strip()) != b"":
            name, _, value = header.decode().partition(": ")
            assert name not in headers
            headers[name] = value
        body = self.reader.read(int(headers.get("content-length", 0)))
        return Answer(int(line.split()[1]), headers, body)

    def refusal(self, status: int) -> dict[str, str]:
        """The last answer: an error of this status, after which the connection is closed."""
        answer = self.answer()
        assert (answer.status, answer.headers.get("connection")) == (status, "close")
        assert self.rest() == b""
        return answer.error()

    def rest(self) -> bytes:
        """All that still comes until the server closes."""
        try:
            return self.reader.read()
        except ConnectionResetError:
            return b""

    def end(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)


@contextmanager
def connected(
    server: Running | tuple[str, int], over: Any = None, room: int = 0
) -> Iterator[Client]:
    """A connection; ``over`` (an SSLContext) has it encrypted, ``room`` is for what is unread."""
    address = server if isinstance(server, tuple) else server.address
    with socket.socket() as opened:
        if room:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        opened.settimeout(30)
        opened.connect(address)
        if over is not None:
            opened = over.wrap_socket(opened, server_hostname="localhost")
        with opened, opened.makefile("rb") as reader:
            yield Client(opened, reader)
