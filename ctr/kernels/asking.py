"""A prediction request's body, walked once: which object to read next, and what becomes of it.

Read here are bodies as clients write them: each member once, the context before the candidates.
Anything else, and whatever is wrong, is ODD: ``ctr.features.request`` reads it again, slowly, and
makes rows of it or says what is wrong where. Newlines between tokens must be blanks by now.

A context is read as the beginning of a row that stays at the front of ``Rows``. Each candidate's
features are read behind it, as if they stood in one event, with crosses and limits; then what is
the candidate's own is copied to where the row before it ends.
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
    LETTER_N,
    LETTER_T,
    MINUS,
    OPEN_ARRAY,
    OPEN_OBJECT,
    QUOTE,
    skip_blank,
)
from ctr.kernels.memory import byte, load64
from ctr.kernels.options import aside, part
from ctr.kernels.rows import NNZ, NO_MARK, ROWS
from ctr.kernels.scan import skip_literal, skip_number

NOTHING = np.int64(0)
EVENTS, CONTEXT, CANDIDATES, TS, TOP_K, EXPLAIN = (np.int64(1 << k) for k in range(6))
"""Members of a request, and what is being read of it."""

FINISHED, FULL, ODD, AGAIN = (np.int64(k) for k in (-1, -2, -3, -4))
"""There is no further object; the rows need larger arrays; read it slowly; read it once more, now
that the time of the candidates is known."""

OPTIONS = 1 << 40
"""Added to the number of rows when the request has members beside them."""

_MOST_DIGITS = 18
_PADDING = 64
_ROWS_FROM = EVENTS | CONTEXT | CANDIDATES
_LOW24, _LOW48, _LOW56 = (np.uint64((1 << bits) - 1) for bits in (24, 48, 56))


def _word(text: bytes) -> Any:
    return np.uint64(int.from_bytes(text, "little"))


_EVENTS, _CONTEXT, _CANDIDAT, _ES, _TS, _TOP_K, _EXPLAIN = (
    _word(text)
    for text in (b'events"', b'context"', b"candidat", b'es"', b'ts"', b'top_k"', b'explain"')
)


@part
def begin_request(buffer: Any, rows: Any, ask: Any, length: int, now: int) -> None:
    """Nothing is read yet."""
    for k in range(_PADDING):
        buffer[length + k] = 0
    rows.counts[:] = 0
    rows.indptr[0] = 0
    ask[0].now = now
    ask[0].ts = now
    ask[0].end = length
    ask[0].seen = 0
    ask[0].kind = 0
    ask[0].shared_bytes = 0
    ask[0].rows = 0
    ask[0].kept = 0
    ask[0].top_k = 0
    ask[0].explain = 0


@part
def result(ask: Any, code: int) -> int:
    """The number of rows, with OPTIONS where there are any; or the ``code`` why there are none."""
    if code != FINISHED:
        return code
    asked = ask[0].top_k > 0 or ask[0].explain > 0
    return ask[0].rows + (OPTIONS if asked else 0)


@aside
def next_object(buffer: Any, i: int, ask: Any) -> int:
    """Where the next object to be read begins, or a code below 0; ``i`` is past the one before."""
    end, kind = ask[0].end, ask[0].kind
    if kind == NOTHING:
        i = skip_blank(buffer, np.int64(0), end)
        if byte(buffer, i) != OPEN_OBJECT:
            return ODD
        return _read_members(buffer, skip_blank(buffer, i + 1, end), ask)
    i = skip_blank(buffer, i, end)
    if kind != CONTEXT:
        if byte(buffer, i) == COMMA:
            return _begin_object(buffer, skip_blank(buffer, i + 1, end), ask)
        if byte(buffer, i) != CLOSE_ARRAY:
            return ODD
        i = skip_blank(buffer, i + 1, end)
    if byte(buffer, i) != COMMA:
        return _end_request(buffer, i, ask)
    return _read_members(buffer, skip_blank(buffer, i + 1, end), ask)


@part
def _begin_object(buffer: Any, i: int, ask: Any) -> int:
    if byte(buffer, i) != OPEN_OBJECT or i >= ask[0].end:
        return ODD
    if ask[0].kind != CONTEXT:
        if ask[0].rows >= ask[0].max_rows:
            return ODD
        if ask[0].kept > ask[0].most_kept:
            return FULL
    ask[0].start = i
    ask[0].last = min(ask[0].end, i + ask[0].max_event_bytes + 1)
    return i


@part
def _end_request(buffer: Any, i: int, ask: Any) -> int:
    """FINISHED, if the request ends at ``i`` and has what one must have."""
    if byte(buffer, i) != CLOSE_OBJECT or skip_blank(buffer, i + 1, ask[0].end) < ask[0].end:
        return ODD
    whole = ask[0].seen & _ROWS_FROM
    return FINISHED if whole == EVENTS or whole == CONTEXT | CANDIDATES else ODD


@aside
def _read_members(buffer: Any, i: int, ask: Any) -> int:
    """Read members from the one at ``i`` on until there is an object to be read."""
    end = ask[0].end
    while True:
        member, i = _member(buffer, i)
        i = skip_blank(buffer, i, end)
        seen = ask[0].seen
        if member == NOTHING or byte(buffer, i) != COLON or seen & member != 0:
            return ODD
        ask[0].seen = seen | member
        i = skip_blank(buffer, i + 1, end)
        if member == CONTEXT:
            if seen & _ROWS_FROM != 0 or ask[0].context_level == 0:
                return ODD
            ask[0].kind = CONTEXT
            return _begin_object(buffer, i, ask)
        if member == EVENTS or member == CANDIDATES:
            wanted = CONTEXT if member == CANDIDATES else NOTHING
            if byte(buffer, i) != OPEN_ARRAY or seen & _ROWS_FROM != wanted:
                return ODD
            i = skip_blank(buffer, i + 1, end)
            ask[0].kind = member
            if byte(buffer, i) != CLOSE_ARRAY:
                return _begin_object(buffer, i, ask)
            i += 1
        else:
            i = _read_option(buffer, i, ask, member)
            if i < 0:
                return i
        i = skip_blank(buffer, i, end)
        if byte(buffer, i) != COMMA:
            return _end_request(buffer, i, ask)
        i = skip_blank(buffer, i + 1, end)


@part
def _member(buffer: Any, i: int) -> tuple[int, int]:
    """The member whose name begins at ``i``, and where its name ends; NOTHING for a stranger."""
    if byte(buffer, i) != QUOTE:
        return NOTHING, i
    word = load64(buffer, i + 1)
    if (word & _LOW56) == _EVENTS:
        return EVENTS, i + 8
    if word == _CONTEXT:
        return CONTEXT, i + 9
    if word == _CANDIDAT and (load64(buffer, i + 9) & _LOW24) == _ES:
        return CANDIDATES, i + 12
    if (word & _LOW24) == _TS:
        return TS, i + 4
    if (word & _LOW48) == _TOP_K:
        return TOP_K, i + 7
    if word == _EXPLAIN:
        return EXPLAIN, i + 9
    return NOTHING, i


@aside
def _read_option(buffer: Any, i: int, ask: Any, member: int) -> int:
    """Read the value of ``ts``, ``top_k`` or ``explain``: where it ends, or a code below 0."""
    if member == EXPLAIN:
        after = skip_literal(buffer, i, ask[0].end)
        ask[0].explain = np.int64(byte(buffer, i) == LETTER_T)
        return after if after >= 0 and byte(buffer, i) != LETTER_N else ODD
    after, value = _read_integer(buffer, i, ask[0].end)
    if after < 0:
        return ODD
    if member == TOP_K:
        ask[0].top_k = value
        return after if value > 0 else ODD
    late = ask[0].timed != 0 and ask[0].seen & CANDIDATES != 0 and value != ask[0].ts
    ask[0].ts = value
    return AGAIN if late else after


@part
def _read_integer(buffer: Any, i: int, end: int) -> tuple[int, int]:
    """Where an integer of at most 18 characters ends, or BAD, and its value."""
    value = np.int64(0)
    if byte(buffer, i) != MINUS and not DIGIT_0 <= byte(buffer, i) <= DIGIT_9:
        return BAD, value
    after, integer = skip_number(buffer, i, end)
    if after < 0 or not integer or after - i > _MOST_DIGITS:
        return BAD, value
    negative = byte(buffer, i) == MINUS
    for k in range(i + negative, after):
        value = value * 10 + (np.int64(byte(buffer, k)) - DIGIT_0)
    return after, -value if negative else value


@part
def resume_context(work: Any, rows: Any, asking: Any) -> int:
    """Stand again where the context ended; returns the entry of its last name."""
    rows.counts[NNZ] = asking.ask[0].prefix
    work.current[0].ts = asking.ask[0].ts
    for k in range(len(work.columns)):
        tail = asking.columns[k].tail
        work.columns[k].head = asking.columns[k].head
        work.columns[k].tail = tail
        if asking.columns[k].head != NO_MARK:
            work.nexts[tail] = NO_MARK
    return asking.ask[0].before


@part
def keep(work: Any, rows: Any, asking: Any, end: int, before: int) -> bool:
    """Take what was read, up to ``end``, for what it is; False if as an event it is too long."""
    kind, nnz = asking.ask[0].kind, rows.counts[NNZ]
    if end - asking.ask[0].start + asking.ask[0].shared_bytes > asking.ask[0].max_event_bytes:
        return False
    row = asking.ask[0].rows
    if kind == CONTEXT:
        asking.ask[0].shared_bytes = end - asking.ask[0].start + asking.ask[0].joining_bytes
        asking.ask[0].prefix = nnz
        asking.ask[0].before = max(before, 0)
        for k in range(len(work.columns)):
            asking.columns[k].head = work.columns[k].head
            asking.columns[k].tail = work.columns[k].tail
        kept = len(work.nexts)  # no row is longer
        asking.ask[0].kept = kept
        rows.indptr[0] = kept
        return True
    asking.ask[0].rows = row + 1
    if kind == CANDIDATES:
        prefix, kept = asking.ask[0].prefix, asking.ask[0].kept
        for k in range(nnz - prefix):
            rows.keys[kept + k] = rows.keys[prefix + k]
            rows.values[kept + k] = rows.values[prefix + k]
        nnz = kept + nnz - prefix
        asking.ask[0].kept = nnz
    else:
        rows.counts[ROWS] = row + 1
    rows.indptr[row + 1] = nnz
    return True
