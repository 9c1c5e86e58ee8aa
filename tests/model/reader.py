"""A reader of the model's format in plain Python, written from ``docs/model-format.md`` alone."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from typing import Any

Weights = dict[int, float]


class Refused(Exception):
    """What no writer wrote, or one that knows more."""


def want(condition: bool, what: str) -> None:
    if not condition:
        raise Refused(what)


def read_pages(data: bytes) -> tuple[dict[str, Any], Weights]:
    """Encoded pages: the header, and coordinate -> value."""
    (length,) = struct.unpack_from("<I", data)
    header = json.loads(data[4 : 4 + length])
    at, page, listed = 4 + length, -1, []
    end = at + header["structure"]
    for _ in range(header["pages"]):
        gap = shift = 0
        while data[at] >= 128:
            gap, shift, at = gap | (data[at] & 127) << shift, shift + 7, at + 1
        page += (gap | data[at] << shift) + 1
        count, at = data[at + 1], at + 2
        if count < 8:
            positions, at = list(data[at : at + count]), at + count
        else:
            bitmap, at = int.from_bytes(data[at : at + 8], "little"), at + 8
            positions = [j for j in range(64) if bitmap >> j & 1]
        want(len(positions) == count and positions == sorted(set(positions)), "positions")
        listed += [64 * page + j for j in positions]
    want(at == end and len(listed) == header["entries"], "structure")
    for column in header["columns"]:
        if column["name"] == "w":
            values = read_column(data[at : at + column["bytes"]], column["encoding"], len(listed))
        at += column["bytes"]
    want(at == len(data), "length")
    return header, dict(zip(listed, values, strict=True))


def read_column(data: bytes, encoding: str, count: int) -> list[float]:
    if encoding == "float32":
        return list(struct.unpack(f"<{count}f", data))
    want(encoding == "q2.13", encoding)
    cells = struct.unpack_from(f"<{count}h", data)
    escapes = iter(struct.unpack(f"<{cells.count(-32768)}f", data[2 * count :]))
    return [next(escapes) if cell == -32768 else cell / 8192 for cell in cells]


def mix64(x: int) -> int:
    ones = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & ones
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & ones
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & ones
    return x ^ (x >> 31)


def digest(weights: Weights) -> str:
    total = 0
    for c, value in weights.items():
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        total += mix64(c << 32 | bits)
    return f"{total % 2**64:016x}"


def check(manifest: dict[str, Any], weights: Weights) -> None:
    want(manifest["format"] <= 1 and not manifest["requires"], "a later version")
    want((manifest["nonzero"], manifest["digest"]) == (len(weights), digest(weights)), "sums")


def read_snapshot(data: bytes) -> tuple[dict[str, Any], Weights]:
    want(data[:8] == b"CTRMODL1", "magic")
    want(hashlib.sha256(data[:-32]).digest() == data[-32:], "SHA-256")
    (length,) = struct.unpack_from("<I", data, 8)
    header = json.loads(data[12 : 12 + length])
    (section,) = header["sections"]
    at = -(-(12 + length) // 64) * 64
    (size,) = section["shape"]
    _, weights = read_pages(data[at : at + size])
    check(header["meta"], weights)
    return header["meta"], weights


def read_topic(records: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, Any], Weights]:
    """The version that is there when all of a topic has been read; it never held anything."""
    last = {key.decode(): value for key, value in records}
    manifest = json.loads(last["Manifest"])

    def read(key: str, version: int | None) -> tuple[int, Weights]:
        header, weights = read_pages(last[f"{key}/0"])
        want(version in (None, header["version"]), f"{key} is of another version")
        for part in range(1, header["parts"]):
            more, values = read_pages(last[f"{key}/{part}"])
            want(more["version"] == header["version"], "a part of another version")
            weights |= values
        return header["version"], weights

    blocks = [read(f"Block/0/{b}", None) for b in range(manifest["blocks"])]
    weights: Weights = {}
    for _, content in blocks:
        weights |= content
    for version in range(min(v for v, _ in blocks) + 1, manifest["version"] + 1):
        weights |= read(f"Delta/0/{version % manifest['ring']}", version)[1]
    weights = {c: value for c, value in weights.items() if value}
    check(manifest, weights)
    return manifest, weights
