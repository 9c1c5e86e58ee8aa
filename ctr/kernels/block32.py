"""Thirty-two bytes of a buffer at once: a uint64 with bit j set where byte j is what is asked for.

Bits 32 and up are 0. Nothing is checked: 32 bytes from ``buffer[i]`` must be readable. With the JIT
off each function has a plain-Python twin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from ctr.kernels.characters import BACKSLASH, DIGIT_0, QUOTE
from ctr.kernels.options import JIT_DISABLED

LANES = 32

if JIT_DISABLED:

    def _bits(found: Any) -> Any:
        return np.uint64(sum(1 << j for j in range(len(found)) if found[j]))

    def equal32(buffer: Any, i: Any, text: Any, at: Any) -> Any:
        """Where ``buffer[i + j]`` and ``text[at + j]`` are the same byte."""
        ours, theirs = buffer[i : i + LANES], text[at : at + LANES]
        size = min(len(ours), len(theirs))
        return _bits(ours[:size] == theirs[:size])

    def quotes32(buffer: Any, i: Any) -> Any:
        """Where there is a double quote."""
        return _bits(buffer[i : i + LANES] == QUOTE)

    def oddities32(buffer: Any, i: Any) -> Any:
        """Where a string is no plain text: backslashes, control characters, non-ASCII."""
        block = buffer[i : i + LANES]
        return _bits((block == BACKSLASH) | (block < 32) | (block >= 128))

    def digits32(buffer: Any, i: Any) -> Any:
        """Where there is a decimal digit."""
        block = buffer[i : i + LANES]
        return _bits((block >= DIGIT_0) & (block < DIGIT_0 + 10))

else:
    from llvmlite import ir

    _I32, _I64 = ir.IntType(32), ir.IntType(64)
    _BLOCK = ir.VectorType(ir.IntType(8), LANES)

    def _load(context: Any, builder: Any, signature: Any, args: Any, which: int) -> Any:
        """The 32 bytes at the place that arguments ``which`` (array) and ``which + 1`` name."""
        array_type, index_type = signature.args[which], signature.args[which + 1]
        data = context.make_array(array_type)(context, builder, args[which]).data
        index = context.cast(builder, args[which + 1], index_type, types.intp)
        pointer = builder.bitcast(builder.gep(data, [index]), _BLOCK.as_pointer())
        return builder.load(pointer, align=1)

    def _all(byte: int) -> Any:
        return ir.Constant(_BLOCK, [byte] * LANES)

    def _marks(builder: Any, found: Any) -> Any:
        return builder.zext(builder.bitcast(found, _I32), _I64)

    @intrinsic
    def equal32(typingctx: Any, buffer: Any, i: Any, text: Any, at: Any) -> Any:
        """Where ``buffer[i + j]`` and ``text[at + j]`` are the same byte."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ours = _load(context, builder, signature, args, 0)
            theirs = _load(context, builder, signature, args, 2)
            return _marks(builder, builder.icmp_unsigned("==", ours, theirs))

        return types.uint64(buffer, i, text, at), generate

    @intrinsic
    def quotes32(typingctx: Any, buffer: Any, i: Any) -> Any:
        """Where there is a double quote."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            block = _load(context, builder, signature, args, 0)
            return _marks(builder, builder.icmp_unsigned("==", block, _all(QUOTE)))

        return types.uint64(buffer, i), generate

    @intrinsic
    def oddities32(typingctx: Any, buffer: Any, i: Any) -> Any:
        """Where a string is no plain text: backslashes, control characters, non-ASCII."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            block = _load(context, builder, signature, args, 0)
            backslash = builder.icmp_unsigned("==", block, _all(BACKSLASH))
            # as a signed number a byte of non-ASCII is below zero
            other = builder.icmp_signed("<", block, _all(32))
            return _marks(builder, builder.or_(backslash, other))

        return types.uint64(buffer, i), generate

    @intrinsic
    def digits32(typingctx: Any, buffer: Any, i: Any) -> Any:
        """Where there is a decimal digit."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            block = _load(context, builder, signature, args, 0)
            above = builder.sub(block, _all(DIGIT_0))
            return _marks(builder, builder.icmp_unsigned("<", above, _all(10)))

        return types.uint64(buffer, i), generate
