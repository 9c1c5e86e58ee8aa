"""The line kernel against a twin in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctr.kernels.lines import split
from ctr.types import PADDING


def split_naively(data: bytes, final: bool) -> tuple[list[tuple[int, int]], int]:
    """Spans of the non-blank lines and where the first line not taken starts."""
    *whole, rest = data.split(b"\n")
    lines = [*whole, rest] if final else whole
    spans, at = [], 0
    for line in lines:
        if line.strip(b" \t\r"):
            spans.append((at, at + len(line)))
        at += len(line) + 1
    return spans, len(data) if final else len(data) - len(rest)


def padded(data: bytes) -> np.ndarray:
    return np.frombuffer(data + bytes(PADDING), np.uint8).copy()


def spans_of(data: bytes, final: bool) -> tuple[list[tuple[int, int]], int]:
    starts, ends, consumed = split(padded(data), len(data), final=final)
    return list(zip(starts.tolist(), ends.tolist(), strict=True)), consumed


PIECES = st.sampled_from([b"\n", b" ", b"\t", b"\r", b"\0", b"a", b"{}", b"\xff", b"x" * 63])


@given(st.lists(PIECES, max_size=60).map(b"".join), st.booleans())
@settings(deadline=None)
@example(b"", True)
@example(b"\n" * 130, False)
@example(b"a" * 64 + b"\n" + b"b" * 63 + b"\n", False)
def test_it_finds_the_lines_that_python_finds(data: bytes, final: bool) -> None:
    assert spans_of(data, final) == split_naively(data, final)


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None)
def test_any_bytes(data: bytes, final: bool) -> None:
    assert spans_of(data, final) == split_naively(data, final)


def test_what_follows_the_content_is_not_looked_at() -> None:
    buffer = np.frombuffer(b"one\ntwo" + b"\n" * 64, np.uint8).copy()
    starts, ends, consumed = split(buffer, 7)
    assert (starts.tolist(), ends.tolist(), consumed) == ([0], [3], 4)


@pytest.mark.parametrize("at", range(0, 200, 7))
def test_a_newline_is_found_wherever_it_stands_in_its_block(at: int) -> None:
    data = b"x" * at + b"\n" + b"y" * (200 - at)
    expected = [(0, at)] if at else []
    assert spans_of(data, False) == (expected, at + 1)
