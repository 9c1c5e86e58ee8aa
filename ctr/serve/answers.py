"""What the server writes: JSON answers and errors, as ASGI messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ctr.features.request import RequestError
from ctr.types import Float32

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")

_HEADERS: Mapping[int, tuple[Header, ...]] = {
    405: ((b"allow", b"POST"),),
    503: ((b"retry-after", b"1"),),
}
"""What a status says beside the body."""

_LONGEST = 200

_encoder = msgspec.json.Encoder()


def error(failure: RequestError) -> bytes:
    """``{"error":{"path":…,"got":…,"wanted":…}}``."""
    got = shortened(failure.got)
    return encode({"error": {"path": failure.path, "got": got, "wanted": failure.wanted}})


def shortened(got: str) -> str:
    """What was got, of a length fit for a message."""
    return got if len(got) <= _LONGEST else got[: _LONGEST - 1] + "…"


def headers(status: int, body: bytes) -> list[Header]:
    """The headers of a JSON answer."""
    length = (b"content-length", b"%d" % len(body))
    return [JSON, length, *_HEADERS.get(status, ())]


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
