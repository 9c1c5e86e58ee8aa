"""Pages of weights as bytes that describe themselves: ``docs/model-format.md`` specifies them.

Nothing is rounded here: ``decode`` gives back what ``encode`` took.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    header, parts = decode_parts(data, limit, most=0)
    return header, Pages.joined(list(parts))


def decode_parts(data: Data, limit: int, most: int) -> tuple[Header, Iterator[Pages]]:
    """The same, ``most`` pages at a time (0: all at once), so that they need not all be in memory.

    The lengths are checked at once, so the header's counts are no more than the bytes there are;
    what else is wrong is found, and raised, when its part is read: until all parts are, none of
    them may be served.
    """
    header, at = read_header(data)
    structure = np.frombuffer(data, np.uint8, header.structure, at)
    at += header.structure
    for column in header.columns:
        if column.name == "w":
            weights = _Weights(data, at, column, header.entries)
            return header, _parts(structure, weights, header, limit, most)
        at += column.bytes
    raise DamagedFileError("encoded pages are damaged: no column w")


def _parts(
    structure: NDArray[np.uint8], weights: _Weights, header: Header, limit: int, most: int
) -> Iterator[Pages]:
    first, at, page, entries = 0, 0, -1, 0
    last = False
    while not last:
        count = min(most or header.pages, header.pages - first)
        first += count
        last = first == header.pages
        ids, masks = np.empty(count, np.int64), np.empty(count, np.uint64)
        wrong, listed, at, page = kernels.decode_structure(
            structure, at, page, limit, ids, masks, last
        )
        entries += listed
        if wrong or entries > header.entries or (last and entries != header.entries):
            problem = _WRONG.get(wrong, "another count than the header says")
            raise DamagedFileError(f"encoded pages are damaged: {problem}")
        yield Pages(ids, masks, weights.take(listed, last))


class _Weights:
    """The column ``w``, read from its beginning on."""

    def __init__(self, data: Data, at: int, column: Column, entries: int) -> None:
        if column.encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise IncompatibleError(
                f"weights are encoded as {column.encoding!r}; this version reads {known}"
            )
        dtype = np.dtype("<i2" if column.encoding == "q2.13" else "<f4")
        rest = column.bytes - dtype.itemsize * entries
        if rest < 0:
            raise DamagedFileError("encoded pages are damaged: fewer weights than coordinates")
        if rest % 4 or (rest and dtype.itemsize == 4):
            raise DamagedFileError("encoded pages are damaged: weights that no encoder wrote")
        self._cells = np.frombuffer(data, dtype, entries, at)
        self._escaped = np.frombuffer(data, "<f4", rest // 4, at + dtype.itemsize * entries)

    def take(self, count: int, last: bool) -> Float32:
        """The next ones, float32; ``last`` if none must be left."""
        cells, self._cells = self._cells[:count], self._cells[count:]
        if cells.dtype == np.float32:
            values = cells.astype(np.float32)
        else:
            escapes = cells == _ESCAPE
            escaped = int(escapes.sum())
            values = cells * STEP
            if escaped <= len(self._escaped):
                values[escapes] = self._escaped[:escaped]
            whole = escaped == len(self._escaped) if last else escaped <= len(self._escaped)
            self._escaped = self._escaped[escaped:]
            if not whole:
                raise DamagedFileError("encoded pages are damaged: weights that no encoder wrote")
        if not np.isfinite(values).all():
            raise DamagedFileError("encoded pages are damaged: weights that no encoder wrote")
        return values


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
