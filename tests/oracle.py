"""The slow twin of the parser: json.loads and the rules of docs/events.md and docs/hashing.md.

Written from the two specifications, in Python integers and floats, one event at a time.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ctr.settings import Features

MASK = (1 << 64) - 1
K0, K1, K2 = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
TEXT, DOUBLE, BUCKET, LINEAR = range(4)
FLOAT32_MAX = (2.0**24 - 1) * 2.0**104


def step(h: int, word: int) -> int:
    h = ((h ^ word) * K1) & MASK
    return h ^ (h >> 32)


def finish(h: int, length: int) -> int:
    h ^= (length * K0) & MASK
    h = ((h ^ (h >> 33)) * K2) & MASK
    return h ^ (h >> 29)


def hash_bytes(content: bytes, seed: int) -> int:
    h = seed
    for k in range(0, len(content), 8):
        h = step(h, int.from_bytes(content[k : k + 8], "little"))
    return finish(h, len(content))


def feature_key(name: int, kind: int, value: int) -> int:
    rotated = ((value << 31) | (value >> 33)) & MASK
    k = ((name ^ rotated) + kind * K0) & MASK
    k = ((k ^ (k >> 32)) * K1) & MASK
    k = ((k ^ (k >> 29)) * K2) & MASK
    return (k ^ (k >> 32)) or 1


class Number(str):
    """A number as it is spelled."""


class Bad(Exception):
    """A bad event; the argument is its reason."""


@dataclass
class Row:
    label: float = 0.0
    weight: float = 1.0
    ts: int = 0
    keys: list[int] = field(default_factory=lambda: [0])
    values: list[float] = field(default_factory=lambda: [1.0])
    names: list[str] = field(default_factory=lambda: [""])


def read_record(
    record: bytes, spec: Features, timestamp: int = 0, predicting: bool = False
) -> list[Row | str | None]:
    """What becomes of each event of a record: a row, a reason, or None where it is skipped."""
    results: list[Row | str | None] = []
    for line in record.split(b"\n"):
        if line.strip(b" \t\r"):
            try:
                results.append(read_event(line, spec, timestamp, predicting))
            except Bad as bad:
                results.append(bad.args[0])
    if not results:
        return ["too_long" if len(record) > spec.max_event_bytes else "empty"]
    return results


def read_event(line: bytes, spec: Features, timestamp: int, predicting: bool) -> Row | None:
    pairs = well_formed(line, spec)
    reader = Reader(spec, timestamp, predicting)
    reader.members(pairs, [])
    return reader.finished()


def well_formed(line: bytes, spec: Features) -> list[tuple[str, Any]]:
    if len(line) > spec.max_event_bytes:
        raise Bad("too_long")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("utf8") from None
    if depth(text) > 32:
        raise Bad("depth")
    try:
        value = json.loads(
            text,
            object_pairs_hook=Pairs,
            parse_int=Number,
            parse_float=Number,
            parse_constant=refuse_constant,
        )
    except (ValueError, RecursionError):
        raise Bad("syntax") from None
    if has_surrogate(value):
        raise Bad("surrogate")
    if not isinstance(value, Pairs):
        raise Bad("not_object")
    names = [name for name, _ in value]
    if len(set(names)) < len(names):
        raise Bad("repeated_key")
    return value


class Pairs(list):  # type: ignore[type-arg]
    """The members of an object, in order."""


def refuse_constant(token: str) -> None:
    raise ValueError(token)


def depth(text: str) -> int:
    """The deepest nesting of brackets outside of strings."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*(?:"|\\?$)', "", text, flags=re.DOTALL)
    deepest = level = 0
    for c in outside:
        level += (c in "[{") - (c in "]}")
        deepest = max(deepest, level)
    return deepest


def has_surrogate(value: Any) -> bool:
    if isinstance(value, Pairs):
        return any(has_surrogate(name) or has_surrogate(inner) for name, inner in value)
    if isinstance(value, list):
        return any(map(has_surrogate, value))
    return isinstance(value, str) and any(0xD800 <= ord(c) < 0xE000 for c in value)


