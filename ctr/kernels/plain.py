"""Plain values: the numbers, ``true`` and ``false`` that ``ctr.kernels.runs`` reads in passing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import names as roles
from ctr.kernels.block32 import digits32, oddities32, quotes32
from ctr.kernels.buckets import log_bucket
from ctr.kernels.characters import BAD, DIGIT_0, POINT
from ctr.kernels.memory import byte, load64, trailing_zeros
from ctr.kernels.options import part

AS_TEXT = np.int64(1 << 62)
"""What a value means whose bytes are a category; other meanings are buckets."""

_LOW32, _LOW40 = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFF)
_TRUE, _FALSE = (np.uint64(int.from_bytes(word, "little")) for word in (b"true", b"false"))
_NOTHING = np.int64(0)
_MOST_DIGITS = 8  # before the point, and behind it: together they are exact as a double
_TENS = np.array([10.0**k for k in range(_MOST_DIGITS + 1)])
_BAD = np.int64(BAD)
_ZERO, _ONE, _8, _64 = (np.uint64(n) for n in (0, 1, 8, 64))


@part
def plain_text(buffer: Any, i: int) -> int:
    """The size of the string that begins behind the quote before ``i``, to 31, or BAD if it is
    longer, or not printable ASCII without escapes. It may be that it ends after the event.
    """
    quotes = quotes32(buffer, i)
    if quotes == _ZERO or oddities32(buffer, i) & (quotes ^ (quotes - _ONE)) != _ZERO:
        return _BAD
    return trailing_zeros(quotes)


@part
def read_plain(buffer: Any, i: int, kind: int) -> tuple[int, int]:
    """The size of the plain value at ``i`` and what it means: its bucket, or AS_TEXT.

    The size is 0 if it is not plain: negative, with an exponent, with too many digits, or of a
    column whose numbers are read in another way. What follows it is not looked at.
    """
    digits = digits32(buffer, i)
    size = trailing_zeros(~digits)
    if size == 0:
        word = load64(buffer, i)
        size = 4 * np.int64((word & _LOW32) == _TRUE) + 5 * np.int64((word & _LOW40) == _FALSE)
        return size, AS_TEXT
    if (size > 1 and byte(buffer, i) == DIGIT_0) or kind == roles.LINEAR:
        return _NOTHING, AS_TEXT
    pointed = byte(buffer, i + size) == POINT
    if not pointed and kind != roles.LOG_BUCKET:
        return size, AS_TEXT
    if size > _MOST_DIGITS or (pointed and kind == roles.CATEGORICAL):
        return _NOTHING, AS_TEXT
    x = np.float64(_number(load64(buffer, i), size))
    if pointed:
        places = trailing_zeros(~(digits >> np.uint64(size + 1)))
        if places == 0 or places >= _MOST_DIGITS:
            return _NOTHING, AS_TEXT
        power = _TENS[np.uint64(places)]
        x = (x * power + np.float64(_number(load64(buffer, i + size + 1), places))) / power
        size += 1 + places
    return size, log_bucket(np.float64(np.float32(x)))


@part
def _number(word: Any, count: int) -> Any:
    """The number whose ``count`` (1 to 8) digits are the first bytes of ``word``.

    Pairs of digits, then of pairs, then of these are added up, all in one word (Lemire 2018).
    """
    # zeros come in from the right, as digits before the first
    word = (word - np.uint64(0x3030303030303030)) << (_64 - _8 * np.uint64(count))
    word = (word * np.uint64(10)) + (word >> _8)
    low = (word & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
    high = ((word >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(0x0000271000000001)
    return (low + high) >> np.uint64(32)
