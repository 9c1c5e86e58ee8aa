"""Answers as the bytes of HTTP/1.1, for what is answered without ASGI in between."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from ctr.features.request import RequestError
from ctr.serve import answers
from ctr.serve.answers import Header

CLOSE: Header = (b"connection", b"close")

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Reply(NamedTuple):
    """An answer to be sent, but for its ``content-length``."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


def refusal(error: RequestError) -> Reply:
    """What is said before any route is known, or where none says it otherwise."""
    return Reply(error.status, answers.headers(error.status), answers.error(error))


class Wire:
    """Writes replies, with the headers that uvicorn gives to every answer (the date).

    >>> Wire().encoded(Reply(200, (answers.JSON,), b"{}"), [])
    b'HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 2\\r\\n\\r\\n{}'
    """

    _usual = (answers.JSON,)

    def __init__(self) -> None:
        self._common: Sequence[Header] | None = None
        self._start = b""

    def encoded(self, reply: Reply, common: Sequence[Header], close: bool = False) -> bytes:
        """All of an answer; ``common`` is another list whenever what it holds has changed."""
        status, headers, body = reply
        if status != 200 or headers != self._usual or close:
            start = _start(status, (*common, *headers, *((CLOSE,) if close else ())))
        else:
            if common is not self._common:
                self._common, self._start = common, _start(200, (*common, *headers))
            start = self._start
        return b"%b%d\r\n\r\n%b" % (start, len(body), body)


def _start(status: int, headers: Sequence[Header]) -> bytes:
    """Everything up to the number of the body's bytes."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return _STATUS_LINES[status] + lines + b"content-length: "
