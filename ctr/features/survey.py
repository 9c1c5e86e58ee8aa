"""What stands in lines of JSON that nobody has described: columns, their kinds and values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from ctr.kernels.rows import MAX_TOKEN
from ctr.kernels.verdict import DEPTH_LIMIT

KINDS = ("string", "integer", "float", "bool", "array", "unreadable")
"""Kinds of values; ``unreadable`` are objects where a value has to be, arrays of anything but
strings, and numbers too large or too long."""

HOLDERS = ("features", "feature", "feats")
_MOST_BYTES = 64 << 20
_LARGEST = 3.4028235e38


class Number(str):
    """A number as it is spelled."""

    __slots__ = ()

    @property
    def is_integer(self) -> bool:
        """Whether it is written as one."""
        return self.lstrip("-").isdecimal()


class Members(list[tuple[str, Any]]):
    """The members of an object, in their order."""


@dataclass
class Column:
    """The values of one name: ``values[i]`` stood in event number ``rows[i]``; null is left out."""

    path: str
    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, row: int, value: Any) -> None:
        self.rows.append(row)
        self.values.append(value)

    @cached_property
    def present(self) -> int:
        """Events that have it."""
        return len(set(self.rows))

    @cached_property
    def kinds(self) -> Counter[str]:
        """Values by kind."""
        return Counter(map(kind_of, self.values))

    @cached_property
    def texts(self) -> Counter[str]:
        """Values as text, those of arrays one by one."""
        items = (item if isinstance(item, list) else [item] for item in self.values)
        return Counter(_text(value) for several in items for value in several)

    @cached_property
    def numbers(self) -> list[float]:
        """The numbers among the values, in order of size."""
        return sorted(float(value) for value in self.values if isinstance(value, Number))

    @property
    def distinct(self) -> int:
        return len(self.texts)

    @property
    def unique(self) -> float:
        """Different values per value: 1 where none comes twice."""
        return self.distinct / max(sum(self.texts.values()), 1)

    @property
    def example(self) -> str:
        return _text(self.values[0])

    def share(self, *kinds: str) -> float:
        """Share of the values that are of these kinds."""
        return sum(self.kinds[kind] for kind in kinds) / len(self.values)


@dataclass(slots=True)
class Survey:
    """``events`` (JSON objects) of a sample, and the ``malformed`` lines beside them.

    ``columns`` are those that may be features; with a ``holder`` (the name of an object that
    holds the features) ``others`` are the keys outside it.
    """

    lines: list[bytes]
    events: list[Members]
    holder: str
    columns: dict[str, Column]
    others: dict[str, Column]

    @property
    def malformed(self) -> int:
        return len(self.lines) - len(self.events)

    def flattened(self) -> Survey:
        """The same events read as flat ones."""
        return _arranged(self.lines, self.events, "")


def survey(lines: Iterable[bytes], limit: int) -> Survey:
    """Look at the first ``limit`` lines that are not blank, or at their first 64 MiB."""
    kept: list[bytes] = []
    size = 0
    for line in islice((line for line in lines if line.strip()), limit):
        kept.append(line)
        size += len(line)
        if size > _MOST_BYTES:
            break
    events = [event for line in kept if (event := _read(line)) is not None]
    return _arranged(kept, events, _holder(events))


def kind_of(value: Any) -> str:
    """One of KINDS."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Number):
        if len(value) > MAX_TOKEN or abs(float(value)) > _LARGEST:
            return "unreadable"
        return "integer" if value.is_integer else "float"
    if isinstance(value, str):
        return "string"
    plain = not isinstance(value, Members) and all(type(item) is str for item in value)
    return "array" if plain else "unreadable"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    if isinstance(value, Number):
        return value
    if isinstance(value, Members):
        return "{" + ", ".join(f"{_json(name)}: {_json(inner)}" for name, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _read(line: bytes) -> Members | None:
    """The members of the object that a line is, or None."""
    try:
        event = json.loads(
            line.decode("utf-8"),
            object_pairs_hook=Members,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_refuse,
        )
        if not isinstance(event, Members) or _depth(event) > DEPTH_LIMIT:
            return None
        # halves of UTF-16 pairs are no text
        json.dumps(event, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    names = [name for name, _ in event]
    return event if len(set(names)) == len(names) else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _depth(value: Any) -> int:
    if not isinstance(value, list):
        return 0
    inner = (item[1] for item in value) if isinstance(value, Members) else value
    return 1 + max(map(_depth, inner), default=0)


def _holder(events: list[Members]) -> str:
    """The key whose object holds the features, or "" where events are flat."""
    for name in HOLDERS:
        inner = [event for event in events if isinstance(dict(event).get(name), Members)]
        if 2 * len(inner) > len(events):
            columns = _arranged([], inner, name).columns.values()
            nested = [
                c for c in columns if _is_mostly(c, Members) and 100 * len(c.rows) > len(inner)
            ]
            return "" if nested else name
    return ""


def _is_mostly(column: Column, kind: type) -> bool:
    return 2 * sum(isinstance(value, kind) for value in column.values) >= len(column.values)


def _arranged(lines: list[bytes], events: list[Members], holder: str) -> Survey:
    columns: dict[str, Column] = {}
    others: dict[str, Column] = {}
    for row, event in enumerate(events):
        outside = event
        if holder:
            outside = Members(member for member in event if member[0] != holder)
            inner = dict(event).get(holder)
            for path, value in inner if isinstance(inner, Members) else ():
                if value is not None:
                    columns.setdefault(path, Column(path)).add(row, value)
        target = others if holder else columns
        for path, value in _leaves(outside, ""):
            target.setdefault(path, Column(path)).add(row, value)
    return Survey(lines, events, holder, columns, others)


def _leaves(members: Members, above: str) -> Iterator[tuple[str, Any]]:
    """What is no object, by dotted path."""
    for name, value in members:
        path = f"{above}.{name}" if above else name
        if isinstance(value, Members):
            yield from _leaves(value, path)
        elif value is not None:
            yield path, value
