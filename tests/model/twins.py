"""Plain-Python twins: weights as a dictionary, a writer of encoded pages, strategies."""

from __future__ import annotations

import json
import struct

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
