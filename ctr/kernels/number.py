"""Decimal text -> the nearest double, exactly as Python's ``float`` rounds it.

Three ways, each for what the one before cannot do: one exact product or quotient (Clinger 1990),
a 128-bit product with a table of powers of five (Lemire 2021, "Number Parsing at a Gigabyte per
Second"), and whole numbers of a few thousand bits for the rare text that lies within rounding of
the middle between two doubles.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.characters import DIGIT_0, DIGIT_9, LETTER_E, MINUS, PLUS, POINT
from ctr.kernels.memory import as_double, byte, double_bits, leading_zeros, wide_product
from ctr.kernels.options import aside, jit

_LEAST, _MOST = -342, 308
_DIGITS = 19  # decimal digits that always fit 64 bits
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_LIMBS = 64  # 2,048 bits: 64 digits times 10^386 fit
_TEN = np.uint64(10)
_HIDDEN = np.uint64(1 << 52)
_MASK9 = np.uint64(0x1FF)
_LOW32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_EXACT = np.array([10.0**k for k in range(23)])


def _powers_of_five() -> tuple[Any, Any]:
    """The first 128 bits of 5^q for q from -342 to 308, as high and low words."""
    high, low = [], []
    for q in range(_LEAST, _MOST + 1):
        if q >= 0:
            power = 5**q
            shift = power.bit_length() - 128
            bits = power >> shift if shift > 0 else power << -shift
        else:
            power = 5**-q
            # rounded up, so that the product with it is never below the true quotient
            bits = (1 << (power.bit_length() + 127 + (power.bit_length() > 63) * 64)) // power + 1
            bits >>= max(bits.bit_length() - 128, 0)
        high.append(bits >> 64)
        low.append(bits & 0xFFFFFFFFFFFFFFFF)
    return np.array(high, np.uint64), np.array(low, np.uint64)


_HIGH, _LOW = _powers_of_five()


@aside
def read_number(buffer: Any, start: int, end: int) -> float:
    """The double nearest to the number ``buffer[start:end]``, already known to be well-formed."""
    i = start
    negative = byte(buffer, i) == MINUS
    if negative:
        i += 1
    digits = _ZERO
    count = 0  # significant digits met
    exponent = 0
    point = False
    while i < end:
        c = byte(buffer, i)
        if c == POINT:
            point = True
        elif DIGIT_0 <= c <= DIGIT_9:
            if count > 0 or c != DIGIT_0:
                count += 1
            if count <= _DIGITS:
                digits = digits * _TEN + np.uint64(c - DIGIT_0)
                exponent -= point
            else:
                exponent += not point
        else:
            break
        i += 1
    if i < end and (byte(buffer, i) | 32) == LETTER_E:
        exponent += _read_exponent(buffer, i + 1, end)
    x = _assemble(digits, exponent)
    if count > _DIGITS and x != _assemble(digits + _ONE, exponent):
        x = _between(buffer, start, end, digits, exponent, count, x)
    return -x if negative else x


@aside
def _read_exponent(buffer: Any, i: int, end: int) -> int:
    sign = -1 if byte(buffer, i) == MINUS else 1
    if byte(buffer, i) == MINUS or byte(buffer, i) == PLUS:
        i += 1
    exponent = 0
    while i < end:
        exponent = min(exponent * 10 + np.int64(byte(buffer, i)) - DIGIT_0, 100_000)
        i += 1
    return sign * exponent


@aside
def _assemble(digits: Any, exponent: int) -> float:
    """digits * 10^exponent, rounded to nearest, ties to even."""
    if digits == _ZERO or exponent < _LEAST:
        return 0.0
    if exponent > _MOST:
        return np.inf
    if digits <= np.uint64(1 << 53) and -22 <= exponent <= 22:
        x = np.float64(digits)
        return x * _EXACT[exponent] if exponent >= 0 else x / _EXACT[-exponent]
    shift = leading_zeros(digits)
    high, low = _product(digits << np.uint64(shift), exponent - _LEAST)
    upper = np.int64(high >> np.uint64(63))
    drop = np.uint64(upper + 9)
    mantissa = high >> drop
    power = (((152170 + 65536) * exponent) >> 16) + 63 + upper - shift + 1023
    if power <= 0:
        return _subnormal(mantissa, power)
    halfway = low <= _ONE and -4 <= exponent <= 23 and (mantissa & np.uint64(3)) == _ONE
    if halfway and (mantissa << drop) == high:
        mantissa &= ~_ONE  # exactly in the middle: to the even side
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    if mantissa >= np.uint64(1 << 53):
        mantissa = _HIDDEN
        power += 1
    if power >= 2047:
        return np.inf
    return as_double((mantissa & ~_HIDDEN) | (np.uint64(power) << np.uint64(52)))


@aside
def _product(digits: Any, row: int) -> tuple[Any, Any]:
    """The high 128 bits of digits * 5^q, with the second word only where it can matter."""
    high, low = wide_product(digits, _HIGH[row])
    if (high & _MASK9) == _MASK9:
        carry, _ = wide_product(digits, _LOW[row])
        low = low + carry
        if low < carry:
            high = high + _ONE
    return high, low


@aside
def _subnormal(mantissa: Any, power: int) -> float:
    if 1 - power >= 64:
        return 0.0
    mantissa >>= np.uint64(1 - power)
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    return as_double(mantissa)  # rounding up to 2^52 is the least normal number by itself


@jit
def _between(
    buffer: Any, start: int, end: int, digits: Any, exponent: int, count: int, below: float
) -> float:
    """``below`` or the double after it, whichever is nearer to a text of over 19 digits."""
    above = _assemble(digits + _ONE, exponent)
    if np.isinf(above):
        # the middle to "2^1024" decides between the largest double and overflow
        mantissa, power = np.uint64((1 << 53) - 1), 971
    else:
        mantissa, power = _parts(below)
    middle = np.zeros(_LIMBS, np.uint64)
    middle[0] = (mantissa * np.uint64(2) + _ONE) & _LOW32
    middle[1] = (mantissa * np.uint64(2) + _ONE) >> _32
    text = np.zeros(_LIMBS, np.uint64)
    for i in range(start, end):
        c = byte(buffer, i)
        if DIGIT_0 <= c <= DIGIT_9:
            _multiply_add(text, _TEN, np.uint64(c - DIGIT_0))
        elif c != POINT and c != MINUS:
            break
    # text * 10^tens against middle * 2^(power - 1)
    tens, twos = exponent - (count - _DIGITS), power - 1
    _scale(text if tens >= 0 else middle, _TEN, abs(tens))
    _scale(middle if twos >= 0 else text, np.uint64(2), abs(twos))
    for k in range(len(text) - 1, -1, -1):
        if text[k] != middle[k]:
            return above if text[k] > middle[k] else below
    return below if (mantissa & _ONE) == _ZERO else above


@aside
def _parts(x: float) -> tuple[Any, int]:
    """The whole number m and the power p with x = m * 2^p, for x > 0."""
    bits = double_bits(x)
    fraction, power = bits & (_HIDDEN - _ONE), np.int64(bits >> np.uint64(52))
    return (fraction | _HIDDEN, power - 1075) if power > 0 else (fraction, -1074)


@aside
def _multiply_add(number: Any, factor: Any, carry: Any) -> None:
    """number = number * factor + carry, in 32-bit limbs held in uint64."""
    for k in range(len(number)):
        total = number[k] * factor + carry
        number[k] = total & _LOW32
        carry = total >> _32


@aside
def _scale(number: Any, factor: Any, times: int) -> None:
    for _ in range(times):
        _multiply_add(number, factor, _ZERO)
