"""The bytes that JSON is made of, its white space, and what reading returns instead of a place."""

from __future__ import annotations

from typing import Any

from ctr.kernels.memory import byte
from ctr.kernels.options import inline

BAD = -1
"""Not strict RFC 8259."""

SURROGATE = -2
"""A string is well-formed but has half of a UTF-16 pair, which is no text."""

QUOTE, BACKSLASH, COMMA, COLON, MINUS, POINT = (ord(c) for c in '"\\,:-.')
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = (ord(c) for c in "{}[]")
DIGIT_0, DIGIT_9, LETTER_E, LETTER_T, LETTER_F, LETTER_N = (ord(c) for c in "09etfn")
PLUS, NEWLINE = ord("+"), ord("\n")


@inline
def is_blank(c: int) -> bool:
    """JSON's white space but for the newline, which ends an event before it is looked at."""
    return c == 32 or c == 9 or c == 13


@inline
def skip_blank(buffer: Any, i: int, end: int) -> int:
    """The first byte from ``i`` that is not white space, or ``end``."""
    while i < end and is_blank(byte(buffer, i)):
        i += 1
    return i
