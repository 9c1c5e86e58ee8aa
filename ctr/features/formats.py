"""The formats of events by name: the parser of each, and the settings that it brings along."""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from ctr.errors import SettingError
from ctr.features.columns import CRITEO_NUMBERS, Avazu, criteo
from ctr.features.libsvm import COLUMN, libsvm
from ctr.features.parser import Parser
from ctr.features.rewrite import RewritingParser
from ctr.features.vw import VWParser
from ctr.settings import Features
from ctr.types import Events, Records

__all__ = ["FORMATS", "EventParser", "make_parser", "make_parsers", "with_defaults"]

FORMATS = ("json", "vw", "libsvm", "criteo", "avazu")
"""Names of the formats that events are read in."""

_COMPILED = ("json", "vw")


class EventParser(Protocol):
    """What reads events: the JSON parser or that of another format."""

    def parse(self, records: Records) -> Events: ...

    @property
    def names(self) -> list[str]: ...


def make_parser(form: str, spec: Features) -> EventParser:
    r"""What reads events of the format ``form`` (``docs/events.md``), with its default settings.

    In all but JSON the names of keys in ``spec`` (``label``, ``features`` and so on) mean nothing.
    A parser of Avazu's rows remembers the header, so that each stream has one of its own.

    Raises SettingError for a format that there is none of, and for a ``spec`` that contradicts
    itself or the format.

    >>> parser = make_parser("libsvm", Features())
    >>> events = parser.parse(Records.of([b"+1 3:1 17:0.5", b"-1 3:1", b"-1 3:one"]))
    >>> events.batch.labels.tolist(), events.batch.values.tolist(), len(events.rejected)
    ([1.0, 0.0], [1.0, 1.0, 0.5, 1.0, 1.0], 1)
    """
    spec = with_defaults(form, spec)
    if form == "json":
        return Parser(spec)
    if form == "vw":
        return VWParser(spec)
    if form == "libsvm":
        if spec.columns:
            wanted = f"empty: the features of libsvm's text are one column, {COLUMN!r}"
            raise SettingError("features.columns", spec.columns, wanted)
        return RewritingParser(VWParser(spec), libsvm)
    rewrite = criteo(spec) if form == "criteo" else Avazu(spec)
    return RewritingParser(Parser(_default_keys(spec)), rewrite)


def make_parsers(form: str, spec: Features, count: int) -> list[EventParser]:
    """``count`` parsers of one stream, to be used on as many threads; raises as ``make_parser``.

    One alone for a format whose lines are rewritten in Python: that is never done by two threads at
    once, and a header would be met by one of them only.

    >>> [len(make_parsers(form, Features(), 3)) for form in ("json", "avazu")]
    [3, 1]
    """
    return [make_parser(form, spec) for _ in range(count if form in _COMPILED else 1)]


def with_defaults(form: str, spec: Features) -> Features:
    """``spec`` with what the format ``form`` says of columns of which ``spec`` says nothing.

    That is, the counts I1 to I13 of Criteo's rows are ``log_bucket``. SettingError for a format
    that there is none of.

    >>> with_defaults("criteo", Features(columns={"I1": "categorical"})).columns["I1"]
    'categorical'
    >>> with_defaults("criteo", Features()).columns["I13"]
    'log_bucket'
    """
    if form not in FORMATS:
        raise SettingError("format", form, f"one of {', '.join(FORMATS)}")
    if form != "criteo":
        return spec
    return replace(spec, columns=dict.fromkeys(CRITEO_NUMBERS, "log_bucket") | spec.columns)


def _default_keys(spec: Features) -> Features:
    default = Features()
    keys = ("features", "label", "id", "ts", "weight")
    return replace(spec, **{key: getattr(default, key) for key in keys})
