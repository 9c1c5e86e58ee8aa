"""JSON strings, eight bytes at a time: hashed where they stand, decoded, or passed over.

Every function takes the position of the first byte after the opening quote and returns the one
after the closing quote, or ``BAD`` or ``SURROGATE``. The buffer must have 64 readable bytes past
``end`` (``ctr.types.PADDING``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.characters import BACKSLASH, BAD, QUOTE, SURROGATE
from ctr.kernels.hashing import finish, hash_bytes, low_bytes, step
from ctr.kernels.memory import byte, load64, trailing_zeros
from ctr.kernels.options import aside, part

_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_ZERO = np.uint64(0)


@part
def special_bytes(word: Any) -> Any:
    """Marks in the high bits: the first marked byte is a quote, backslash, control or non-ASCII."""
    quote = word ^ _QUOTES
    backslash = word ^ _BACKSLASHES
    found = (quote - _ONES) & ~quote
    found |= (backslash - _ONES) & ~backslash
    found |= (word - _SPACES) & ~word
    return (found | word) & _HIGHS


@part
def is_text(buffer: Any, i: int, text: Any, at: int, length: int) -> bool:
    """Whether ``length`` >= 1 bytes from ``buffer[i]`` and from ``text[at]`` are the same."""
    while length > 8:
        if load64(buffer, i) != load64(text, at):
            return False
        i += 8
        at += 8
        length -= 8
    return (load64(buffer, i) ^ load64(text, at)) << np.uint64(64 - 8 * length) == _ZERO


@part
def read_string(buffer: Any, i: int, end: int, seed: Any, scratch: Any) -> tuple[int, Any]:
    """The position after the closing quote, and the hash of the decoded string.

    ``i`` is the first byte after the opening quote. Plain ASCII is hashed where it stands; other
    strings are decoded into ``scratch`` first (uint8, at least as long as the event).
    """
    h = seed
    start = i
    while True:
        word = load64(buffer, i)
        marks = special_bytes(word)
        if marks == _ZERO:
            h = step(h, word)
            i += 8
            if i >= end:
                return BAD, h
            continue
        rest = trailing_zeros(marks) >> 3
        at = i + rest
        if at >= end:
            return BAD, h
        if byte(buffer, at) == QUOTE:
            if rest > 0:
                h = step(h, low_bytes(word, rest))
            return at + 1, finish(h, at - start)
        if byte(buffer, at) < 32:
            return BAD, h
        return _read_decoded(buffer, start, end, seed, scratch)


@aside
def _read_decoded(buffer: Any, i: int, end: int, seed: Any, scratch: Any) -> tuple[int, Any]:
    i, length = decode_string(buffer, i, end, scratch)
    if i < 0:
        return i, seed
    for k in range(length, length + 8):
        scratch[k] = 0
    return i, hash_bytes(scratch, 0, length, seed)


@aside
def decode_string(buffer: Any, i: int, end: int, scratch: Any) -> tuple[int, int]:
    """Decode a string's escapes into ``scratch``: the position after its quote, and the length."""
    length = np.int64(0)
    while i < end:
        c = byte(buffer, i)
        if c == QUOTE:
            return i + 1, length
        if c < 32:
            return BAD, 0
        if c == BACKSLASH:
            i, length = _decode_escape(buffer, i + 1, end, scratch, length)
            if i < 0:
                return i, 0
        elif c < 128:
            scratch[length] = c
            length += 1
            i += 1
        else:
            size = utf8_size(buffer, i, end)
            if size == 0:
                return BAD, 0
            for _ in range(size):
                scratch[length] = byte(buffer, i)
                length += 1
                i += 1
    return BAD, 0


@aside
def _decode_escape(buffer: Any, i: int, end: int, scratch: Any, length: int) -> tuple[int, int]:
    """One escape whose first byte after the backslash is ``buffer[i]``."""
    if i >= end:
        return BAD, 0
    c = byte(buffer, i)
    if c != 117:  # u
        plain = _PLAIN_ESCAPES[c]
        if plain == 0:
            return BAD, 0
        scratch[length] = plain
        return i + 1, length + 1
    unit = _four_hex(buffer, i + 1, end)
    if unit < 0:
        return BAD, 0
    i += 5
    if 0xD800 <= unit < 0xDC00 and _is_unicode_escape(buffer, i, end):
        low = _four_hex(buffer, i + 2, end)
        if low < 0:
            return BAD, 0
        if 0xDC00 <= low < 0xE000:
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            i += 6
    if 0xD800 <= unit < 0xE000:
        return SURROGATE, 0
    return i, length + _encode_utf8(unit, scratch, length)


