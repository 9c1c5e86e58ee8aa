"""Thirty-two bytes at once: the compiled functions against what they say, byte by byte."""

from __future__ import annotations

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.kernels.block32 import LANES, digits32, equal32, oddities32, quotes32

bytes32 = st.lists(
    st.one_of(st.sampled_from(list(b'"\\09/: \x1f\x20\x7f\x80\xff')), st.integers(0, 255)),
    min_size=LANES + 1,
    max_size=LANES + 1,
).map(lambda content: np.array(content, np.uint8))


@numba.njit
def marks(buffer, i):  # type: ignore[no-untyped-def]
    return quotes32(buffer, i), oddities32(buffer, i), digits32(buffer, i)


@numba.njit
def agreement(buffer, i, text, at):  # type: ignore[no-untyped-def]
    return equal32(buffer, i, text, at)


def where(found: list[bool]) -> int:
    return sum(1 << j for j, is_there in enumerate(found) if is_there)


@given(bytes32, st.integers(0, 1))
@settings(max_examples=300, deadline=None)
def test_every_kind_of_byte_is_marked_where_it_is(buffer: np.ndarray, i: int) -> None:
    block = [int(c) for c in buffer[i : i + LANES]]
    quotes, oddities, digits = marks(buffer, i)
    assert int(quotes) == where([c == 0x22 for c in block])
    assert int(oddities) == where([c == 0x5C or c < 0x20 or c > 0x7F for c in block])
    assert int(digits) == where([chr(c) in "0123456789" for c in block])


@given(bytes32, bytes32, st.integers(0, 1), st.integers(0, 1))
@settings(max_examples=300, deadline=None)
def test_equal_bytes_are_marked_wherever_the_texts_begin(
    buffer: np.ndarray, other: np.ndarray, i: int, at: int
) -> None:
    text = np.where(np.arange(LANES + 1) % 3 == 0, other, np.roll(buffer, at - i))
    same = [buffer[i + j] == text[at + j] for j in range(LANES)]
    assert int(agreement(buffer, i, text, at)) == where(same)
