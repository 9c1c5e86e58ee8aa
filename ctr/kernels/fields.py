"""A member of an event that is no feature, by its role: label, weight, time, id."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels import names as roles
from ctr.kernels import reasons
from ctr.kernels.characters import (
    CLOSE_OBJECT,
    COMMA,
    DIGIT_0,
    LETTER_F,
    LETTER_N,
    LETTER_T,
    MINUS,
    QUOTE,
)
from ctr.kernels.memory import byte
from ctr.kernels.number import read_number
from ctr.kernels.options import aside, part
from ctr.kernels.rows import MAX_TOKEN
from ctr.kernels.scan import skip_literal, skip_number, skip_value
from ctr.kernels.strings import skip_string

_MIN_WEIGHT, _MAX_WEIGHT = 1e-6, 1e6


@part
def is_plain_label(buffer: Any, i: int, end: int, predicting: bool) -> bool:
    """Whether the value at ``i`` is the label that most events have: 0 or 1, one digit."""
    if predicting or i + 1 >= end:
        return False
    c, follows = byte(buffer, i), byte(buffer, i + 1)
    plain = c == DIGIT_0 or c == DIGIT_0 + 1
    return plain and (follows == COMMA or follows == CLOSE_OBJECT)


@aside
def read_field(
    buffer: Any, i: int, end: int, predicting: bool, current: Any, role: int, levels: int
) -> tuple[int, int]:
    """One value that is no feature, by its role: a code, and where it ends."""
    unread = role == roles.IGNORE or role == roles.CONTAINER or byte(buffer, i) == LETTER_N
    if unread or (predicting and role != roles.FEATURES and role != roles.TS):
        i = skip_value(buffer, i, end, levels)
        return (reasons.OK if i >= 0 else reasons.MALFORMED), i
    if role == roles.FEATURES:
        return reasons.FEATURES, i
    if role == roles.TS:
        return _read_ts(buffer, i, end, current)
    if role == roles.LABEL:
        return _read_label(buffer, i, end, current)
    if role == roles.WEIGHT:
        return _read_weight(buffer, i, end, current)
    return _read_id(buffer, i, end, current)


@aside
def _read_label(buffer: Any, i: int, end: int, current: Any) -> tuple[int, int]:
    c = byte(buffer, i)
    if c == LETTER_T or c == LETTER_F:
        i = skip_literal(buffer, i, end)
        current[0].label = 1.0 if c == LETTER_T else 0.0
        return (reasons.OK if i >= 0 else reasons.MALFORMED), i
    code, i, x = _number(buffer, i, end, reasons.LABEL)
    if code != reasons.OK:
        return code, i
    if x != 0.0 and x != 1.0:
        return reasons.LABEL, i
    current[0].label = abs(x)
    return reasons.OK, i


@aside
def _read_weight(buffer: Any, i: int, end: int, current: Any) -> tuple[int, int]:
    code, i, x = _number(buffer, i, end, reasons.WEIGHT)
    if code != reasons.OK:
        return code, i
    if not _MIN_WEIGHT <= x <= _MAX_WEIGHT:
        return reasons.WEIGHT, i
    current[0].weight = x
    return reasons.OK, i


@aside
def _number(buffer: Any, i: int, end: int, reason: int) -> tuple[int, int, float]:
    """A number that must be one, of at most 64 bytes: a code, where it ends, and the double."""
    start = i
    if not (byte(buffer, i) == MINUS or 48 <= byte(buffer, i) <= 57):
        return reason, i, 0.0
    i, _ = skip_number(buffer, i, end)
    if i < 0:
        return reasons.MALFORMED, i, 0.0
    if i - start > MAX_TOKEN:
        return reason, i, 0.0
    return reasons.OK, i, read_number(buffer, start, i)


@aside
def _read_ts(buffer: Any, i: int, end: int, current: Any) -> tuple[int, int]:
    start = i
    if not (byte(buffer, i) == MINUS or 48 <= byte(buffer, i) <= 57):
        return reasons.TS, i
    i, integer = skip_number(buffer, i, end)
    if i < 0:
        return reasons.MALFORMED, i
    negative = byte(buffer, start) == MINUS
    first = start + 1 if negative else start
    if not integer or i - first > 18:
        return reasons.TS, i
    ts = np.int64(0)
    for k in range(first, i):
        ts = ts * 10 + (np.int64(byte(buffer, k)) - 48)
    current[0].ts = -ts if negative else ts
    return reasons.OK, i


@aside
def _read_id(buffer: Any, i: int, end: int, current: Any) -> tuple[int, int]:
    start = i
    if byte(buffer, i) == QUOTE:
        i = skip_string(buffer, i + 1, end)
        if i < 0:
            return reasons.MALFORMED, i
        current[0].id_start, current[0].id_end = start + 1, i - 1
        return reasons.OK, i
    if not (byte(buffer, i) == MINUS or 48 <= byte(buffer, i) <= 57):
        return reasons.ID, i
    i, integer = skip_number(buffer, i, end)
    if i < 0:
        return reasons.MALFORMED, i
    if not integer:
        return reasons.ID, i
    current[0].id_start, current[0].id_end = start, i
    return reasons.OK, i
