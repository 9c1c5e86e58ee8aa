"""Rows of columns, Criteo's and Avazu's, rewritten as the project's JSON events."""

from __future__ import annotations

import csv
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter

from ctr.settings import Features

__all__ = ["AVAZU", "CRITEO", "CRITEO_NUMBERS", "Avazu", "Row", "criteo", "number"]

CRITEO_NUMBERS = tuple(f"I{k}" for k in range(1, 14))
CRITEO = ("label", *CRITEO_NUMBERS, *(f"C{k}" for k in range(1, 27)))
AVAZU = (
    *("id", "click", "hour", "C1", "banner_pos", "site_id", "site_domain", "site_category"),
    *("app_id", "app_domain", "app_category", "device_id", "device_ip", "device_model"),
    *("device_type", "device_conn_type", *(f"C{k}" for k in range(14, 22))),
)

Convert = Callable[[bytes], bytes]
Member = tuple[str, Convert | None]

_MANY = 1 << 16
_ABSENT, _WRONG = b"null", b'"?"'
_UNREADABLE = b"9" * 65  # longer than any number that is read
_LABELS = {b"": _ABSENT, b"0": b"0", b"1": b"1"}
_SPECIAL = bytes(range(32)) + b'"\\'
_ODD = {delimiter: _SPECIAL.replace(delimiter, b"") for delimiter in (b"\t", b",")}
_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')
_JSON_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(rb"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Row:
    """Makes an event of the fields of a row.

    ``names`` are those of the columns. ``members`` says which of them are members of the event
    itself, under what key, and how their text becomes JSON; the others are its features: those
    that ``spec.columns`` has as ``log_bucket`` or ``linear`` are numbers, all others text. An
    empty field is null.

    >>> row = Row(["click", "ad", "price"], {"click": ("label", label)},
    ...           Features(columns={"price": "linear"}))
    >>> row([b"1", b"a9", b".5"])
    b'{"label":1,"features":{"ad":"a9","price":0.5}}'
    >>> row([b"0", b"", b"cheap"])[:44]
    b'{"label":0,"features":{"ad":null,"price":999'
    """

    def __init__(
        self,
        names: Sequence[str],
        members: Mapping[str, tuple[str, Convert | None]],
        spec: Features,
    ) -> None:
        self.width = len(names)
        order = sorted(range(len(names)), key=lambda k: names[k] not in members)
        self._pick = itemgetter(*order) if order != list(range(len(names))) else None
        self._converted: list[tuple[int, Convert]] = []
        heads: list[bytes] = []
        features: list[bytes] = []
        for at, name in enumerate(names[k] for k in order):
            key, convert = members.get(name, (name, None))
            if name not in members and spec.columns.get(name, "categorical") != "categorical":
                convert = number
            if convert is not None:
                self._converted.append((at, convert))
            value = b'"%b"' if convert is None else b"%b"
            spelled = json.dumps(key, ensure_ascii=False).encode().replace(b"%", b"%%")
            (heads if name in members else features).append(spelled + b":" + value)
        heads.append(b'"features":{' + b",".join(features) + b"}")
        self._template = b"{" + b",".join(heads) + b"}"

    def __call__(self, fields: Sequence[bytes]) -> bytes:
        """The event of as many fields as there are columns, fit to be put between quotes."""
        values = list(fields if self._pick is None else self._pick(fields))
        for at, convert in self._converted:
            values[at] = convert(values[at])
        # a colon and two quotes: nothing else than an empty field is spelled so
        return (self._template % tuple(values)).replace(b':""', b":null")


def criteo(spec: Features) -> Callable[[bytes], bytes]:
    r"""What rewrites rows of the Criteo data sets, with or without the label.

    >>> rewrite = criteo(Features())
    >>> event = rewrite(b"\t".join([b"1", b"5", *[b""] * 37, b"68fd1e64"]))
    >>> event[:36], event[-30:]
    (b'{"label":1,"features":{"I1":"5","I2"', b',"C25":null,"C26":"68fd1e64"}}')
    """
    whole = Row(CRITEO, {"label": ("label", label)}, spec)
    unlabelled = Row(CRITEO[1:], {}, spec)

    def rewrite(line: bytes) -> bytes:
        if not _is_utf8(line):
            return unread(line)
        fields = _escaped(line, line.split(b"\t"), b"\t")
        if len(fields) == whole.width:
            return whole(fields)
        return unlabelled(fields) if len(fields) == unlabelled.width else unread(line)

    return rewrite


class Avazu:
    """Rewrites rows of the Avazu data set; the header that was met last names their columns.

    Before there was a header they are those of the published file. A header has a column ``hour``
    and one of ``id`` and ``click``, wherever it comes.

    >>> rewrite = Avazu(Features())
    >>> rewrite(b"id,click,hour,site_id")
    >>> rewrite(b"1009,0,14102100,1fbe01fe")
    b'{"id":"1009","label":0,"ts":1413849600000,"features":{"site_id":"1fbe01fe"}}'
    """

    def __init__(self, spec: Features) -> None:
        self._spec = spec
        self._row = Row(AVAZU, _AVAZU_MEMBERS, spec)

    def __call__(self, line: bytes) -> bytes | None:
        line = line.removeprefix(BOM_UTF8)
        if not _is_utf8(line):
            return unread(line)
        try:
            fields = _comma_separated(line)
        except csv.Error:
            return unread(line)
        if b"hour" in line and (header := _header(fields)):
            self._row = Row(header, _AVAZU_MEMBERS, self._spec)
            return None
        if len(fields) != self._row.width:
            return unread(line)
        return self._row(_escaped(line, fields, b","))


def unread(line: bytes) -> bytes:
    """A line that is never JSON: a string without an end, with the bytes of ``line`` in it.

    >>> unread(b'{"label":1}')
    b'"{\\\\u0022label\\\\u0022:1}'
    """
    return b'"' + _ESCAPED.sub(_escape, line)


def label(text: bytes) -> bytes:
    """0, 1 or nothing, as JSON; another label is no label."""
    return _LABELS.get(text, _WRONG)


@lru_cache(_MANY)
def hour(text: bytes) -> bytes:
    """YYMMDDHH, in UTC, as milliseconds since the epoch.

    >>> hour(b"14102100"), hour(b"14102124")
    (b'1413849600000', b'"?"')
    """
    if not text:
        return _ABSENT
    if len(text) != 8 or not text.isdigit():
        return _WRONG
    year, month, day, of_day = (int(text[k : k + 2]) for k in range(0, 8, 2))
    try:
        start = datetime(2000 + year, month, day, of_day, tzinfo=UTC)
    except ValueError:
        return _WRONG
    return b"%d" % (int(start.timestamp()) * 1000)


@lru_cache(_MANY)
def number(text: bytes) -> bytes:
    """A decimal number as JSON spells it: "" is null, no number one that is too long to be read.

    >>> [number(text) for text in (b"12", b"+1", b".5", b"-007.", b"")]
    [b'12', b'1', b'0.5', b'-7', b'null']
    """
    if not text:
        return _ABSENT
    if _JSON_NUMBER.fullmatch(text):
        return text
    found = _DECIMAL.fullmatch(text)
    if not found:
        return _UNREADABLE
    sign, digits, exponent = found.groups(b"")
    whole, _, fraction = digits.partition(b".")
    spelled = (whole.lstrip(b"0") or b"0") + (b"." + fraction if fraction else b"") + exponent
    return b"-" + spelled if sign == b"-" else spelled


_AVAZU_MEMBERS: dict[str, Member] = {
    "id": ("id", None),
    "click": ("label", label),
    "hour": ("ts", hour),
}


def _header(fields: list[bytes]) -> list[str] | None:
    """The names of the columns, if that is what the fields are."""
    if b"hour" not in fields or not (b"id" in fields or b"click" in fields):
        return None
    return [field.decode() for field in fields]


def _is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _comma_separated(line: bytes) -> list[bytes]:
    """The fields of a line of CSV; csv.Error for quotes that make no sense."""
    if b'"' not in line:
        return line.split(b",")
    (fields,) = csv.reader([line.decode()], strict=True)
    return [field.encode() for field in fields]


def _escaped(line: bytes, fields: list[bytes], delimiter: bytes) -> list[bytes]:
    """The fields of ``line`` as they are spelled between quotes in JSON."""
    if len(line.translate(None, _ODD[delimiter])) == len(line):
        return fields
    return [_ESCAPED.sub(_escape, field) for field in fields]


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % found[0][0]
