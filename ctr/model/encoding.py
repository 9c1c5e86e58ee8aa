"""Pages of weights as bytes that describe themselves: ``docs/model-format.md`` specifies them.

Nothing is rounded here: ``decode`` gives back what ``encode`` took.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ctr.errors import DamagedFileError, IncompatibleError
from ctr.kernels import encoding as kernels
from ctr.kernels.pages import STEP
from ctr.model.pages import ENCODINGS, Pages
from ctr.types import Float32

Data = bytes | memoryview

_ESCAPE = -32768
_LENGTH = 4
_WRONG = {
    kernels.TRUNCATED: "it ends in the middle of a page",
    kernels.TOO_LARGE: "a page number outside the table",
    kernels.NOT_ASCENDING: "coordinates of a page out of order",
    kernels.BAD_COUNT: "a page of more than 64 coordinates",
    kernels.TRAILING: "bytes after the last page",
}


class Column(msgspec.Struct, frozen=True):
    """One number a listed coordinate: its meaning, how it is encoded, its bytes."""

    name: str
    encoding: str
    bytes: int


class Header(msgspec.Struct, frozen=True):
    """What stands before encoded pages; further fields are passed over."""

    version: int
    pages: int
    entries: int
    structure: int
    columns: list[Column]
    part: int = 0
    parts: int = 1


_decode_header = msgspec.json.Decoder(Header).decode


def encode(pages: Pages, encoding: str, version: int = 0, part: int = 0, parts: int = 1) -> bytes:
    """``pages`` as bytes that describe themselves; nothing is rounded or clipped.

    "q2.13" writes numbers of that grid as int16 and any other as float32.
    """
    bound = np.empty(len(pages), np.int64)
    kernels.structure_bound(pages.masks, bound)
    structure = np.empty(int(bound.sum()), np.uint8)
    length = kernels.encode_structure(pages.ids, pages.masks, structure)
    column = _to_q213(pages.values) if encoding == "q2.13" else pages.values.astype("<f4").tobytes()
    header = msgspec.json.encode(
        Header(
            version=version,
            pages=len(pages),
            entries=len(pages.values),
            structure=length,
            columns=[Column("w", encoding, len(column))],
            part=part,
            parts=parts,
        )
    )
    size = len(header).to_bytes(_LENGTH, "little")
    return b"".join((size, header, structure[:length].tobytes(), column))


def split(pages: Pages, encoding: str, limit: int) -> list[Pages]:
    """``pages`` in parts whose encoded bytes stay below ``limit``, at least one part."""
    bound = np.empty(len(pages), np.int64)
    kernels.structure_bound(pages.masks, bound)
    ends = pages.ends()
    width = np.full(len(pages.values), 4, np.int64)
    if encoding == "q2.13":
        width = np.where(_on_grid(pages.values), 2, 6)
    sizes = np.cumsum(bound) + np.concatenate(([0], np.cumsum(width)))[ends]
    parts, first = [], 0
    while first < len(pages):
        done = int(sizes[first - 1]) if first else 0
        # 512 bytes are more than any header, and one page alone is always below any limit
        last = int(np.searchsorted(sizes, done + limit - 512, "right"))
        parts.append(pages.part(first, max(last, first + 1)))
        first = max(last, first + 1)
    return parts or [pages]


def read_header(data: Data) -> tuple[Header, int]:
    """The header of encoded pages and where it ends. Raises DamagedFileError."""
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or end > len(data):
        raise DamagedFileError(f"encoded pages are damaged: {len(data)} bytes hold no header")
    try:
        header = _decode_header(data[_LENGTH:end])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"encoded pages are damaged: header: {error}") from None
    sizes = [header.structure, *(column.bytes for column in header.columns)]
    if min(header.pages, header.entries, header.part, *sizes) < 0 or header.part >= header.parts:
        raise DamagedFileError("encoded pages are damaged: a header with impossible numbers")
    if end + sum(sizes) != len(data) or 2 * header.pages > header.structure:
        raise DamagedFileError("encoded pages are damaged: the header and the length differ")
    return header, end


def decode(data: Data, limit: int) -> tuple[Header, Pages]:
    """What ``encode`` wrote; page numbers must be below ``limit``. Safe for any bytes.

    Raises DamagedFileError for what no ``encode`` wrote, and IncompatibleError for an encoding
    that this version does not know. Columns other than ``w`` are passed over.
    """
    header, at = read_header(data)
    ids, masks = np.empty(header.pages, np.int64), np.empty(header.pages, np.uint64)
    structure = np.frombuffer(data, np.uint8, header.structure, at)
    wrong, entries = kernels.decode_structure(structure, limit, ids, masks)
    if wrong or entries != header.entries:
        raise DamagedFileError(
            f"encoded pages are damaged: {_WRONG.get(wrong, 'another count than the header says')}"
        )
    at += header.structure
    for column in header.columns:
        if column.name == "w":
            return header, Pages(ids, masks, _values(data, at, column, entries))
        at += column.bytes
    raise DamagedFileError("encoded pages are damaged: no column w")


def _on_grid(values: Float32) -> NDArray[np.bool_]:
    with np.errstate(over="ignore"):
        scaled = values / STEP
    on_grid: NDArray[np.bool_] = (np.abs(scaled) < -_ESCAPE) & (scaled == np.floor(scaled))
    return on_grid


def _to_q213(values: Float32) -> bytes:
    on_grid = _on_grid(values)
    cells = np.full(len(values), _ESCAPE, "<i2")
    cells[on_grid] = (values[on_grid] / STEP).astype("<i2")
    return cells.tobytes() + values[~on_grid].astype("<f4").tobytes()


def _values(data: Data, at: int, column: Column, entries: int) -> Float32:
    if column.encoding not in ENCODINGS:
        raise IncompatibleError(
            f"weights are encoded as {column.encoding!r}; this version reads {', '.join(ENCODINGS)}"
        )
    width = 2 if column.encoding == "q2.13" else 4
    if column.bytes < width * entries:
        raise DamagedFileError("encoded pages are damaged: fewer weights than coordinates")
    if width == 4:
        values, escaped = np.frombuffer(data, "<f4", entries, at).astype(np.float32), 0
    else:
        cells = np.frombuffer(data, "<i2", entries, at)
        escapes = cells == _ESCAPE
        escaped = int(escapes.sum())
        values = cells * STEP
        if column.bytes == 2 * entries + 4 * escaped:
            values[escapes] = np.frombuffer(data, "<f4", escaped, at + 2 * entries)
    if column.bytes != width * entries + 4 * escaped or not np.isfinite(values).all():
        raise DamagedFileError("encoded pages are damaged: weights that no encoder wrote")
    return values
