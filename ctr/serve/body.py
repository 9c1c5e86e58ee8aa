"""Reading a request's body under a limit, before all of it is in memory."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from ctr.features.request import RequestError

LINGER_BYTES = 64 << 20
LINGER_SECONDS = 5.0
"""How much of a refused body is read and thrown away, so that its sender gets to the answer."""


class TooLarge(RequestError):
    """The body is longer than allowed, and the rest of it still to come."""


class Disconnected(Exception):
    """The client went away before its body was whole: there is nobody to answer."""


async def read(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body; raises TooLarge (413), RequestError (415) and Disconnected."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if int(value) > limit:
                raise _too_large(f"{int(value)} bytes", limit)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise RequestError(415, "content-encoding", value.decode("latin-1"), "identity")
    part = await receive()
    if not part.get("more_body"):
        return _content(part, limit)
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
