"""What the server writes: JSON answers and errors, as ASGI messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from ctr.features.request import RequestError
from ctr.types import Float32

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")


class Answer(NamedTuple):
    """What a request gets: the body, how many predictions it holds, and headers beside
    ``content-length``, which the endpoint adds.
    """

    body: bytes
    predictions: int
    headers: tuple[Header, ...] = (JSON,)


_HEADERS: Mapping[int, tuple[Header, ...]] = {
    401: (JSON, (b"www-authenticate", b"Bearer")),
    405: (JSON, (b"allow", b"POST")),
    503: (JSON, (b"retry-after", b"1")),
}
"""What a status says beside the body."""

_JSON_ALONE = (JSON,)

_LONGEST = 200

_encoder = msgspec.json.Encoder()


def error(failure: RequestError) -> bytes:
    """``{"error":{"path":…,"got":…,"wanted":…}}``."""
    got = shortened(failure.got)
    return encode({"error": {"path": failure.path, "got": got, "wanted": failure.wanted}})


def shortened(got: str) -> str:
    """What was got, of a length fit for a message."""
    return got if len(got) <= _LONGEST else got[: _LONGEST - 1] + "…"


def headers(status: int) -> tuple[Header, ...]:
    """The headers of an error in JSON, beside ``content-length``."""
    return _HEADERS.get(status, _JSON_ALONE)


def numbers(values: Float32) -> bytes:
    """float32[N] as a JSON array of the very same numbers.

    >>> import numpy as np
    >>> numbers(np.array([0.5, 0.1], np.float32))
    b'[0.5,0.10000000149011612]'
    """
    # 40 ns a number; a shorter spelling (9 digits) costs more to find than to send
    return _encoder.encode(values.tolist())


def encode(value: Any) -> bytes:
    """Any JSON value."""
    return _encoder.encode(value)


def names(values: Iterable[str]) -> str:
    """A list for a sentence: what there is instead of what was asked for."""
    return ", ".join(values) or "none"