class Reader:
    def __init__(self, spec: Features, timestamp: int, predicting: bool) -> None:
        self.spec, self.seed, self.predicting = spec, spec.hash_seed, predicting
        self.row = Row(ts=timestamp)
        self.label: float | None = None
        self.columns: dict[str, list[int]] = {}

    # ---- members
    def members(self, pairs: Pairs, above: list[str]) -> None:
        for name, value in pairs:
            parts = [*above, name]
            role = self.role(parts)
            if role == "features":
                self.features(value)
            elif role is not None:
                if value is not None and (role == "ts" or not self.predicting):
                    getattr(self, f"read_{role}")(value)
            elif not self.spec.features:
                self.flat(parts, value)
            elif isinstance(value, Pairs) and self.leads_on(parts):
                self.members(value, parts)

    def features(self, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, Pairs):
            raise Bad("features")
        for name, inner in value:
            if self.is_feature([name]):
                self.feature([name], inner)

    def flat(self, parts: list[str], value: Any) -> None:
        reserved = [["served"], ["propensity"], ["position"], ["kind"]]
        if parts in reserved or any(same(parts, name) for name in self.spec.exclude):
            return
        if isinstance(value, Pairs):
            if self.is_feature(parts) or self.leads_on(parts):
                self.members(value, parts)
        elif self.is_feature(parts):
            self.feature(parts, value)

    def role(self, parts: list[str]) -> str | None:
        for role in ("label", "id", "ts", "weight", "features"):
            name = getattr(self.spec, role)
            if same(parts, name) and (name or role != "features"):  # "" is a flat event's spelling
                return role
        return None

    def leads_on(self, parts: list[str]) -> bool:
        """Whether something below is named in the specification."""
        spec = self.spec
        named = [spec.label, spec.id, spec.ts, spec.weight, spec.features, *spec.include]
        return any(name.split(".")[: len(parts)] == parts != name.split(".") for name in named)

    def is_feature(self, parts: list[str]) -> bool:
        if any(same(parts, name) for name in self.spec.exclude):
            return False
        prefixes = [parts[: k + 1] for k in range(len(parts))]
        if self.spec.features:
            return not self.spec.include or parts[0] in self.spec.include
        included = any(same(prefix, name) for prefix in prefixes for name in self.spec.include)
        return not self.spec.include or included

    # ---- fields
    def number(self, value: Any, reason: str) -> float:
        if not isinstance(value, Number) or len(value) > 64:
            raise Bad(reason)
        return float(value)

    def read_label(self, value: Any) -> None:
        x = float(value) if isinstance(value, bool) else self.number(value, "label")
        if x not in (0.0, 1.0):
            raise Bad("label")
        self.label = abs(x)

    def read_weight(self, value: Any) -> None:
        x = self.number(value, "weight")
        if not 1e-6 <= x <= 1e6:
            raise Bad("weight")
        self.row.weight = x

    def read_ts(self, value: Any) -> None:
        if not isinstance(value, Number) or not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise Bad("ts")
        self.row.ts = int(value)

    def read_id(self, value: Any) -> None:
        number = isinstance(value, Number)
        if not isinstance(value, str) or (number and not re.fullmatch(r"-?[0-9]+", value)):
            raise Bad("id")

    # ---- features
    def emit(self, key: int, x: float, name: str, crossable: bool = True) -> None:
        if len(self.row.keys) > self.spec.max_features:
            raise Bad("too_many_features")
        if crossable:
            self.columns.setdefault(name, []).append(len(self.row.keys))
        self.row.keys.append(key)
        self.row.values.append(x)
        self.row.names.append(name)

    def name_hash(self, parts: list[str]) -> int:
        h = hash_bytes(parts[0].encode(), self.seed)
        for part in parts[1:]:
            h = finish(step(step(K2, h), hash_bytes(part.encode(), self.seed)), 2)
        return h

    def feature(self, parts: list[str], value: Any) -> None:
        hashed, name = self.name_hash(parts), ".".join(parts)
        if value is None:
            return
        if isinstance(value, bool):
            value = "true" if value else "false"
        if isinstance(value, Pairs):
            raise Bad("nested")
        if isinstance(value, list):
            for item in value:
                if not isinstance(item, str) or isinstance(item, Number):
                    raise Bad("nested")
                self.text(hashed, item, name)
        elif isinstance(value, Number):
            self.numeric(hashed, value, name)
        else:
            self.text(hashed, value, name)

    def text(self, hashed: int, value: str, name: str) -> None:
        self.emit(feature_key(hashed, TEXT, hash_bytes(value.encode(), self.seed)), 1.0, name)

    def numeric(self, hashed: int, token: Number, name: str) -> None:
        kind = self.spec.columns.get(name, "auto")
        if len(token) > 64:
            raise Bad("number")
        if re.fullmatch(r"-?\d+", token) and kind in ("auto", "categorical"):
            self.text(hashed, str(token), name)
            return
        exact = float(token)
        x = float32(exact)
        if math.isinf(x):
            raise Bad("number")
        if kind == "categorical":
            bits = struct.unpack("<Q", struct.pack("<d", exact + 0.0))[0]
            value = finish(step(self.seed, bits), 8)
            self.emit(feature_key(hashed, DOUBLE, value), 1.0, name)
        elif kind == "linear":
            if abs(x) > self.spec.max_abs_value:
                raise Bad("value")
            if x != 0.0:
                self.emit(feature_key(hashed, LINEAR, 0), x, name)
        else:
            self.emit(feature_key(hashed, BUCKET, bucket(x) & MASK), 1.0, name)

    # ---- the end
    def finished(self) -> Row | None:
        if self.label is None and not self.predicting:
            if self.spec.on_missing_label == "skip":
                return None
            raise Bad("no_label")
        self.row.label = -1.0 if self.label is None else self.label
        self.time_features()
        for cross in self.spec.crosses:
            self.cross(cross)
        return self.row

    def time_features(self) -> None:
        seconds = self.row.ts // 1000
        first = int(datetime(1970, 1, 1, tzinfo=UTC).timestamp())
        last = int(datetime(2099, 12, 31, tzinfo=UTC).timestamp())
        known = datetime.fromtimestamp(
            min(max(seconds, first), last), ZoneInfo(self.spec.time_zone)
        )
        offset = known.utcoffset() or timedelta()
        local = seconds + int(offset.total_seconds())
        for name, value in (("hour", local // 3600 % 24), ("dow", (local // 86400 + 3) % 7)):
            if name in self.spec.time_features:
                full = f"{name}(ts)"
                self.text(hash_bytes(full.encode(), self.seed), str(value), full)

    def cross(self, names: list[str]) -> None:
        picks = [self.columns.get(name, []) for name in names]
        for combination in itertools.product(*picks):
            h, x = self.seed, 1.0
            for at in combination:
                h = step(h, self.row.keys[at])
                x *= self.row.values[at]
            x = float32(x)
            if abs(x) > self.spec.max_abs_value:
                raise Bad("value")
            if x != 0.0:
                self.emit(finish(h, len(names)) or 1, x, "*".join(names), crossable=False)


def same(parts: list[str], name: str) -> bool:
    """Whether ``name`` of the specification means this place: spelled out, or as a dotted path."""
    return parts == [name] or parts == name.split(".")


def float32(x: float) -> float:
    if abs(x) > FLOAT32_MAX:
        # what rounds to the largest float stays one
        return (
            math.copysign(math.inf, x)
            if abs(x) >= 2.0**128 - 2.0**103
            else math.copysign(FLOAT32_MAX, x)
        )
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def bucket(x: float) -> int:
    if x <= 0.0:
        return -(1 << 40)
    mantissa, exponent = math.frexp(x)
    return 2 * exponent + (mantissa >= math.sqrt(0.5))
