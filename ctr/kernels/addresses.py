"""Tuples of arrays, handed to a kernel by the address of a table of their addresses.

numba looks at every array of every tuple at every call: for those of the parser that takes longer
than to read and score an event. A caller with small work keeps a ``Table`` instead, and the kernel
makes the tuples of it, by the functions that ``readers`` returns. With the JIT off these have a
plain-Python twin.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import addressof, c_char
from itertools import accumulate
from typing import Any

import numpy as np
from numba import typeof, types
from numba.extending import intrinsic

from ctr.kernels.options import JIT_DISABLED

_WIDTH = 2  # slots of a field: an array's address and its length, or a number's bits and nothing


class Table:
    """Where the arrays of some tuples are, and their numbers; ``address`` is where that is told.

    ``examples`` are tuples of the same shape: arrays of one dimension (of any length) and numbers.
    What was put last is kept alive. To be changed only while no kernel reads it.

    >>> table = Table((np.zeros(0, np.int64), 0))
    >>> table.put(0, (np.arange(3), 7))
    >>> table.slots.tolist()[1:]
    [3, 7, 0]
    """

    def __init__(self, *examples: tuple[Any, ...]) -> None:
        self._examples = examples
        self._kept: list[tuple[Any, ...]] = list(examples)
        self._firsts = _firsts(examples)
        self.slots = np.zeros(self._firsts[-1], np.int64)
        self.address = int(self.slots.ctypes.data)
        for which, example in enumerate(examples):
            self.put(which, example)

    def put(self, which: int, values: tuple[Any, ...]) -> None:
        """Let the tuple number ``which`` be ``values``; TypeError for arrays of another kind."""
        slots: list[int] = []
        for value, like in zip(values, self._examples[which], strict=True):
            slots += _slots(value, like)
        first = self._firsts[which]
        self.slots[first : first + len(slots)] = slots
        self._kept[which] = values


def readers(*examples: tuple[Any, ...]) -> list[Callable[[int], Any]]:
    """For each of ``examples`` a function for kernels: the tuple in the ``Table`` at an address."""
    return [_reader(*pair) for pair in zip(examples, _firsts(examples)[:-1], strict=True)]


def _firsts(examples: tuple[tuple[Any, ...], ...]) -> list[int]:
    """The first slot of each, and their number."""
    return [0, *accumulate(_WIDTH * len(example) for example in examples)]


def _slots(value: Any, like: Any) -> tuple[int, int]:
    if not isinstance(like, np.ndarray):
        kind = _KINDS.get(type(like), np.int64)
        return int(np.array(value, kind).view(np.int64)), 0
    flags = value.flags
    if value.dtype != like.dtype or value.ndim != 1 or not flags.c_contiguous:
        raise TypeError(f"an array of {value.dtype}, and one of {like.dtype} is wanted")
    if not len(value) or not flags.writeable:
        return int(value.ctypes.data), len(value)
    return addressof(c_char.from_buffer(value)), len(value)  # in a quarter of the time


_KINDS: dict[type, Any] = {float: np.float64, np.uint64: np.uint64}
"""How a number's bits are told; all others as int64."""

if JIT_DISABLED:

    def _view(address: int, count: int, dtype: Any) -> Any:
        if count == 0:
            return np.zeros(0, dtype)
        memory = (ctypes.c_uint8 * (count * np.dtype(dtype).itemsize)).from_address(address)
        return np.frombuffer(memory, dtype)

    def _number(bits: Any, like: Any) -> Any:
        if isinstance(like, bool):
            return bool(bits)
        if isinstance(like, float):
            return float(bits.view(np.float64))
        return bits.view(np.uint64) if isinstance(like, np.uint64) else bits

    def _reader(example: tuple[Any, ...], first: int) -> Callable[[int], Any]:
        def read(address: int) -> Any:
            slots = _view(address + 8 * first, _WIDTH * len(example), np.int64)
            values = [
                _view(int(one), int(two), like.dtype)
                if isinstance(like, np.ndarray)
                else _number(one, like)
                for one, two, like in zip(slots[::_WIDTH], slots[1::_WIDTH], example, strict=True)
            ]
            make = getattr(type(example), "_make", tuple)
            return make(values)

        return read

else:
    from llvmlite import ir
    from numba.np.arrayobj import populate_array

    _I64, _F64 = ir.IntType(64), ir.DoubleType()

    def _array(context: Any, builder: Any, kind: Any, address: Any, length: Any) -> Any:
        element = context.get_data_type(kind.dtype)
        size = context.get_abi_sizeof(element)
        array = context.make_array(kind)(context, builder)
        data = builder.inttoptr(address, element.as_pointer())
        populate_array(array, data, [length], [_I64(size)], _I64(size), None)
        return array._getvalue()

    def _scalar(builder: Any, kind: Any, bits: Any) -> Any:
        if isinstance(kind, types.Boolean):
            return builder.icmp_unsigned("!=", bits, _I64(0))
        return builder.bitcast(bits, _F64) if isinstance(kind, types.Float) else bits

    def _reader(example: tuple[Any, ...], first: int) -> Callable[[int], Any]:
        kinds = typeof(example)

        @intrinsic
        def read(typingctx: Any, address: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                table = builder.inttoptr(args[0], _I64.as_pointer())

                def slot(k: int) -> Any:
                    return builder.load(builder.gep(table, [_I64(first + k)]))

                values = [
                    _array(context, builder, kind, slot(2 * k), slot(2 * k + 1))
                    if isinstance(kind, types.Array)
                    else _scalar(builder, kind, slot(2 * k))
                    for k, kind in enumerate(kinds)
                ]
                return context.make_tuple(builder, signature.return_type, values)

            return kinds(types.int64), generate

        read_any: Callable[[int], Any] = read
        return read_any
