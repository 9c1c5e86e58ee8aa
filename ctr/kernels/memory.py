"""Machine instructions that numba does not spell: unaligned loads, prefetches, wide products.

With the JIT off each has a plain-Python twin, so that the kernels can be run and read as Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ctr.kernels.options import JIT_DISABLED

if JIT_DISABLED:

    def load64(buffer: Any, i: int) -> Any:
        """The 8 bytes from ``buffer[i]`` as a little-endian uint64."""
        return np.frombuffer(buffer[i : i + 8].tobytes().ljust(8, b"\0"), "<u8")[0]

    def byte(buffer: Any, i: Any) -> Any:
        """``buffer[i]``."""
        return buffer[i]

    def prefetch(array: Any, i: int) -> None:
        """Nothing to prefetch without compiled code."""

    def prefetch_read(array: Any, i: Any) -> None:
        """Nothing to prefetch without compiled code."""

    def matches(array: Any, i: Any, x: Any) -> Any:
        """Which elements of the 16 bytes from ``array[i]`` on are ``x``: bit k for ``i + k``."""
        lanes = array[i : i + 16 // array.itemsize]
        return np.uint64(sum(1 << k for k, lane in enumerate(lanes) if lane == x))

    def trailing_zeros(word: Any) -> int:
        """How many low bits of a uint64 other than 0 are 0."""
        return (int(word) & -int(word)).bit_length() - 1

    def leading_zeros(word: Any) -> int:
        """How many high bits of a uint64 are 0."""
        return 64 - int(word).bit_length()

    def wide_product(a: Any, b: Any) -> tuple[Any, Any]:
        """The high and the low 64 bits of a product of two uint64."""
        product = int(a) * int(b)
        return np.uint64(product >> 64), np.uint64(product & 0xFFFFFFFFFFFFFFFF)

    def as_double(word: Any) -> float:
        """The double whose bits are ``word`` (uint64)."""
        return float(np.uint64(word).view(np.float64))

    def double_bits(x: float) -> Any:
        """The bits of a double as uint64."""
        return np.float64(x).view(np.uint64)

else:
    from llvmlite import ir

    _I32, _I64, _I128 = ir.IntType(32), ir.IntType(64), ir.IntType(128)

    def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
        data = context.make_array(array_type)(context, builder, array).data
        return builder.gep(data, [index])

    def emit_prefetch(builder: Any, pointer: Any, write: bool, locality: int) -> None:
        """Emit the instruction that asks for a cache line, to be read only or also written.

        ``locality``: how near to the core it is kept, 3 for the nearest cache, 2 for the next.
        """
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, _I32, _I32, _I32]),
            "llvm.prefetch.p0i8" if cgutils.voidptr_t.is_pointer else "llvm.prefetch",
        )
        address = builder.bitcast(pointer, cgutils.voidptr_t)
        builder.call(function, [address, _I32(int(write)), _I32(locality), _I32(1)])

    @intrinsic
    def load64(typingctx: Any, buffer: Any, i: Any) -> Any:
        """The 8 bytes from ``buffer[i]`` (uint8 array) as a little-endian uint64; unchecked."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            index = context.cast(builder, args[1], signature.args[1], types.intp)
            pointer = _element(context, builder, signature.args[0], args[0], index)
            return builder.load(builder.bitcast(pointer, _I64.as_pointer()), align=1)

        return types.uint64(buffer, i), generate

    @intrinsic
    def byte(typingctx: Any, buffer: Any, i: Any) -> Any:
        """``buffer[i]`` (uint8 array), and no test whether ``i`` counts from the end."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            index = context.cast(builder, args[1], signature.args[1], types.intp)
            return builder.load(_element(context, builder, signature.args[0], args[0], index))

        return types.uint8(buffer, i), generate

    def _ask_for(write: bool, context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], signature.args[1], types.intp)
        pointer = _element(context, builder, signature.args[0], args[0], index)
        emit_prefetch(builder, pointer, write, locality=3)
        return context.get_dummy_value()

    @intrinsic
    def matches(typingctx: Any, array: Any, i: Any, x: Any) -> Any:
        """Which elements of the 16 bytes from ``array[i]`` on are ``x``: bit k for ``i + k``.

        ``x`` is of the array's type (of 1 or 2 bytes); the bytes are unchecked.
        """
        width = array.dtype.bitwidth
        count = 128 // width

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            index = context.cast(builder, args[1], signature.args[1], types.intp)
            pointer = _element(context, builder, signature.args[0], args[0], index)
            lanes_type = ir.VectorType(ir.IntType(width), count)
            lanes = builder.load(builder.bitcast(pointer, lanes_type.as_pointer()), align=1)
            wanted = ir.Constant(lanes_type, ir.Undefined)
            for k in range(count):
                wanted = builder.insert_element(wanted, args[2], _I32(k))
            equal = builder.icmp_unsigned("==", lanes, wanted)
            return builder.zext(builder.bitcast(equal, ir.IntType(count)), _I64)

        return types.uint64(array, i, array.dtype), generate

    @intrinsic
    def prefetch(typingctx: Any, array: Any, i: Any) -> Any:
        """Ask for the cache line of ``array[i]`` to be read and written soon."""

        def generate(*called: Any) -> Any:
            return _ask_for(True, *called)

        return types.void(array, i), generate

    @intrinsic
    def prefetch_read(typingctx: Any, array: Any, i: Any) -> Any:
        """The same to be only read: other cores that read it keep their copies."""

        def generate(*called: Any) -> Any:
            return _ask_for(False, *called)

        return types.void(array, i), generate

    @intrinsic
    def trailing_zeros(typingctx: Any, word: Any) -> Any:
        """How many low bits of a uint64 other than 0 are 0."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.cttz(args[0], ir.IntType(1)(1))

        return types.int64(types.uint64), generate

    @intrinsic
    def leading_zeros(typingctx: Any, word: Any) -> Any:
        """How many high bits of a uint64 are 0."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.ctlz(args[0], ir.IntType(1)(0))

        return types.int64(types.uint64), generate

    @intrinsic
    def wide_product(typingctx: Any, a: Any, b: Any) -> Any:
        """The high and the low 64 bits of a product of two uint64."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wide = [builder.zext(arg, _I128) for arg in args]
            product = builder.mul(*wide)
            high = builder.trunc(builder.lshr(product, _I128(64)), _I64)
            low = builder.trunc(product, _I64)
            return context.make_tuple(builder, signature.return_type, (high, low))

        result = types.UniTuple(types.uint64, 2)
        return result(types.uint64, types.uint64), generate

    @intrinsic
    def as_double(typingctx: Any, word: Any) -> Any:
        """The double whose bits are ``word`` (uint64)."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ir.DoubleType())

        return types.float64(types.uint64), generate

    @intrinsic
    def double_bits(typingctx: Any, x: Any) -> Any:
        """The bits of a double as uint64."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], _I64)

        return types.uint64(types.float64), generate
