"""Answered requests as events: what was asked, less the label, and what was served."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
from msgspec import Raw, Struct

from ctr.serve.watching import Waiting
from ctr.settings import Features

SERVED = "served"
"""The key of what was served; reserved in events, and not read."""

_NULL = Raw(b"null")
_INTEGER = re.compile(rb"-?\d+")
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-6, 1e6

Members = dict[str, Any]
"""A JSON object whose values are still text (``Raw``), or made here."""


class Logged(NamedTuple):
    """An event of the prediction log: its id, by which records are keyed, and its bytes."""

    id: bytes
    event: bytes


class _Request(Struct):
    """The members of a v1 request that make its events."""

    events: list[Raw] = []
    context: Raw = Raw(b"{}")
    candidates: list[Raw] = []
    ts: Raw = _NULL
    id: Raw = _NULL


_request = msgspec.json.Decoder(_Request).decode
_members: Callable[[Any], Members] = msgspec.json.Decoder(dict[str, Raw]).decode
_string = msgspec.json.Decoder(str).decode
_number = msgspec.json.Decoder(float).decode
_encode = msgspec.json.Encoder().encode


def _new_id() -> str:
    return uuid4().hex


def logged(asked: Waiting, model: str, new_id: Callable[[], str] = _new_id) -> Iterator[Logged]:
    """The events of a request that ``model`` answered, one after another.

    Each is what was asked with its bytes unchanged, but for white space between them, in the
    layout of the version that answered: without a label; with ``served``; with the time of
    receipt where it had no time. An event without an id gets that of the request (``id`` beside
    ``events`` or ``candidates``; ``new_id()`` where there is none), a slash and its place.

    >>> import numpy as np
    >>> from ctr.model.manifest import Manifest
    >>> body = b'{"context":{},"candidates":[{"ad":"a"},{"ad":"b"}],"id":"r7","ts":0}'
    >>> p = np.array([0.5, 0.25], np.float32)
    >>> for key, event in logged(Waiting(body, 1700000000000, Manifest(version=84), p), "clicks"):
    ...     print(key, event.decode())
    b'r7/0' {"id":"r7/0","ts":0,"features":{"ad":"a"},"served":{"p":0.5,"version":84,...}}
    b'r7/1' {"id":"r7/1","ts":0,"features":{"ad":"b"},"served":{"p":0.25,"version":84,...}}
    """
    spec = asked.manifest.spec
    if isinstance(asked.body, bytes):
        request = _request(asked.body)
    else:
        request = _Request(events=[Raw(event) for event in asked.body])
    # beside events it is not read, for each may have its own
    ts = request.ts if request.candidates and request.ts != _NULL else asked.now_ms
    of_all = _known_id(request.id) or new_id()
    served = {"p": 0.0, "version": asked.manifest.version, "model": model}
    each = zip(_each(request, spec), asked.probabilities.tolist(), strict=True)
    for k, (members, served["p"]) in enumerate(each):
        members = _without(members, spec.label)
        if not _can_weigh(_find(members, spec.weight)):
            members = _without(members, spec.weight)
        known = _known_id(_find(members, spec.id))
        event: Members = {}
        if not known:
            members = _without(members, spec.id)
            known = event[spec.id] = f"{of_all}/{k}"
        if _find(members, spec.ts) == _NULL:
            members = _without(members, spec.ts)
            event[spec.ts] = ts
        event = {**event, **members, SERVED: served}
        # in strict JSON a newline stands between tokens only, and in a record it ends an event
        yield Logged(known.encode(), _encode(event).replace(b"\n", b" "))


def _each(request: _Request, spec: Features) -> Iterator[Members]:
    """The members of each event that was asked about."""
    yield from map(_members, request.events)
    shared = _inside(request.context)
    for candidate in request.candidates:
        own = _inside(candidate)
        joined = Raw(b"{%b%b%b}" % (shared, b"," if shared and own else b"", own))
        if spec.features:
            *outer, name = spec.features.split(".")
            event: Members = {name: joined}
            for above in reversed(outer):
                event = {above: event}
            yield event
        else:
            yield _members(joined)


def _inside(value: Raw) -> bytes:
    """An object's text between its braces."""
    return bytes(value).strip()[1:-1].strip()


def _known_id(value: Raw) -> str:
    """The id that an event has, or "" when that is none (as training would say)."""
    text = bytes(value)
    if text.startswith(b'"'):
        return _string(text)
    return text.decode() if _INTEGER.fullmatch(text) else ""


def _can_weigh(value: Raw) -> bool:
    """Whether training would read this weight, or none. (For a prediction it is not read.)"""
    if value == _NULL:
        return True
    try:
        return _LEAST_WEIGHT <= _number(value) <= _MOST_WEIGHT
    except msgspec.MsgspecError:
        return False


def _find(members: Members, path: str) -> Raw:
    """The value at ``path``, spelled as one name or nested; null when there is none."""
    value = members.get(path, _NULL)
    if value == _NULL and "." in path:
        value = members
        for name in path.split("."):
            value = _opened(value).get(name, _NULL)
    return value if isinstance(value, Raw) else Raw(_encode(value))


def _without(members: Members, path: str) -> Members:
    """The same members but for ``path``."""
    if path in members:
        members = {key: value for key, value in members.items() if key != path}
    if "." in path and _find(members, path) != _NULL:
        name, _, below = path.partition(".")
        return {**members, name: _without(_opened(members[name]), below)}
    return members


def _opened(value: Any) -> Members:
    """The members of an object; none of anything else."""
    if isinstance(value, Raw):
        return _members(value) if bytes(value).startswith(b"{") else {}
    members: Members = value
    return members
