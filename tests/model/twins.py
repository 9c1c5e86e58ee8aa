"""Plain-Python twins: weights as a dictionary, a writer of encoded pages, strategies."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ctr.model.pages import Pages

from . import reader

BITS = 10
"""Of the tables most tests use: 16 pages."""

Weights = dict[int, float]

on_grid = st.integers(-32767, 32767).filter(bool).map(lambda n: n / 8192)
any_weight = st.floats(width=32, allow_nan=False, allow_infinity=False).filter(bool)
weight = st.one_of(on_grid, on_grid, any_weight)
coordinate = st.integers(0, 2**BITS - 1)


def pages_of(weights: Weights) -> dict[int, dict[int, float]]:
    """Page -> position -> value, in order."""
    pages: dict[int, dict[int, float]] = {}
    for c, value in sorted(weights.items()):
        pages.setdefault(c // 64, {})[c % 64] = value
    return pages


def pages_from(listed: Weights) -> Pages:
    pages = pages_of(listed)
    return Pages(
        np.array(list(pages), np.int64),
        np.array([sum(1 << j for j in page) for page in pages.values()], np.uint64),
        np.array([v for page in pages.values() for v in page.values()], np.float32),
    )


def listed_in(pages: Pages) -> Weights:
    return dict(zip(pages.coordinates().tolist(), pages.values.tolist(), strict=True))


def is_q213(value: float) -> bool:
    return (value * 8192).is_integer() and abs(value * 8192) <= 32767


def encode(
    pages: dict[int, dict[int, float]], encoding: str, version: int, part: int = 0, parts: int = 1
) -> bytes:
    structure, previous = bytearray(), -1
    values: list[float] = []
    for page, listed in sorted(pages.items()):
        gap, previous = page - previous - 1, page
        while gap >= 128:
            structure.append(gap % 128 + 128)
            gap //= 128
        structure += bytes([gap, len(listed)])
        if len(listed) < 8:
            structure += bytes(sorted(listed))
        else:
            structure += sum(1 << j for j in listed).to_bytes(8, "little")
        values += [listed[j] for j in sorted(listed)]
    if encoding == "float32":
        column = struct.pack(f"<{len(values)}f", *values)
    else:
        cells = [int(v * 8192) if is_q213(v) else -32768 for v in values]
        escapes = [v for v in values if not is_q213(v)]
        column = struct.pack(f"<{len(cells)}h{len(escapes)}f", *cells, *escapes)
    header = json.dumps(
        {
            "version": version,
            "pages": len(pages),
            "entries": len(values),
            "structure": len(structure),
            "columns": [{"name": "w", "encoding": encoding, "bytes": len(column)}],
            "part": part,
            "parts": parts,
        },
        separators=(",", ":"),
    ).encode()
    return struct.pack("<I", len(header)) + header + bytes(structure) + column


def digest(weights: Weights) -> int:
    return int(reader.digest(weights), 16)


def stored(arrays: Any) -> Weights:
    """The weights in a model's memory, read byte by byte as its layout is described.

    Also that chunks keep the promises: none over another, and what a lookup reads in one line.
    """
    layout, directory, octets, _ = (np.asarray(array) for array in arrays)
    shift, arena = int(layout[0]), octets.tobytes()
    weights: Weights = {}
    taken: set[int] = set(range(32))
    for page, unit in enumerate(directory.tolist()):
        if unit == 0:
            continue
        start = 2 * unit
        (head,) = struct.unpack_from("<H", arena, start)
        count, wide = head % 0x8000, head >= 0x8000
        at = start + 2
        if shift <= 4:
            (mask,) = struct.unpack_from("<H", arena, at)
            positions = [j for j in range(16) if mask >> j & 1]
            at += 2
        elif shift <= 8:
            positions = list(arena[at : at + count])
            at += count + count % 2
        else:
            positions = list(struct.unpack_from(f"<{count}H", arena, at))
            at += 2 * count
        assert count == len(positions) > 0
        assert positions == sorted(set(positions))
        assert positions[-1] < 2**shift
        raw = struct.unpack_from(f"<{count}{'f' if wide else 'h'}", arena, at)
        values = raw if wide else [v / 8192 for v in raw]
        end = at + count * (4 if wide else 2)
        if end - start <= 64:
            assert start // 64 == (max(end, start + 18) - 1) // 64
        else:
            assert start % 64 == 0
        units = set(range(unit, end // 2))
        assert not taken & units
        taken |= units
        weights |= {(page << shift) + j: v for j, v in zip(positions, values, strict=True)}
    return weights
