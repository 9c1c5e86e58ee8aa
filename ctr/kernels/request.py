"""Finding the events of a prediction request, and joining a context to each candidate."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.characters import (
    BACKSLASH,
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COMMA,
    NEWLINE,
    OPEN_OBJECT,
    QUOTE,
    skip_blank,
)
from ctr.kernels.options import jit, outline
from ctr.kernels.scan import skip_value
from ctr.kernels.verdict import DEPTH_LIMIT, verdict

_LEVELS = DEPTH_LIMIT + 2  # an event of full depth stands in an array in an object


@jit
def flatten(buffer: Any, end: int) -> None:
    """Turn newlines between tokens into blanks: in a request they end no event."""
    inside = False
    i = 0
    while i < end:
        c = buffer[i]
        if inside:
            if c == BACKSLASH:
                i += 1
            inside = c != QUOTE
        elif c == QUOTE:
            inside = True
        elif c == NEWLINE:
            buffer[i] = 32
        i += 1


@jit
def find_members(buffer: Any, end: int, spans: Any) -> int:
    """Key and value spans (int64[k, 4]) of the object that the text is.

    Returns how many there are, the first ``k`` of them written, or -1 for no strict JSON object.
    """
    i = skip_blank(buffer, 0, end)
    after = skip_value(buffer, i, end, _LEVELS)
    if after < 0 or skip_blank(buffer, after, end) < end or buffer[i] != OPEN_OBJECT:
        return -1
    count = 0
    i = skip_blank(buffer, i + 1, end)
    while buffer[i] == QUOTE:
        key_end = skip_value(buffer, i, end, _LEVELS)
        start = skip_blank(buffer, skip_blank(buffer, key_end, end) + 1, end)  # past the colon
        value_end = skip_value(buffer, start, end, _LEVELS)
        if count < len(spans):
            spans[count, 0], spans[count, 1] = i + 1, key_end - 1
            spans[count, 2], spans[count, 3] = start, value_end
        count += 1
        i = skip_blank(buffer, value_end, end)
        i = skip_blank(buffer, i + 1, end)  # past the comma or the closing brace
    return count


@jit
def find_items(buffer: Any, start: int, end: int, spans: Any) -> int:
    """Spans (int64[k, 2]) of the items of a well-formed array at ``start``, and their number."""
    count = 0
    i = skip_blank(buffer, start + 1, end)
    while i < end and buffer[i] != CLOSE_ARRAY:
        after = skip_value(buffer, i, end, _LEVELS)
        if count < len(spans):
            spans[count, 0], spans[count, 1] = i, after
        count += 1
        i = skip_blank(buffer, after, end)
        if i < end and buffer[i] == COMMA:
            i = skip_blank(buffer, i + 1, end)
    return count


@jit
def join_context(
    buffer: Any, context: Any, spans: Any, before: Any, behind: Any, out: Any, joined: Any
) -> int:
    """Write ``before`` {context's members, candidate's members} ``behind`` for each candidate.

    ``context`` (start, end) and ``spans`` are objects in ``buffer``; ``out`` (uint8) is large
    enough; ``joined`` (int64[k, 2]) gets the spans in it. Returns the bytes written.
    """
    at = 0
    for k in range(len(spans)):
        joined[k, 0] = at
        at = _copy(before, 0, len(before), out, at)
        at = _copy(buffer, context[0] + 1, context[1] - 1, out, at)
        inner = skip_blank(buffer, spans[k, 0] + 1, spans[k, 1])
        shared = skip_blank(buffer, context[0] + 1, context[1])
        if buffer[inner] != CLOSE_OBJECT and buffer[shared] != CLOSE_OBJECT:
            out[at] = COMMA
            at += 1
        at = _copy(buffer, spans[k, 0] + 1, spans[k, 1] - 1, out, at)
        at = _copy(behind, 0, len(behind), out, at)
        joined[k, 1] = at
    return at


@outline
def _copy(source: Any, start: int, end: int, target: Any, at: int) -> int:
    for i in range(start, end):
        target[at] = source[i]
        at += 1
    return at


@jit
def reason_of(buffer: Any, end: int) -> int:
    """Why a request is no JSON object: the code of ``ctr.kernels.reasons``."""
    return verdict(buffer, np.int64(0), end, np.zeros(end + 64, np.uint8))
