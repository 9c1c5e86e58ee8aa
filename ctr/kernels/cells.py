"""Eight cells of a table at once: two words each, anywhere in it (see ``ctr.kernels.lanes``).

A cell is told by the place (uint64) of its first word in the flat array of a table's words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctr.kernels.lanes import LANES
from ctr.kernels.options import JIT_DISABLED
from ctr.kernels.table import PAGE_BITS, WORD_BITS, is_changed

_ONE = np.uint64(1)

if JIT_DISABLED:

    def load_cells(words: Any, places: Any, i: Any) -> Any:
        """The first and the second words of the cells at ``places[i:]``."""
        some = places[i : i + LANES]
        return words[some], words[some + _ONE]

    def store_cells(words: Any, places: Any, i: Any, first: Any, second: Any) -> None:
        """Put lanes of first and second words into the cells at ``places[i:]``."""
        some = places[i : i + LANES]
        words[some], words[some + _ONE] = first, second

    def ask_for_one(words: Any, keys: Any, i: Any, mask: Any) -> None:
        """Prefetch the cell of ``keys[i]``."""

    def ask_for_half(words: Any, keys: Any, i: Any, mask: Any) -> None:
        """Prefetch the cells of four keys from ``keys[i]`` on."""

    def all_changed(changed: Any, places: Any, i: Any) -> Any:
        """1 (uint64) if the pages of the cells at ``places[i:]`` are all noted as changed, or 0."""
        return is_changed(changed, places[i : i + LANES] >> _ONE).min()

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    from ctr.kernels.lanes import WORDS, address, take, vector
    from ctr.kernels.memory import emit_prefetch

    _I64 = ir.IntType(64)

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
            # those of even and those of odd lanes, each of which is one instruction
            cells = [
                take(b, args[3], args[4], [n + k for k in range(odd, LANES, 2) for n in (0, LANES)])
                for odd in (0, 1)
            ]
            for k in range(LANES):
                first = k // 2 * 2
                cell = take(b, cells[k % 2], cells[k % 2], [first, first + 1])
                b.store(cell, _cell(b, data, _element(b, at, k)), align=16)
            return context.get_dummy_value()

        return types.void(words, places, i, first, second), generate

    def _asks(count: int) -> Any:
        # into the second cache, as the first is too small for all that is on its way; and to be
        # read only: the line is this core's own all the same, and it costs less
        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = _start(context, b, sig, args, 0)
            at = address(context, b, sig.args[1], args[1], args[2], sig.args[2])
            for k in range(count):
                place = b.shl(b.and_(_element(b, at, k), args[3]), _I64(1))
                emit_prefetch(b, b.gep(data, [place]), write=False, locality=2)
            return context.get_dummy_value()

        return generate

    @intrinsic
    def ask_for_one(typingctx: Any, words: Any, keys: Any, i: Any, mask: Any) -> Any:
        """Prefetch the cell of ``keys[i]``."""
        return types.void(words, keys, i, mask), _asks(1)

    @intrinsic
    def ask_for_half(typingctx: Any, words: Any, keys: Any, i: Any, mask: Any) -> Any:
        """Prefetch the cells of four keys from ``keys[i]`` on."""
        return types.void(words, keys, i, mask), _asks(LANES // 2)

    @intrinsic
    def all_changed(typingctx: Any, changed: Any, places: Any, i: Any) -> Any:
        """1 (uint64) if the pages of the cells at ``places[i:]`` are all noted as changed, or 0."""

        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = _start(context, b, sig, args, 0)
            at = address(context, b, sig.args[1], args[1], args[2], sig.args[2])
            common = _I64(1)
            for k in range(LANES):
                page = b.lshr(_element(b, at, k), _I64(PAGE_BITS + 1))
                word = b.load(b.gep(data, [b.lshr(page, _I64(WORD_BITS))]))
                bit = b.and_(page, _I64((1 << WORD_BITS) - 1))
                common = b.and_(common, b.lshr(word, bit))
            return common

        return types.uint64(changed, places, i), generate