_PLAIN_ESCAPES = np.zeros(256, np.uint8)
for _letter, _meaning in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _PLAIN_ESCAPES[_letter] = _meaning


@part
def _is_unicode_escape(buffer: Any, i: int, end: int) -> bool:
    return i + 1 < end and byte(buffer, i) == BACKSLASH and byte(buffer, i + 1) == 117


@aside
def _four_hex(buffer: Any, i: int, end: int) -> int:
    if i + 4 > end:
        return BAD
    value = 0
    for k in range(i, i + 4):
        c = np.int64(byte(buffer, k))
        if 48 <= c <= 57:
            value = value * 16 + (c - 48)
        elif 97 <= (c | 32) <= 102:
            value = value * 16 + ((c | 32) - 87)
        else:
            return BAD
    return value


@aside
def _encode_utf8(code: int, scratch: Any, at: int) -> int:
    if code < 0x80:
        scratch[at] = code
        return 1
    if code < 0x800:
        scratch[at] = 0xC0 | (code >> 6)
        scratch[at + 1] = 0x80 | (code & 63)
        return 2
    if code < 0x10000:
        scratch[at] = 0xE0 | (code >> 12)
        scratch[at + 1] = 0x80 | ((code >> 6) & 63)
        scratch[at + 2] = 0x80 | (code & 63)
        return 3
    scratch[at] = 0xF0 | (code >> 18)
    scratch[at + 1] = 0x80 | ((code >> 12) & 63)
    scratch[at + 2] = 0x80 | ((code >> 6) & 63)
    scratch[at + 3] = 0x80 | (code & 63)
    return 4


@aside
def utf8_size(buffer: Any, i: int, end: int) -> int:
    """Bytes of the UTF-8 sequence at ``i`` (2 to 4), or 0 when it is not valid (RFC 3629)."""
    c = np.int64(byte(buffer, i))
    size = 2 if 0xC2 <= c < 0xE0 else 3 if 0xE0 <= c < 0xF0 else 4 if 0xF0 <= c < 0xF5 else 0
    if size == 0 or i + size > end:
        return 0
    second = np.int64(byte(buffer, i + 1))
    low = 0xA0 if c == 0xE0 else 0x90 if c == 0xF0 else 0x80
    high = 0x9F if c == 0xED else 0x8F if c == 0xF4 else 0xBF
    if second < low or second > high:
        return 0
    for k in range(i + 2, i + size):
        if (byte(buffer, k) & 0xC0) != 0x80:
            return 0
    return size


@aside
def skip_string(buffer: Any, i: int, end: int) -> int:
    """The position after the closing quote of a string that nobody reads.

    With half of a UTF-16 pair in it: ``SURROGATE`` minus that position.
    """
    surrogate = False
    while i < end:
        marks = special_bytes(load64(buffer, i))
        if marks == _ZERO:
            i += 8
            continue
        i += trailing_zeros(marks) >> 3
        if i >= end:
            return BAD
        c = byte(buffer, i)
        if c == QUOTE:
            return SURROGATE - (i + 1) if surrogate else i + 1
        if c < 32:
            return BAD
        if c >= 128:
            size = utf8_size(buffer, i, end)
            if size == 0:
                return BAD
            i += size
        else:
            i, half = _skip_escape(buffer, i + 1, end)
            if i < 0:
                return BAD
            surrogate = surrogate or half
    return BAD


@aside
def _skip_escape(buffer: Any, i: int, end: int) -> tuple[int, bool]:
    """Past one escape, and whether it was half of a UTF-16 pair."""
    if i >= end:
        return BAD, False
    if byte(buffer, i) != 117:
        return (i + 1, False) if _PLAIN_ESCAPES[byte(buffer, i)] != 0 else (BAD, False)
    unit = _four_hex(buffer, i + 1, end)
    if unit < 0:
        return BAD, False
    i += 5
    if 0xD800 <= unit < 0xDC00 and _is_unicode_escape(buffer, i, end):
        low = _four_hex(buffer, i + 2, end)
        if 0xDC00 <= low < 0xE000:
            return i + 6, False
    return i, 0xD800 <= unit < 0xE000
