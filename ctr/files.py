"""A framed file: named, typed sections in one file that is whole or is refused.

Layout, little-endian: magic (8 bytes: 7 for the kind of file, 1 for its version), header length
(uint32), header (JSON: the sections' names, dtypes, shapes and whether a reader must know them,
plus free ``meta``), the sections' bytes one after the other (each at a multiple of 64), SHA-256
of all before it. Written to a temporary name, fsynced, renamed, and the directory fsynced: a
crash leaves the old file or the new one, never half of one. No pickle.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import DamagedFileError, IncompatibleError

_HEADER_LIMIT = 64 << 20
_ALIGN = 64
_DIGEST = 32
_KINDS = "biufSV"
"""Kinds of dtype that are plain bytes; ``V`` is a record of such fields."""


def write(
    path: Path,
    magic: bytes,
    meta: Mapping[str, Any],
    sections: Mapping[str, NDArray[Any]],
    optional: frozenset[str] = frozenset(),
) -> int:
    """Write ``path`` atomically and durably; returns its bytes.

    ``magic`` is 8 bytes; ``meta`` is JSON; a reader that does not know a section named in
    ``optional`` may pass over it. Raises OSError (a full disk) and then leaves no partial file,
    and ValueError or TypeError for what the format does not hold: arrays of objects, NaN in meta.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory) / "numbers"
    ...     size = write(path, b"EXAMPLE1", {"unit": "ms"}, {"times": np.arange(3)})
    ...     read(path, b"EXAMPLE1", frozenset({"times"}))
    ({'unit': 'ms'}, {'times': array([0, 1, 2])})
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        with temporary.open("wb") as file:
            size = _write_body(file, magic, meta, sections, optional)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return size


def temporary_name(name: str) -> str:
    """The name under which this process writes a file before it gets its own: ``.NAME.PID.tmp``."""
    return f".{name}.{os.getpid()}.tmp"


def read(
    path: Path, magic: bytes, known: frozenset[str] | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """``(meta, sections)`` of a file written by ``write``; the arrays may be written to.

    ``known`` names the sections that the caller can use; None means all. Raises DamagedFileError
    unless magic, lengths and digest are right, IncompatibleError for another version or a
    required section that is not in ``known``, and OSError.
    """
    return parse(np.fromfile(path, np.uint8), magic, known, str(path))


def read_meta(path: Path, magic: bytes) -> dict[str, Any]:
    """The ``meta`` of a file alone, quickly: nothing but magic and header is checked.

    Raises DamagedFileError, IncompatibleError and OSError as ``read`` does.
    """
    with path.open("rb") as file:
        start = file.read(12)
        if len(start) < 12 or start[:7] != magic[:7]:
            raise DamagedFileError(f"{path} is not a file of kind {magic[:7].decode()!r}")
        _check_version(start[7], magic, str(path))
        length = int.from_bytes(start[8:], "little")
        header = file.read(length) if length <= _HEADER_LIMIT else b""
    try:
        meta: dict[str, Any] = json.loads(header)["meta"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{path} is damaged: its header is wrong ({error})") from error
    return meta


def parse(
    content: NDArray[np.uint8],
    magic: bytes,
    known: frozenset[str] | None = None,
    name: str = "bytes",
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """``read`` for bytes (a uint8 array) already in memory; the arrays are views of ``content``."""
    body = len(content) - _DIGEST
    if body < 12 or content[:7].tobytes() != magic[:7]:
        raise DamagedFileError(f"{name} is not a file of kind {magic[:7].decode()!r}, or cut short")
    if hashlib.sha256(content[:body].data).digest() != content[body:].tobytes():
        raise DamagedFileError(f"{name} is damaged: its SHA-256 does not match its content")
    _check_version(content[7], magic, name)
    try:
        return _sections(content[:body], known, name)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        # only a hand-made file gets here: the digest is right and the header is not
        raise DamagedFileError(f"{name} is damaged: its header is wrong ({error})") from error


def _check_version(found: int, magic: bytes, name: str) -> None:
    if found != magic[7]:
        raise IncompatibleError(
            f"{name} has version {chr(found)!r} of its format and this ctr reads "
            f"{chr(magic[7])!r}: it was written by another version of ctr"
        )


def _sections(
    content: NDArray[np.uint8], known: frozenset[str] | None, name: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    length = int.from_bytes(content[8:12].tobytes(), "little")
    if length > _HEADER_LIMIT:
        raise ValueError(f"{length} bytes of header")
    header = json.loads(content[12 : 12 + length].tobytes())
    sections: dict[str, NDArray[Any]] = {}
    at = _aligned(12 + length)
    for section in header["sections"]:
        dtype = _dtype_from_json(section["dtype"])
        size = dtype.itemsize * math.prod(section["shape"])
        if not 0 <= size <= len(content) - at:
            raise ValueError(f"{size} bytes in section {section['name']!r}")
        if known is None or section["name"] in known:
            array = content[at : at + size].view(dtype).reshape(section["shape"])
            sections[section["name"]] = array
        elif section["required"]:
            raise IncompatibleError(
                f"{name} has the section {section['name']!r}, which this version does not know; "
                f"it was written by a later version of ctr"
            )
        at = _aligned(at + size)
    return header["meta"], sections


def sync_directory(directory: Path) -> None:
    """Make a rename in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_body(
    file: Any,
    magic: bytes,
    meta: Mapping[str, Any],
    sections: Mapping[str, NDArray[Any]],
    optional: frozenset[str],
) -> int:
    described = [
        {
            "name": name,
            "dtype": _dtype_to_json(array.dtype),
            "shape": list(array.shape),
            "required": name not in optional,
        }
        for name, array in sections.items()
    ]
    header = json.dumps({"meta": meta, "sections": described}, allow_nan=False).encode()
    if len(header) > _HEADER_LIMIT:
        raise ValueError(f"a header of {len(header)} bytes is over the limit of {_HEADER_LIMIT}")
    digest = hashlib.sha256()
    size = 0

    def put(part: Any) -> None:
        nonlocal size
        digest.update(part)
        file.write(part)
        size += len(part)

    put(magic + len(header).to_bytes(4, "little") + header)
    for array in sections.values():
        put(bytes(_aligned(size) - size))
        put(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    put(bytes(_aligned(size) - size))
    file.write(digest.digest())
    return size + _DIGEST


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _dtype_to_json(dtype: np.dtype[Any]) -> Any:
    described = [list(field) for field in dtype.descr] if dtype.names else dtype.str
    if _dtype_from_json(described) != dtype:
        raise TypeError(f"a reader would not get arrays of {dtype} back as they were")
    return described


def _dtype_from_json(value: Any) -> np.dtype[Any]:
    dtype = np.dtype([tuple(field) for field in value] if isinstance(value, list) else value)
    _check_dtype(dtype)
    return dtype


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise TypeError(f"arrays of {dtype} are not plain bytes")
