"""Bodies that a client compressed, made plain under the limit of plain ones."""

from __future__ import annotations

import zlib

from ctr.features.request import RequestError

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""``wbits`` by content coding (RFC 9110, 8.4.1): "deflate" is the zlib format."""

WANTED = "identity, gzip or deflate"


def check(coding: str) -> None:
    """Raise RequestError (415) for a content coding that is not read here."""
    if coding not in _WINDOWS:
        raise RequestError(415, "content-encoding", coding, WANTED)


def inflated(body: bytes, coding: str, limit: int) -> bytes:
    """The content of a compressed body. No more than ``limit`` bytes of it are ever made: a body
    that holds more is refused as a plain one would be (413), a damaged one with 422.

    >>> inflated(zlib.compress(b"{}"), "deflate", 100)
    b'{}'
    >>> inflated(zlib.compress(bytes(1000000)), "deflate", 100)
    Traceback (most recent call last):
    ctr.features.request.RequestError: body must be at most 100 bytes; got 'more when decompressed'
    """
    check(coding)
    stream = zlib.decompressobj(_WINDOWS[coding])
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(422, "body", str(error), f"compressed by {coding}") from None
    if len(content) > limit:
        raise RequestError(413, "body", "more when decompressed", f"at most {limit} bytes")
    if not stream.eof:
        raise RequestError(422, "body", "the beginning of it", f"whole, compressed by {coding}")
    if stream.unused_data:
        # several members could be joined, but each costs, and a body has room for very many
        got = f"{len(stream.unused_data)} bytes behind its end"
        raise RequestError(422, "body", got, f"one stream, compressed by {coding}")
    return content
