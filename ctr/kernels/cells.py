"""Eight cells of a table at once: two words each, anywhere in it (see ``ctr.kernels.lanes``).

A cell is told by the place (uint64) of its first word in the flat array of a table's words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.lanes import LANES
from ctr.kernels.options import JIT_DISABLED
from ctr.kernels.table import CHANGED, PAGE_BITS

_ONE, _PAGE_SHIFT = np.uint64(1), np.uint64(PAGE_BITS + 1)

if JIT_DISABLED:

    def load_cells(words: Any, places: Any, i: Any) -> Any:
        """The first and the second words of the cells at ``places[i:]``."""
        some = places[i : i + LANES]
        return words[some], words[some + _ONE]

    def store_cells(words: Any, places: Any, i: Any, first: Any, second: Any) -> None:
        """Put lanes of first and second words into the cells at ``places[i:]``."""
        some = places[i : i + LANES]
        words[some], words[some + _ONE] = first, second

    def ask_for_half(words: Any, keys: Any, i: Any, mask: Any) -> None:
        """Prefetch the cells of four keys from ``keys[i]`` on."""

    def all_changed(flags: Any, places: Any, i: Any) -> bool:
        """Whether the pages of the cells at ``places[i:]`` are flagged as changed."""
        return bool((flags[places[i : i + LANES] >> _PAGE_SHIFT] & CHANGED).all())

else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ctr.kernels.lanes import WORDS, address, take, vector

    _I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))

    def _cell(builder: Any, words: Any, place: Any) -> Any:
        pointer = builder.gep(words, [place])
        return builder.bitcast(pointer, vector(_I64, 2).as_pointer())

    def _start(context: Any, builder: Any, sig: Any, args: Any, n: int) -> Any:
        """The data of array ``n`` of a signature."""
        return context.make_array(sig.args[n])(context, builder, args[n]).data

    def _element(builder: Any, pointer: Any, k: int) -> Any:
        return builder.load(builder.gep(pointer, [_I64(k)]))

    @intrinsic
    def load_cells(typingctx: Any, words: Any, places: Any, i: Any) -> Any:
        """The first and the second words of the cells at ``places[i:]``."""

        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = _start(context, b, sig, args, 0)
            at = address(context, b, sig.args[1], args[1], args[2], sig.args[2])
            cells = [b.load(_cell(b, data, _element(b, at, k)), align=16) for k in range(LANES)]
            while len(cells) > 1:
                both = list(range(2 * cells[0].type.count))
                pairs = zip(cells[::2], cells[1::2], strict=True)
                cells = [take(b, low, high, both) for low, high in pairs]
            every = cells[0]
            columns = [take(b, every, every, list(range(n, 2 * LANES, 2))) for n in (0, 1)]
            return context.make_tuple(b, sig.return_type, columns)

        return types.UniTuple(WORDS, 2)(words, places, i), generate

    @intrinsic
    def store_cells(
        typingctx: Any, words: Any, places: Any, i: Any, first: Any, second: Any
    ) -> Any:
        """Put lanes of first and second words into the cells at ``places[i:]``."""

        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = _start(context, b, sig, args, 0)
            at = address(context, b, sig.args[1], args[1], args[2], sig.args[2])
            for k in range(LANES):
                cell = take(b, args[3], args[4], [k, LANES + k])
                b.store(cell, _cell(b, data, _element(b, at, k)), align=16)
            return context.get_dummy_value()

        return types.void(words, places, i, first, second), generate

    @intrinsic
    def ask_for_half(typingctx: Any, words: Any, keys: Any, i: Any, mask: Any) -> Any:
        """Prefetch the cells of four keys from ``keys[i]`` on."""

        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = _start(context, b, sig, args, 0)
            at = address(context, b, sig.args[1], args[1], args[2], sig.args[2])
            pointer = cgutils.voidptr_t
            kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
            name = "llvm.prefetch.p0i8" if pointer.is_pointer else "llvm.prefetch"
            function = cgutils.get_or_insert_function(b.module, kind, name)
            for k in range(LANES // 2):
                place = b.shl(b.and_(_element(b, at, k), args[3]), _I64(1))
                cell = b.bitcast(b.gep(data, [place]), pointer)
                b.call(function, [cell, _I32(1), _I32(3), _I32(1)])
            return context.get_dummy_value()

        return types.void(words, keys, i, mask), generate

    @intrinsic
    def all_changed(typingctx: Any, flags: Any, places: Any, i: Any) -> Any:
        """Whether the pages of the cells at ``places[i:]`` are flagged as changed."""

        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = _start(context, b, sig, args, 0)
            at = address(context, b, sig.args[1], args[1], args[2], sig.args[2])
            common = _I8(CHANGED)
            for k in range(LANES):
                page = b.lshr(_element(b, at, k), _I64(PAGE_BITS + 1))
                common = b.and_(common, b.load(b.gep(data, [page])))
            return b.icmp_unsigned("!=", common, _I8(0))

        return types.boolean(flags, places, i), generate
