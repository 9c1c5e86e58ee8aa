"""Finding the members of a prediction request and the items in them, one by one."""

from __future__ import annotations

from typing import Any

from ctr.kernels.characters import (
    BACKSLASH,
    CLOSE_ARRAY,
    COMMA,
    NEWLINE,
    OPEN_OBJECT,
    QUOTE,
    skip_blank,
)
from ctr.kernels.options import jit
from ctr.kernels.scan import skip_value
from ctr.kernels.verdict import DEPTH_LIMIT

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
