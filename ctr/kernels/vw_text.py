"""The pieces of Vowpal Wabbit's text: names, decimal numbers, values that are words.

Names are hashed where they stand, eight bytes at a time. Every function takes the position of the
first byte it looks at and returns where what it read ends. The buffer must have 64 readable bytes
past ``end``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import reasons
from ctr.kernels.characters import (
    COLON,
    DIGIT_0,
    DIGIT_9,
    LETTER_E,
    MINUS,
    NEWLINE,
    PLUS,
    POINT,
    is_blank,
)
from ctr.kernels.hashing import TEXT, feature_key, finish, hash_bytes, low_bytes, step
from ctr.kernels.memory import load64, trailing_zeros
from ctr.kernels.number import read_number
from ctr.kernels.options import inline, outline
from ctr.kernels.rows import MAX_TOKEN

BAR, TICK = ord("|"), ord("'")

_LOWS = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGHS = np.uint64(0x8080808080808080)
_COLONS = np.uint64(0x3A3A3A3A3A3A3A3A)
_BARS = np.uint64(0x7C7C7C7C7C7C7C7C)
_ABOVE_SPACE = np.uint64(0x5F5F5F5F5F5F5F5F)  # carries into the high bit from 0x21 on
_ZERO, _TEN, _EIGHT = np.uint64(0), np.uint64(10), np.uint64(8)
_NAN, _INF, _INFINITY = (
    np.uint64(int.from_bytes(text, "little")) for text in (b"nan", b"inf", b"infinity")
)


@inline
def _may_end_text(word: Any) -> Any:
    """Marks in the high bits of the bytes that are a colon, a bar, a space or a control."""
    colon, bar = word ^ _COLONS, word ^ _BARS
    other = ((word & _LOWS) + _ABOVE_SPACE) | word
    other &= ((colon & _LOWS) + _LOWS) | colon
    other &= ((bar & _LOWS) + _LOWS) | bar
    return ~other & _HIGHS


@inline
def read_text(buffer: Any, i: int, end: int, seed: Any) -> tuple[int, Any]:
    """The colon, bar, blank, newline or ``end`` after the text at ``i``, and the text's hash."""
    h = seed
    start = i
    while True:
        word = load64(buffer, i)
        marks = _may_end_text(word)
        if marks == _ZERO and i + 8 <= end:
            h = step(h, word)
            i += 8
            continue
        rest = end - i
        if marks != _ZERO:
            rest = min(rest, trailing_zeros(marks) >> 3)
            if i + rest < end and _is_part_of_text(buffer[i + rest]):
                return _read_rare_text(buffer, start, end, seed)
        if rest > 0:
            h = step(h, low_bytes(word, rest))
        return i + rest, finish(h, i + rest - start)


@inline
def _is_part_of_text(c: int) -> bool:
    return not (is_blank(c) or c == NEWLINE or c == COLON or c == BAR)


@outline
def _read_rare_text(buffer: Any, start: int, end: int, seed: Any) -> tuple[int, Any]:
    """``read_text`` of a text with control characters in it."""
    i = start
    while i < end and _is_part_of_text(buffer[i]):
        i += 1
    return i, hash_bytes(buffer, start, i, seed)


@outline
def hash_of_digits(number: int, seed: Any) -> Any:
    """The hash of the decimal digits of a number below 10^8: an unnamed feature's name."""
    rest, word, length = np.uint64(number), _ZERO, 0
    while length == 0 or rest > _ZERO:
        word = (word << _EIGHT) | (rest % _TEN + np.uint64(DIGIT_0))
        rest //= _TEN
        length += 1
    return finish(step(seed, word), length)


@inline
def may_be_number(c: int) -> bool:
    return DIGIT_0 <= c <= DIGIT_9 or c == MINUS or c == PLUS or c == POINT


@outline
def read_category(buffer: Any, i: int, end: int, seed: Any, name: Any) -> tuple[int, int, Any]:
    """A value that is text, to the next blank or bar: a code, its end, and the feature's key."""
    start = i
    while i < end and not is_blank(buffer[i]) and buffer[i] != BAR and buffer[i] != NEWLINE:
        i += 1
    code = reasons.NUMBER if i == start or _is_no_number(buffer, start, i) else reasons.OK
    return code, i, feature_key(name, TEXT, hash_bytes(buffer, start, i, seed))


@outline
def _is_no_number(buffer: Any, start: int, end: int) -> bool:
    """Whether a text says that it is not a number or infinite, in any case of letters."""
    if end - start != 3 and end - start != 8:
        return False
    word = _ZERO
    for k in range(end - 1, start - 1, -1):
        word = (word << _EIGHT) | np.uint64(buffer[k] | 32)
    return word == _NAN or word == _INF or word == _INFINITY


@outline
def read_decimal(buffer: Any, i: int, end: int) -> tuple[int, int, float]:
    """A number up to a blank, bar or line end: a code, where it ends, and the double.

    Laxer than JSON, as people write such files: ``+1``, ``.5``, ``5.`` and ``01`` are numbers.
    """
    start = i
    if i < end and (buffer[i] == MINUS or buffer[i] == PLUS):
        i += 1
    first = i
    digits = 0
    while i < end:
        if DIGIT_0 <= buffer[i] <= DIGIT_9:
            digits += 1
        elif buffer[i] != POINT or digits < i - first:
            break
        i += 1
    if digits == 0:
        return reasons.NUMBER, i, 0.0
    if i < end and (buffer[i] | 32) == LETTER_E:
        i += 1
        if i < end and (buffer[i] == MINUS or buffer[i] == PLUS):
            i += 1
        first = i
        while i < end and DIGIT_0 <= buffer[i] <= DIGIT_9:
            i += 1
        if i == first:
            return reasons.NUMBER, i, 0.0
    ended = i >= end or buffer[i] == BAR or buffer[i] == NEWLINE or is_blank(buffer[i])
    if not ended or i - start > MAX_TOKEN:
        return reasons.NUMBER, i, 0.0
    x = read_number(buffer, start + np.int64(buffer[start] == PLUS), i)
    if np.isinf(np.float32(x)):
        return reasons.NUMBER, i, 0.0
    return reasons.OK, i, x
