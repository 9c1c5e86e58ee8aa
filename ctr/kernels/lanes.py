"""Eight numbers as one value, for vector instructions that do not hang on what a compiler finds.

A value of lanes is made by ``load`` or ``numbers``; ``+ - * / & | ^ << >> < > == !=`` work lane by
lane, between lanes of one kind or with a number, and so do the functions here. There are four
kinds: float64, float32, uint64 and truths. The compiled code is LLVM's own vectors, which become
what the processor has (one register of AVX-512, two of AVX2, four of NEON) and compute bit by bit
what scalars would. With the JIT off lanes are numpy arrays of 8.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from ctr.kernels.options import JIT_DISABLED

LANES = 8

_LOW, _SIGN, _HALF = np.uint64(0xFFFFFFFF), np.uint64(1 << 63), np.uint64(32)

if JIT_DISABLED:

    def load(array: Any, i: Any) -> Any:
        """The elements of a uint64, float64 or float32 array from ``i`` on; float32 widened."""
        some = array[i : i + LANES]
        return some.astype(np.float64) if some.dtype == np.float32 else some.copy()

    def store(array: Any, i: Any, lanes: Any) -> None:
        """Put lanes into an array of their kind from ``i`` on."""
        array[i : i + LANES] = lanes

    def numbers() -> Any:
        """0 to 7 (uint64)."""
        return np.arange(LANES, dtype=np.uint64)

    def floats_of(words: Any) -> Any:
        """uint64 as the float64 of the same bits."""
        return words.view(np.float64)

    def words_of(floats: Any) -> Any:
        """float64 as the uint64 of the same bits."""
        return floats.view(np.uint64)

    def low_float(words: Any) -> Any:
        """The float32 in the lower halves of uint64."""
        return (words & _LOW).astype(np.uint32).view(np.float32)

    def high_float(words: Any) -> Any:
        """The float32 in the upper halves of uint64, without its sign."""
        return ((words & ~_SIGN) >> _HALF).astype(np.uint32).view(np.float32)

    def halves(low: Any, high: Any) -> Any:
        """uint64 of two float32, a lower and an upper half."""
        upper = high.view(np.uint32).astype(np.uint64) << _HALF
        return upper | low.view(np.uint32).astype(np.uint64)

    def signed(words: Any) -> Any:
        """Whether the highest bit of uint64 is set."""
        return (words & _SIGN) != 0

    def narrow(floats: Any) -> Any:
        """float64 as the nearest float32."""
        return floats.astype(np.float32)

    def widen(floats: Any) -> Any:
        """float32 as float64."""
        return floats.astype(np.float64)

    def magnitude(floats: Any) -> Any:
        """float64 without the sign."""
        return np.abs(floats)

    def square_root(floats: Any) -> Any:
        """The square roots of float32."""
        return np.sqrt(floats)

    def with_sign(floats: Any, of: Any) -> Any:
        """float64 >= 0 with the signs of others."""
        return np.copysign(floats, of)

    def where(truths: Any, a: Any, b: Any) -> Any:
        """``a`` where it is true, ``b`` elsewhere: two lanes, or one and a number."""
        return np.where(truths, a, b)

    def total(floats: Any) -> Any:
        """The sum of float64, added by halves."""
        while len(floats) > 1:
            half = len(floats) // 2
            floats = floats[:half] + floats[half:]
        return floats[0]

    def count(truths: Any) -> Any:
        """How many are true."""
        return int(np.count_nonzero(truths))

    def repeated(words: Any) -> bool:
        """Whether two lanes of uint64, all below 2^32, are equal."""
        return len(np.unique(words)) < LANES

else:
    from llvmlite import ir

    _I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))

    def vector(element: Any, length: int = LANES) -> Any:
        """LLVM's type of some elements side by side."""
        return ir.VectorType(element, length)

    class Lanes(types.Type):  # type: ignore[misc]
        """Numba's type of lanes with elements of numba's ``dtype``."""

        def __init__(self, dtype: Any) -> None:
            self.dtype = dtype
            super().__init__(f"lanes({dtype})")

    FLOATS, SINGLES = Lanes(types.float64), Lanes(types.float32)
    WORDS, TRUTHS = Lanes(types.uint64), Lanes(types.boolean)
    _ELEMENTS = {
        types.float64: ir.DoubleType(),
        types.float32: ir.FloatType(),
        types.uint64: _I64,
        types.boolean: _I1,
    }

    @register_model(Lanes)
    class _Model(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, vector(_ELEMENTS[kind.dtype]))

    def take(builder: Any, a: Any, b: Any, which: list[int]) -> Any:
        """Some elements of two vectors in any order (``shufflevector``)."""
        return builder.shuffle_vector(a, b, ir.Constant(vector(_I32, len(which)), which))

    def address(context: Any, builder: Any, kind: Any, array: Any, index: Any, of: Any) -> Any:
        """A pointer to ``array[index]``, unchecked; ``of`` is the index's numba type."""
        data = context.make_array(kind)(context, builder, array).data
        return builder.gep(data, [context.cast(builder, index, of, types.intp)])

    def _spread(builder: Any, x: Any) -> Any:
        one = builder.insert_element(ir.Constant(vector(x.type), ir.Undefined), x, _I32(0))
        return take(builder, one, one, [0] * LANES)

    def _operand(context: Any, builder: Any, x: Any, kind: Any, wanted: Any) -> Any:
        if isinstance(kind, Lanes):
            return x
        return _spread(builder, context.cast(builder, x, kind, wanted.dtype))

    def _define(sign: Any, of: dict[Any, Callable[..., Any]], result: Any = None) -> None:
        """Give lanes an operator: the instruction that it is for each kind."""

        class Typing(AbstractTemplate):  # type: ignore[misc]
            def generic(self, args: Any, kws: Any) -> Any:
                kinds = {arg for arg in args if isinstance(arg, Lanes)}
                if len(kinds) == 1 and (kind := kinds.pop()) in of:
                    return signature(result or kind, *args)
                return None

        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = next(arg for arg in sig.args if isinstance(arg, Lanes))
            pairs = zip(args, sig.args, strict=True)
            return of[kind](builder, *(_operand(context, builder, x, t, kind) for x, t in pairs))

        infer_global(sign)(Typing)
        for operands in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
            lower_builtin(sign, *operands)(lower)

    _B = ir.IRBuilder
    _define(operator.add, {FLOATS: _B.fadd, SINGLES: _B.fadd, WORDS: _B.add})
    _define(operator.sub, {FLOATS: _B.fsub, SINGLES: _B.fsub, WORDS: _B.sub})
    _define(operator.mul, {FLOATS: _B.fmul, SINGLES: _B.fmul, WORDS: _B.mul})
    _define(operator.truediv, {FLOATS: _B.fdiv, SINGLES: _B.fdiv})
    _define(operator.and_, {WORDS: _B.and_, TRUTHS: _B.and_})
    _define(operator.or_, {WORDS: _B.or_, TRUTHS: _B.or_})
    _define(operator.xor, {WORDS: _B.xor, TRUTHS: _B.xor})
    _define(operator.lshift, {WORDS: _B.shl})
    _define(operator.rshift, {WORDS: _B.lshr})

    def _comparison(name: str) -> dict[Any, Callable[..., Any]]:
        def floats(builder: Any, a: Any, b: Any) -> Any:
            return (builder.fcmp_unordered if name == "!=" else builder.fcmp_ordered)(name, a, b)

        def words(builder: Any, a: Any, b: Any) -> Any:
            return builder.icmp_unsigned(name, a, b)

        return {FLOATS: floats, SINGLES: floats, WORDS: words}

    _define(operator.lt, _comparison("<"), TRUTHS)
    _define(operator.gt, _comparison(">"), TRUTHS)
    _define(operator.eq, _comparison("=="), TRUTHS)
    _define(operator.ne, _comparison("!="), TRUTHS)

    def _function(result: Any, *kinds: Any) -> Callable[[Callable[..., Any]], Any]:
        """Make ``emit(builder, *args)`` a function of lanes of these kinds."""

        def decorate(emit: Callable[..., Any]) -> Any:
            def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                return emit(builder, *args)

            # the number of parameters is what numba looks at
            if len(kinds) == 1:
                return intrinsic(lambda typingctx, a: (result(*kinds), generate))
            if len(kinds) == 2:
                return intrinsic(lambda typingctx, a, b: (result(*kinds), generate))
            return intrinsic(lambda typingctx: (result(), generate))

        return decorate

    def _call(builder: Any, name: str, suffix: str, *args: Any) -> Any:
        kind = ir.FunctionType(args[0].type, [arg.type for arg in args])
        name = f"llvm.{name}.v{LANES}{suffix}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

    _DOUBLES, _FLOATS, _I64S, _I32S = map(vector, (ir.DoubleType(), ir.FloatType(), _I64, _I32))

    @intrinsic
    def load(typingctx: Any, array: Any, i: Any) -> Any:
        """The elements of a uint64, float64 or float32 array from ``i`` on; float32 widened."""
        single = array.dtype == types.float32

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = address(context, builder, sig.args[0], args[0], args[1], sig.args[1])
            at = builder.bitcast(at, vector(_ELEMENTS[array.dtype]).as_pointer())
            lanes = builder.load(at, align=4 if single else 8)
            return builder.fpext(lanes, _DOUBLES) if single else lanes

        return (WORDS if array.dtype == types.uint64 else FLOATS)(array, i), generate

    @intrinsic
    def store(typingctx: Any, array: Any, i: Any, lanes: Any) -> Any:
        """Put lanes into an array of their kind from ``i`` on."""

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = address(context, builder, sig.args[0], args[0], args[1], sig.args[1])
            at = builder.bitcast(at, args[2].type.as_pointer())
            builder.store(args[2], at, align=8)
            return context.get_dummy_value()

        return types.void(array, i, lanes), generate

    @intrinsic
    def where(typingctx: Any, truths: Any, a: Any, b: Any) -> Any:
        """``a`` where it is true, ``b`` elsewhere: two lanes, or one and a number."""
        kind = next((x for x in (a, b) if isinstance(x, Lanes)), FLOATS)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pairs = zip(args[1:], sig.args[1:], strict=True)
            chosen = [_operand(context, builder, x, t, kind) for x, t in pairs]
            return builder.select(args[0], *chosen)

        return kind(truths, a, b), generate

    @_function(WORDS)
    def numbers(b: Any) -> Any:
        """0 to 7 (uint64)."""
        return ir.Constant(_I64S, list(range(LANES)))

    @_function(FLOATS, WORDS)
    def floats_of(b: Any, words: Any) -> Any:
        """uint64 as the float64 of the same bits."""
        return b.bitcast(words, _DOUBLES)

    @_function(WORDS, FLOATS)
    def words_of(b: Any, floats: Any) -> Any:
        """float64 as the uint64 of the same bits."""
        return b.bitcast(floats, _I64S)

    @_function(SINGLES, WORDS)
    def low_float(b: Any, words: Any) -> Any:
        """The float32 in the lower halves of uint64."""
        return b.bitcast(b.trunc(words, _I32S), _FLOATS)

    @_function(SINGLES, WORDS)
    def high_float(b: Any, words: Any) -> Any:
        """The float32 in the upper halves of uint64, without its sign."""
        unsigned = b.and_(words, _spread(b, _I64((1 << 63) - 1)))
        return b.bitcast(b.trunc(b.lshr(unsigned, _spread(b, _I64(32))), _I32S), _FLOATS)

    @_function(WORDS, SINGLES, SINGLES)
    def halves(b: Any, low: Any, high: Any) -> Any:
        """uint64 of two float32, a lower and an upper half."""
        lower, upper = (b.zext(b.bitcast(half, _I32S), _I64S) for half in (low, high))
        return b.or_(b.shl(upper, _spread(b, _I64(32))), lower)

    @_function(TRUTHS, WORDS)
    def signed(b: Any, words: Any) -> Any:
        """Whether the highest bit of uint64 is set."""
        return b.icmp_signed("<", words, _spread(b, _I64(0)))

    @_function(SINGLES, FLOATS)
    def narrow(b: Any, floats: Any) -> Any:
        """float64 as the nearest float32."""
        return b.fptrunc(floats, _FLOATS)

    @_function(FLOATS, SINGLES)
    def widen(b: Any, floats: Any) -> Any:
        """float32 as float64."""
        return b.fpext(floats, _DOUBLES)

    @_function(FLOATS, FLOATS)
    def magnitude(b: Any, floats: Any) -> Any:
        """float64 without the sign."""
        return _call(b, "fabs", "f64", floats)

    @_function(SINGLES, SINGLES)
    def square_root(b: Any, floats: Any) -> Any:
        """The square roots of float32."""
        return _call(b, "sqrt", "f32", floats)

    @_function(FLOATS, FLOATS, FLOATS)
    def with_sign(b: Any, floats: Any, of: Any) -> Any:
        """float64 >= 0 with the signs of others."""
        return _call(b, "copysign", "f64", floats, of)

    @_function(types.float64, FLOATS)
    def total(b: Any, floats: Any) -> Any:
        """The sum of float64, added by halves."""
        half = LANES
        while half > 1:
            half //= 2
            low, high = list(range(half)), list(range(half, 2 * half))
            floats = b.fadd(take(b, floats, floats, low), take(b, floats, floats, high))
        return b.extract_element(floats, _I32(0))

    @_function(types.int64, TRUTHS)
    def count(b: Any, truths: Any) -> Any:
        """How many are true."""
        return b.zext(b.ctpop(b.bitcast(truths, ir.IntType(LANES))), _I64)

    @_function(types.boolean, WORDS)
    def repeated(b: Any, words: Any) -> Any:
        """Whether two lanes of uint64, all below 2^32, are equal."""
        words = b.trunc(words, _I32S)
        least = _spread(b, _I32(-1))
        for by in range(1, LANES // 2 + 1):
            turned = take(b, words, words, [(k + by) % LANES for k in range(LANES)])
            least = _call(b, "umin", "i32", least, b.xor(words, turned))
        bits, zeros = ir.IntType(LANES), _spread(b, _I32(0))
        return b.icmp_unsigned("!=", b.bitcast(b.icmp_unsigned("==", least, zeros), bits), bits(0))
