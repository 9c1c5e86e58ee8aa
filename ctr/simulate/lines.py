"""Impressions as lines of JSON, by putting prepared bytes together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.kernels.simulation import join_pieces
from ctr.simulate import words
from ctr.simulate.draws import mix
from ctr.simulate.impressions import SEGMENTS, Impressions
from ctr.simulate.settings import SimulatorSettings
from ctr.simulate.words import Choices, quoted
from ctr.types import Bytes, Int64, UInt64

_COUNTRIES, _GEO = words.places()
_COUNTRY, _CITY = Choices(quoted(_COUNTRIES)), Choices(_GEO)
_WEIGHT = Choices([',"weight":0.5', ',"weight":1.0', ',"weight":2.0', ""])
_SEGMENT = Choices(quoted([f"s{i}" for i in range(SEGMENTS)]))
_DEVICE = Choices(quoted(words.DEVICES))
_BROWSER = Choices([*quoted(words.BROWSERS), "null"])
_PLACEMENT = Choices(quoted(words.PLACEMENTS))
_CATEGORY = Choices(quoted(words.CATEGORIES))
_DIGIT = Choices(["0", "1"])
_BOOL = Choices(["false", "true", ""])
_TAG = Choices([*quoted(words.TAGS), ""])
_NEXT_TAG = Choices([*quoted(words.TAGS, ","), ""])
_HUNDREDTHS = Choices([f"{i:02d}" for i in range(100)])

_DIGITS = np.frombuffer(b"".join(b"%04d" % i for i in range(10_000)), np.uint32)
_HEX = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), np.uint16)
_POWERS = 10 ** np.arange(1, 16, dtype=np.int64)


class Pieces:
    """Rows of bytes under construction: every call adds a piece to each row."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._pools: list[Bytes] = []
        self._size = 0
        self._starts: list[Any] = []
        self._lengths: list[Any] = []

    def text(self, text: str) -> None:
        """The same text in all rows."""
        self.choice(Choices([text]), np.zeros(self._rows, np.int64))

    def choice(self, choices: Choices, index: Int64 | NDArray[np.int8]) -> None:
        """One of the texts in each row."""
        self._add(choices.pool, choices.starts[index], choices.lengths[index])

    def number(self, values: Int64) -> None:
        """Decimal digits of numbers in [0, 10^16)."""
        groups = np.empty((self._rows, 4), np.uint32)
        rest = values
        for column in (3, 2, 1, 0):
            rest, low = np.divmod(rest, 10_000)
            groups[:, column] = _DIGITS[low]
        lengths = 1 + np.searchsorted(_POWERS, values, side="right")
        self._add(
            groups.view(np.uint8).ravel(), np.arange(1, self._rows + 1) * 16 - lengths, lengths
        )

    def hexadecimal(self, values: UInt64) -> None:
        """16 hexadecimal digits."""
        digits = _HEX[values.view(np.uint8)].view(np.uint8)
        self._add(digits, np.arange(self._rows) * 16, np.full(self._rows, 16))

    def drop(self, since: int, rows: Any) -> None:
        """Take back, in the rows of a mask, the pieces added after the first ``since``."""
        for lengths in self._lengths[since:]:
            lengths[rows] = 0

    def __len__(self) -> int:
        return len(self._starts)

    def join(self) -> tuple[Bytes, Int64]:
        """The content of all rows, and int64 offsets of rows + 1."""
        starts, lengths = np.stack(self._starts, axis=1), np.stack(self._lengths, axis=1)
        content, offsets = join_pieces(np.concatenate(self._pools), starts, lengths)
        return content, offsets

    def _add(self, pool: Bytes, starts: Int64, lengths: Int64) -> None:
        self._pools.append(pool)
        self._starts.append(starts + self._size)
        self._lengths.append(lengths)
        self._size += len(pool)


Field = Callable[[Pieces, Impressions], None]


def _one_of(name: str, choices: Choices) -> Field:
    """A text from a table."""
    return lambda line, rows: line.choice(choices, getattr(rows, name))


def _numbered(name: str, before: str, after: str = '"') -> Field:
    """A number between two texts."""

    def field(line: Pieces, rows: Impressions) -> None:
        line.text(before)
        line.number(getattr(rows, name))
        line.text(after)

    return field


def _decimal(name: str) -> Field:
    """Hundredths, written with a point: a number that is not an integer token."""

    def field(line: Pieces, rows: Impressions) -> None:
        whole, hundredths = np.divmod(getattr(rows, name), 100)
        line.number(whole)
        line.text(".")
        line.choice(_HUNDREDTHS, hundredths)

    return field


def _page(line: Pieces, rows: Impressions) -> None:
    line.text('"/site')
    line.number(rows.site)
    line.text("/")
    line.number(rows.page)
    line.text('"')


def _tags(line: Pieces, rows: Impressions) -> None:
    line.text("[")
    line.choice(_TAG, rows.tags[0])
    line.choice(_NEXT_TAG, rows.tags[1])
    line.choice(_NEXT_TAG, rows.tags[2])
    line.text("]")


_FIELDS: dict[str, Field] = {
    "user": _numbered("user", '"u'),
    "segment": _one_of("segment", _SEGMENT),
    "country": _one_of("country", _COUNTRY),
    "device": _one_of("device", _DEVICE),
    "browser": _one_of("browser", _BROWSER),
    "session": lambda line, rows: line.number(rows.session),
    "visits": lambda line, rows: line.number(rows.visits),
    "site": _numbered("site", '"site', '.example"'),
    "page": _page,
    "placement": _one_of("placement", _PLACEMENT),
    "dwell": _decimal("dwell"),
    "ad": _numbered("ad", '"a'),
    "campaign": _numbered("campaign", '"c'),
    "category": _one_of("category", _CATEGORY),
    "price": _decimal("price"),
    "video": _one_of("video", _BOOL),
    "tags": _tags,
    "new": _one_of("new", _BOOL),
}


def write(
    settings: SimulatorSettings, rows: Impressions, labels: NDArray[np.int8]
) -> tuple[Bytes, Int64]:
    """The lines of the events, each with its newline: (content, int64 offsets of events + 1)."""
    line = Pieces(len(labels))
    line.text('{"id":"')
    line.hexadecimal(mix(rows.index, settings.seed + 4))
    line.text('","ts":')
    line.number(rows.ts)
    line.text(',"label":')
    line.choice(_DIGIT, labels)
    line.choice(_WEIGHT, np.minimum(rows.weight_draw * 60, 3).astype(np.int64))
    line.text(',"geo":')
    line.choice(_CITY, rows.city)
    line.text(',"features":{')
    opened = len(line)
    # the field that vanishes comes last, so that the commas are right without it
    gone = settings.vanish_field
    for name in [*(name for name in _FIELDS if name != gone), gone]:
        before = len(line)
        line.text(f',"{name}":' if len(line) > opened else f'"{name}":')
        _FIELDS[name](line, rows)
        if name == "video":  # not every event has it
            line.drop(before, rows.video == 2)
        if name == gone and settings.vanish_after is not None:
            line.drop(before, rows.index >= settings.vanish_after)
    line.text("}}\n")
    return line.join()
