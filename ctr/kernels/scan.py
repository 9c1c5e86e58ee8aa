"""Passing over JSON values, strictly: numbers, literals, and whatever else nobody reads.

Every function takes the position of the first byte it looks at and returns the position after
what it read, or ``BAD``. Nothing here says why: a bad event is read again by
``ctr.kernels.verdict``, at leisure. The buffer must have 64 readable bytes past ``end``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.characters import (
    BAD,
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    DIGIT_0,
    DIGIT_9,
    LETTER_E,
    MINUS,
    OPEN_ARRAY,
    OPEN_OBJECT,
    PLUS,
    POINT,
    QUOTE,
    SURROGATE,
    skip_blank,
)
from ctr.kernels.memory import byte, load64
from ctr.kernels.options import aside, part
from ctr.kernels.strings import skip_string

_ZERO = np.uint64(0)
_LOW32 = np.uint64(0xFFFFFFFF)
_LOW40 = np.uint64(0xFFFFFFFFFF)
_TRUE = np.uint64(int.from_bytes(b"true", "little"))
_FALSE = np.uint64(int.from_bytes(b"false", "little"))
_NULL = np.uint64(int.from_bytes(b"null", "little"))


@part
def skip_number(buffer: Any, i: int, end: int) -> tuple[int, bool]:
    """The position after a number, and whether it is written as an integer."""
    if i < end and byte(buffer, i) == MINUS:
        i += 1
    first = i
    while i < end and DIGIT_0 <= byte(buffer, i) <= DIGIT_9:
        i += 1
    if i == first or (byte(buffer, first) == DIGIT_0 and i > first + 1):
        return BAD, False
    integer = True
    if i < end and byte(buffer, i) == POINT:
        integer = False
        i += 1
        first = i
        while i < end and DIGIT_0 <= byte(buffer, i) <= DIGIT_9:
            i += 1
        if i == first:
            return BAD, False
    if i < end and (byte(buffer, i) | 32) == LETTER_E:
        integer = False
        i += 1
        if i < end and (byte(buffer, i) == PLUS or byte(buffer, i) == MINUS):
            i += 1
        first = i
        while i < end and DIGIT_0 <= byte(buffer, i) <= DIGIT_9:
            i += 1
        if i == first:
            return BAD, False
    return i, integer


@aside
def skip_literal(buffer: Any, i: int, end: int) -> int:
    """The position after ``true``, ``false`` or ``null``."""
    word = load64(buffer, i)
    if (word & _LOW32) == _TRUE or (word & _LOW32) == _NULL:
        return i + 4 if i + 4 <= end else BAD
    if (word & _LOW40) == _FALSE:
        return i + 5 if i + 5 <= end else BAD
    return BAD


@aside
def skip_value(buffer: Any, i: int, end: int, levels: int) -> int:
    """The position after any value of at most ``levels`` (to 62) nested objects and arrays.

    If all that is wrong is half of a UTF-16 pair in some string: ``SURROGATE - position``.
    """
    objects = np.uint64(0)  # one bit a level: 1 in an object, 0 in an array
    depth = 0
    surrogate = False
    one = np.uint64(1)
    while True:
        i = skip_blank(buffer, i, end)
        if i >= end:
            return BAD
        c = byte(buffer, i)
        opened = False
        if c == OPEN_OBJECT or c == OPEN_ARRAY:
            if depth == levels:
                return BAD
            depth += 1
            objects = (objects << one) | np.uint64(c == OPEN_OBJECT)
            i = skip_blank(buffer, i + 1, end)
            c = byte(buffer, i)
            opened = not (i < end and (c == CLOSE_OBJECT or c == CLOSE_ARRAY))
        elif c == QUOTE:
            i = skip_string(buffer, i + 1, end)
            if i < BAD:
                surrogate = True
                i = SURROGATE - i
        elif c == MINUS or DIGIT_0 <= c <= DIGIT_9:
            i, _ = skip_number(buffer, i, end)
        else:
            i = skip_literal(buffer, i, end)
        if i < 0:
            return BAD
        # close what ends here, then stand before the next value
        while depth > 0 and not opened:
            i = skip_blank(buffer, i, end)
            if i >= end:
                return BAD
            c = byte(buffer, i)
            i += 1
            if c == COMMA:
                opened = True
                if (objects & one) == _ZERO:
                    break
            elif c == (CLOSE_OBJECT if (objects & one) != _ZERO else CLOSE_ARRAY):
                depth -= 1
                objects >>= one
            else:
                return BAD
        if depth == 0:
            return SURROGATE - i if surrogate else i
        if (objects & one) != _ZERO:
            i = skip_blank(buffer, i, end)
            if i >= end or byte(buffer, i) != QUOTE:
                return BAD
            i = skip_string(buffer, i + 1, end)
            if i < BAD:
                surrogate = True
                i = SURROGATE - i
            if i < 0:
                return BAD
            i = skip_blank(buffer, i, end)
            if i >= end or byte(buffer, i) != COLON:
                return BAD
            i += 1
