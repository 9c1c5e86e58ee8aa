"""What is wrong with a bad event, at leisure: the order of verdicts of ``docs/events.md``.

The fast pass (``ctr.kernels.events``) only finds that it cannot read an event; this second look
decides between encoding, depth, syntax and the rest, so that the reason does not depend on what
the fast pass happened to see first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import reasons
from ctr.kernels.characters import (
    BACKSLASH,
    BAD,
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    OPEN_ARRAY,
    OPEN_OBJECT,
    QUOTE,
    skip_blank,
)
from ctr.kernels.memory import byte
from ctr.kernels.options import aside, jit
from ctr.kernels.scan import skip_value
from ctr.kernels.strings import read_string, utf8_size

DEPTH_LIMIT = np.int64(32)
_SURROGATE = -2
_SEED, _EMPTY, _ONE, _HALF = np.uint64(0), np.uint64(0), np.uint64(1), np.uint64(32)


@aside
def verdict(buffer: Any, start: int, end: int, scratch: Any) -> int:
    """The reason why ``buffer[start:end]`` is no well-formed event, or OK if it is one.

    Encoding, depth, syntax, half of a UTF-16 pair, not an object, repeated key: in that order.
    """
    if not _is_utf8(buffer, start, end):
        return reasons.UTF8
    if _depth(buffer, start, end) > DEPTH_LIMIT:
        return reasons.DEPTH
    after = skip_value(buffer, start, end, DEPTH_LIMIT)
    surrogate = after < BAD
    if surrogate:
        after = _SURROGATE - after
    if after < 0 or skip_blank(buffer, after, end) < end:
        return reasons.SYNTAX
    if surrogate:
        return reasons.SURROGATE
    first = skip_blank(buffer, start, end)
    if byte(buffer, first) != OPEN_OBJECT:
        return reasons.NOT_OBJECT
    if _repeats_key(buffer, first + 1, end, scratch):
        return reasons.REPEATED_KEY
    return reasons.OK


@aside
def _is_utf8(buffer: Any, i: int, end: int) -> bool:
    while i < end:
        if byte(buffer, i) < 128:
            i += 1
        else:
            size = utf8_size(buffer, i, end)
            if size == 0:
                return False
            i += size
    return True


@aside
def _depth(buffer: Any, i: int, end: int) -> int:
    """The deepest nesting of brackets outside strings, of any text."""
    depth = 0
    deepest = 0
    inside = False
    while i < end:
        c = byte(buffer, i)
        if inside:
            if c == BACKSLASH:
                i += 1
            elif c == QUOTE:
                inside = False
        elif c == QUOTE:
            inside = True
        elif c == OPEN_OBJECT or c == OPEN_ARRAY:
            depth += 1
            deepest = max(deepest, depth)
        elif c == CLOSE_OBJECT or c == CLOSE_ARRAY:
            depth -= 1
        i += 1
    return deepest


@jit
def _repeats_key(buffer: Any, i: int, end: int, scratch: Any) -> bool:
    """Whether a well-formed object, read from after its brace, has a key twice."""
    mask = 15
    while mask < end - i:  # a member is at least four bytes, so the set stays three quarters empty
        mask = 2 * mask + 1
    seen = np.zeros(mask + 1, np.uint64)
    i = skip_blank(buffer, i, end)
    while i < end and byte(buffer, i) == QUOTE:
        i, key = read_string(buffer, i + 1, end, _SEED, scratch)
        if _is_in(seen, key | _ONE):
            return True
        i = skip_blank(buffer, i, end) + 1  # past the colon
        i = skip_blank(buffer, skip_value(buffer, i, end, DEPTH_LIMIT), end)
        i = skip_blank(buffer, i + 1, end)  # past the comma or the closing brace
    return False


@aside
def _is_in(seen: Any, key: Any) -> bool:
    """Whether ``key`` (not 0) is in the open-addressed set ``seen``; if not, put it there."""
    mask = len(seen) - 1
    slot = np.int64(key >> _HALF) & mask
    while seen[slot] != _EMPTY:
        if seen[slot] == key:
            return True
        slot = (slot + 1) & mask
    seen[slot] = key
    return False
