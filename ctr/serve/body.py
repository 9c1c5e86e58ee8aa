"""Reading a request's body under a limit, before all of it is in memory."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from ctr.features.request import RequestError
from ctr.serve import compression

LINGER_BYTES = 64 << 20
LINGER_SECONDS = 5.0
"""How much of a refused body is read and thrown away, so that its sender gets to the answer."""


class TooLarge(RequestError):
    """The body is longer than allowed, and the rest of it still to come."""


class Disconnected(Exception):
    """The client went away before its body was whole: there is nobody to answer."""


async def read(scope: Scope, receive: Receive, limit: int, inflates: bool = False) -> bytes:
    """The body, decompressed if need be and it ``inflates``.

    Raises TooLarge (413), RequestError (400, 415, 422) and Disconnected.
    """
    coding = _coding(scope, limit, inflates)
    part = await receive()
    body = await _joined(part, receive, limit) if part.get("more_body") else _content(part, limit)
    return compression.inflated(body, coding, limit) if coding else body


def has_body(scope: Scope) -> bool:
    """Whether a request says that it has a body."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False


def _coding(scope: Scope, limit: int, inflates: bool) -> str:
    """How the body is compressed; what the headers say to its disadvantage is raised."""
    coding = ""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                wanted = "the number of the body's bytes"
                raise RequestError(400, "content-length", value.decode("latin-1"), wanted)
            if int(value) > limit:
                raise _too_large(f"{int(value)} bytes", limit)
        elif name == b"content-encoding" and value.lower() != b"identity":
            if coding or not inflates:
                got = value.decode("latin-1")
                raise RequestError(415, "content-encoding", got, "identity")
            coding = value.lower().decode("latin-1")
            compression.check(coding)
    return coding


async def _joined(part: Message, receive: Receive, limit: int) -> bytes:
    """A body of several parts, of which this is the first."""
    parts, size = [], 0
    while True:
        content = _content(part, limit)
        size += len(content)
        if size > limit:
            raise _too_large(f"{size} bytes or more", limit)
        parts.append(content)
        if not part.get("more_body"):
            return b"".join(parts)
        part = await receive()


async def discard(receive: Receive) -> None:
    """Read on until the body ends, so that closing does not reset the answer away (RFC 9112, 9.6).

    Given up after LINGER_SECONDS or LINGER_BYTES.
    """
    size = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while size <= LINGER_BYTES:
                part = await receive()
                size += len(part.get("body", b""))
                if part["type"] == "http.disconnect" or not part.get("more_body"):
                    return
    except TimeoutError:
        return


def _content(part: Message, limit: int) -> bytes:
    if part["type"] == "http.disconnect":
        raise Disconnected
    content: bytes = part.get("body", b"")
    if len(content) > limit:
        raise _too_large(f"{len(content)} bytes or more", limit)
    return content


def _too_large(got: str, limit: int) -> TooLarge:
    return TooLarge(413, "body", got, f"at most {limit} bytes")
