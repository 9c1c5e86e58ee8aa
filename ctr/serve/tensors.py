"""Tensors as the Open Inference Protocol writes them, in JSON and in bytes."""

from __future__ import annotations

from math import prod
from typing import Any

from ctr.features.request import RequestError
from ctr.serve import answers
from ctr.types import Float32

MAX_DIMENSIONS = 8
"""Of a shape: the product of a million lengths is a number of a million digits."""

_PREFIX = 4


def elements(data: bytes, most: int, path: str) -> list[bytes]:
    """The elements of a binary BYTES tensor: each a length (four bytes, little-endian) and that
    many bytes. No more than ``most + 1`` are read. Raises RequestError (422) for a torn one.

    >>> elements(bytes([2, 0, 0, 0]) + b"{}", 10, "data")
    [b'{}']
    """
    found: list[bytes] = []
    at, size = 0, len(data)
    while at < size and len(found) <= most:
        start = at + _PREFIX
        at = start + int.from_bytes(data[at:start], "little")
        if start > size:
            raise RequestError(
                422, f"{path}[{len(found)}]", f"{_PREFIX - start + size} bytes", "a length of four"
            )
        if at > size:
            got = f"{size - start} bytes"
            raise RequestError(422, f"{path}[{len(found)}]", got, f"{at - start} bytes, its length")
        found.append(data[start:at])
    return found


def flat(data: list[Any], most: int, path: str) -> list[bytes]:
    """The elements of a BYTES tensor in JSON, nested by its shape or flat, in row-major order.

    No more than ``most + 1`` are read. Raises RequestError (422) for anything but strings and
    arrays of them.

    >>> flat([["{}"], ["[]"]], 10, "data")
    [b'{}', b'[]']
    """
    found: list[bytes] = []
    _flatten(data, most, path, MAX_DIMENSIONS, found)
    return found


def check_shape(shape: list[int], count: int, path: str) -> None:
    """Raise RequestError (422) unless ``shape`` is that of ``count`` elements."""
    if len(shape) > MAX_DIMENSIONS:
        got = f"{len(shape)} dimensions"
        raise RequestError(422, path, got, f"at most {MAX_DIMENSIONS} dimensions")
    if not shape or min(shape) < 0 or prod(shape) != count:
        wanted = f"lengths whose product is the number of elements, {count}"
        raise RequestError(422, path, str(shape), wanted)


def fp32(values: Float32) -> bytes:
    """float32[N] as a binary FP32 tensor: little-endian.

    >>> import numpy as np
    >>> fp32(np.array([1], np.float32)).hex()
    '0000803f'
    """
    return values.astype("<f4", copy=False).tobytes()


def _flatten(data: list[Any], most: int, path: str, depth: int, found: list[bytes]) -> None:
    for k, element in enumerate(data):
        if len(found) > most:
            return
        if isinstance(element, str):
            found.append(element.encode("utf-8", "replace"))
        elif isinstance(element, list) and depth > 1:
            _flatten(element, most, f"{path}[{k}]", depth - 1, found)
        else:
            got = answers.encode(element).decode()
            raise RequestError(422, f"{path}[{k}]", got, "the JSON of an event as a string")
