"""A prediction request's bytes -> the rows of a batch, by the parser of training."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from ctr.errors import CtrError
from ctr.features.parser import REASONS, Parser
from ctr.features.spec import padded
from ctr.kernels.records import judge
from ctr.kernels.request import find_items, find_members, flatten
from ctr.kernels.rows import BAD_EVENT
from ctr.types import PADDING, Batch, Bytes, Events, Int64, Position, Records, Rejected

_MEMBERS = 16
_SHOWN = 80
_MOST_DIGITS = 18
_BLANKS = b" \t\r\n"

WANTED = {
    "too_long": "an event of at most features.max_event_bytes bytes",
    "empty": "a JSON object",
    "utf8": "UTF-8",
    "depth": "at most 32 levels deep",
    "syntax": "strict JSON (RFC 8259)",
    "surrogate": "text without halves of UTF-16 pairs",
    "not_object": "a JSON object",
    "repeated_key": "an object that has each key once",
    "ts": "a whole number, milliseconds since the epoch",
    "features": "an object of features",
    "nested": "a string, number, bool, null or array of strings",
    "number": "a number that float32 can hold, of at most 64 bytes",
    "value": "a number whose size is at most features.max_abs_value",
    "too_many_features": "one of at most features.max_features features",
}
"""What an event should have been, by the reason why it is bad."""

_OF_ONE_KEY = ("ts", "features", "nested", "number", "value")


class RequestError(CtrError):
    """A request that cannot be answered: HTTP ``status``, the ``path`` of what is wrong in the
    body, what was ``got`` there and what was ``wanted``.

    >>> print(RequestError(422, "events[3]", "7", "a JSON object"))
    events[3] must be a JSON object; got '7'
    """

    def __init__(self, status: int, path: str, got: str, wanted: str) -> None:
        super().__init__(f"{path} must be {wanted}; got {got!r}")
        self.status, self.path, self.got, self.wanted = status, path, got, wanted


class Options(NamedTuple):
    """What a request asks for beside the probabilities of all rows."""

    top_k: int
    """Only so many of the best rows; 0: all."""
    explain: bool
    """What each feature contributes."""


def parse_request(parser: Parser, body: bytes, now_ms: int, max_rows: int) -> Batch:
    """One row for each of ``events``, or for ``context`` with each of ``candidates``.

    ``parser`` was made with ``predicting=True``; ``now_ms`` is the time of an event without one.
    Labels are -1. Raises RequestError: 413 for more than ``max_rows`` rows, 422 for all else.

    >>> from ctr.settings import Features
    >>> parser = Parser(Features(), predicting=True)
    >>> body = b'{"context":{"user":"u"},"candidates":[{"ad":"a"},{"ad":"b"}]}'
    >>> parse_request(parser, body, 0, 100).indptr.tolist()
    [0, 3, 6]
    >>> parse_request(parser, b'{"events":[{"features":{"user":{}}}]}', 0, 100)
    Traceback (most recent call last):
    ctr.features.request.RequestError: events[0].features.user must be a string, number, bool,
    null or array of strings; got '{}'
    """
    return read_request(parser, body, now_ms, max_rows)[0].batch


def read_request(
    parser: Parser, body: bytes, now_ms: int, max_rows: int
) -> tuple[Events, Options | None]:
    """As ``parse_request``, with all that the parser says of each row, and what else was asked."""
    buffer = padded(body)
    members = _members(buffer, len(body))
    options = _options(buffer, members)
    if "events" in members and "candidates" not in members and "context" not in members:
        spans = _items(buffer, members, "events", max_rows)
        return _rows(parser, buffer, spans, now_ms, "events"), options
    if "context" in members and "candidates" in members and "events" not in members:
        return _candidates(parser, buffer, members, now_ms, max_rows), options
    keys = ", ".join(sorted(members)) or "none of them"
    raise RequestError(422, "body", keys, "an object with events, or with context and candidates")


def parse_events(parser: Parser, events: list[bytes], now_ms: int, path: str) -> Batch:
    """One row for each of ``events``, JSON objects of their own; errors name ``path[k]``."""
    return _joined(parser, [event.replace(b"\n", b" ") for event in events], now_ms, path).batch


def around_candidate(features: str) -> tuple[bytes, bytes]:
    """What stands in an event before and behind the members of context and candidate.

    >>> around_candidate("data.features")
    (b'{"data":{"features":{', b'}}}')
    """
    if not features:
        return b"{", b"}"
    names = [json.dumps(name).encode() for name in features.split(".")]
    before = b"{" + b":{".join(names) + b":{"
    return before, b"}" * (len(names) + 1)


def _options(buffer: Bytes, members: dict[str, tuple[int, int]]) -> Options | None:
    top_k, explain = 0, False
    if "top_k" in members:
        text = _text(buffer, *members["top_k"])
        if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) < 1:
            raise RequestError(422, "top_k", text, "a whole number of at least 1")
        top_k = int(text)
    if "explain" in members:
        text = _text(buffer, *members["explain"])
        if text not in ("true", "false"):
            raise RequestError(422, "explain", text, "true or false")
        explain = text == "true"
    return Options(top_k, explain) if top_k or explain else None


def _members(buffer: Bytes, length: int) -> dict[str, tuple[int, int]]:
    """Value spans by key of the request object."""
    flatten(buffer, length)
    spans = np.empty((_MEMBERS, 4), np.int64)
    count = find_members(buffer, length, spans)
    if count < 0:
        whole = np.zeros(1, BAD_EVENT)
        whole["end"] = length
        judge(buffer, whole, np.zeros(length + PADDING, np.uint8))
        wanted = WANTED.get(REASONS[whole["reason"][0]], "a JSON object")
        raise RequestError(422, "body", _text(buffer, 0, length), wanted)
    if count > _MEMBERS:
        raise RequestError(422, "body", f"{count} keys", f"an object of at most {_MEMBERS} keys")
    members: dict[str, tuple[int, int]] = {}
    for key_start, key_end, start, end in spans[:count].tolist():
        key = buffer[key_start:key_end].tobytes().decode()
        if key in members:
            raise RequestError(422, key, "two of it", "there once")
        members[key] = (start, end)
    return members


def _items(buffer: Bytes, members: dict[str, tuple[int, int]], key: str, max_rows: int) -> Int64:
    start, end = members[key]
    if buffer[start] != ord("["):
        raise RequestError(422, key, _text(buffer, start, end), "an array of objects")
    spans = np.empty((max_rows, 2), np.int64)
    count = find_items(buffer, start, end, spans)
    if count > max_rows:
        raise RequestError(413, key, f"{count} of them", f"at most serve.max_rows = {max_rows}")
    for k in np.flatnonzero(buffer[spans[:count, 0]] != ord("{")).tolist():
        raise RequestError(422, f"{key}[{k}]", _text(buffer, *spans[k]), "a JSON object")
    return spans[:count]


def _candidates(
    parser: Parser,
    buffer: Bytes,
    members: dict[str, tuple[int, int]],
    now_ms: int,
    max_rows: int,
) -> Events:
    context = members["context"]
    if buffer[context[0]] != ord("{"):
        raise RequestError(422, "context", _text(buffer, *context), "a JSON object")
    spans = _items(buffer, members, "candidates", max_rows)
    before, behind = around_candidate(parser.spec.features)
    shared = buffer[context[0] + 1 : context[1] - 1].tobytes().strip(_BLANKS)
    own = [buffer[start + 1 : end - 1].tobytes().strip(_BLANKS) for start, end in spans.tolist()]
    if "ts" in members:
        now_ms = _time(buffer, members["ts"])
    events = [before + b",".join(filter(None, (shared, one))) + behind for one in own]
    return _joined(parser, events, now_ms, "candidates")


def _time(buffer: Bytes, span: tuple[int, int]) -> int:
    text = _text(buffer, *span)
    if not text.lstrip("-").isdecimal() or len(text) > _MOST_DIGITS:
        raise RequestError(422, "ts", text, WANTED["ts"])
    return int(text)


def _joined(parser: Parser, events: list[bytes], now_ms: int, path: str) -> Events:
    records = Records.of(events)
    spans = np.stack([records.starts, records.ends], 1)
    return _rows(parser, records.buffer, spans, now_ms, path)


def _rows(parser: Parser, buffer: Bytes, spans: Int64, now_ms: int, path: str) -> Events:
    starts, ends = np.ascontiguousarray(spans[:, 0]), np.ascontiguousarray(spans[:, 1])
    count = len(starts)
    times, offsets = np.full(count, now_ms, np.int64), np.arange(count)
    events = parser.parse(
        Records("request", buffer, starts, ends, offsets, times, Position("", count))
    )
    if len(events.rejected):
        raise _refusal(parser, buffer, events.rejected, path)
    return events


def _refusal(parser: Parser, buffer: Bytes, rejected: Rejected, path: str) -> RequestError:
    """The error for the first of the rejected events."""
    reason = REASONS[rejected.reasons[0]]
    path = f"{path}[{rejected.records[0]}]"
    start, end = int(rejected.starts[0]), int(rejected.ends[0])
    if reason in _OF_ONE_KEY:
        key_start, key_end = int(rejected.key_starts[0]), int(rejected.key_ends[0])
        key = buffer[key_start:key_end].tobytes().decode()
        inside = reason in ("nested", "number", "value") and not path.startswith("candidates")
        above = [parser.spec.features] if inside and parser.spec.features else []
        path = ".".join([path, *above, key])
        start, end = _value_after(buffer, key_end, end)
    return RequestError(422, path, _text(buffer, start, end), WANTED.get(reason, reason))


def _value_after(buffer: Bytes, key_end: int, end: int) -> tuple[int, int]:
    """The span of the value of the key that ends at ``key_end``."""
    text = buffer[key_end + 1 : end].tobytes().decode()
    start = len(text) - len(text.lstrip(" \t\r").removeprefix(":").lstrip(" \t\r"))
    _, after = json.JSONDecoder().raw_decode(text, start)
    first = key_end + 1 + len(text[:start].encode())
    return first, first + len(text[start:after].encode())


def _text(buffer: Bytes, start: int, end: int) -> str:
    text = buffer[start:end].tobytes().decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
