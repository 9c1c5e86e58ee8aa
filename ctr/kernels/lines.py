"""Bytes -> lines: where each non-blank line of a block starts and ends, 64 bytes at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ctr.kernels.memory import trailing_zeros
from ctr.kernels.options import JIT_DISABLED, inline, jit

NEWLINE, RETURN, SPACE, TAB = 10, 13, 32, 9
_NONE, _ONE = np.uint64(0), np.uint64(1)

if JIT_DISABLED:

    def newlines64(buffer: Any, i: int) -> Any:
        """Bit j is set when ``buffer[i + j]`` is a newline, for j in 0..63."""
        found = buffer[i : i + 64] == NEWLINE
        return np.uint64(sum(1 << j for j in range(len(found)) if found[j]))

else:
    from llvmlite import ir

    @intrinsic
    def newlines64(typingctx: Any, buffer: Any, i: Any) -> Any:
        """Bit j is set when ``buffer[i + j]`` is a newline, for j in 0..63; unchecked."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            index = context.cast(builder, args[1], signature.args[1], types.intp)
            lanes = ir.VectorType(ir.IntType(8), 64)
            pointer = builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())
            equal = builder.icmp_unsigned(
                "==", builder.load(pointer, align=1), ir.Constant(lanes, [NEWLINE] * 64)
            )
            return builder.bitcast(equal, ir.IntType(64))

        return types.uint64(buffer, i), generate


@inline
def is_blank_line(buffer: Any, start: int, end: int) -> bool:
    """Whether there is nothing but spaces, tabs and carriage returns."""
    for i in range(start, end):
        byte = buffer[i]
        if byte != SPACE and byte != TAB and byte != RETURN:
            return False
    return True


@jit
def find_lines(buffer: Any, size: int, final: bool, starts: Any, ends: Any) -> tuple[int, int]:
    """Spans of the non-blank lines of ``buffer[:size]``, their newlines left out.

    ``buffer`` (uint8) has 64 bytes after ``size``. With ``final`` a last line without newline
    counts. Fills ``starts`` and ``ends`` (int64, at least size // 2 + 1 long) and returns how
    many, and the byte from which to go on: after the last line taken.
    """
    count, line, block = 0, 0, 0
    while block < size:
        bits = newlines64(buffer, block)
        while bits != _NONE:
            end = block + trailing_zeros(bits)
            if end >= size:
                break
            bits &= bits - _ONE
            if not is_blank_line(buffer, line, end):
                starts[count] = line
                ends[count] = end
                count += 1
            line = end + 1
        block += 64
    if final and line < size:
        if not is_blank_line(buffer, line, size):
            starts[count] = line
            ends[count] = size
            count += 1
        line = size
    return count, line


def split(
    buffer: NDArray[np.uint8], size: int, *, final: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    r"""``(starts, ends, consumed)`` of the non-blank lines of ``buffer[:size]``.

    ``buffer`` (uint8) must hold 64 bytes more than ``size``; ``consumed`` is where the first line
    not taken starts. With ``final`` the bytes after the last newline are a line too.

    >>> block = np.frombuffer(b"one\n\ntwo\nthr" + bytes(64), np.uint8)
    >>> split(block, 12)
    (array([0, 5]), array([3, 8]), 9)
    >>> split(block, 12, final=True)
    (array([0, 5, 9]), array([ 3,  8, 12]), 12)
    """
    # untouched pages of these cost nothing
    starts, ends = np.empty(size // 2 + 1, np.int64), np.empty(size // 2 + 1, np.int64)
    count, consumed = find_lines(buffer, size, final, starts, ends)
    return starts[:count].copy(), ends[:count].copy(), int(consumed)
