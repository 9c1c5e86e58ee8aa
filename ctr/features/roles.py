"""Which columns of unknown events are label, id, time and weight: by name and by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ctr.features.survey import Column, Number, Survey
from ctr.settings import Features

LABELS = (
    *("label", "click", "clicked", "isclick", "isclicked", "wasclicked", "clk", "y", "target"),
    *("conversion", "converted", "isconversion", "conv", "outcome", "response"),
    *("purchase", "purchased", "installed", "install"),
)
IDS = (
    *("id", "eventid", "impressionid", "impid", "requestid", "reqid", "auctionid", "bidid"),
    *("uuid", "guid", "messageid", "logid", "recordid", "rowid"),
)
TIMES = (
    *("ts", "timestamp", "eventtime", "eventts", "eventtimestamp", "tsms", "timems", "time"),
    *("unixtime", "datetime", "impressiontime", "requesttime", "servertime", "createdat", "date"),
)
WEIGHTS = ("weight", "importance", "sampleweight", "importanceweight", "exampleweight")
"""Names of the roles, the likelier first: lower case, letters and digits of a path's last part."""

_ENOUGH = 0.95
_FEW = 0.01
_UNITS = {"milliseconds": 1e3, "seconds": 1.0, "microseconds": 1e6, "nanoseconds": 1e9}
_FIRST, _LAST = 6e8, 5e9  # seconds: 1989 to 2128
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


@dataclass
class Roles:
    """The paths that were found, "" where there is none, and sentences about them."""

    label: str = ""
    id: str = ""
    ts: str = ""
    weight: str = ""
    notes: list[str] = field(default_factory=list)


def find_roles(survey: Survey) -> Roles:
    """The roles in a sample whose layout is known."""
    columns = list((survey.others if survey.holder else survey.columns).values())
    roles = Roles()
    roles.label = _find_label(columns, survey, roles.notes)
    rest = [column for column in columns if column.path != roles.label]
    roles.id = _first(rest, IDS, lambda column: _is_id(column, survey))
    roles.ts = _find_time(rest, survey, roles.notes)
    roles.weight = _first(rest, WEIGHTS, lambda column: _is_weight(column, survey))
    if roles.weight:
        roles.notes.append(
            f"{roles.weight} is taken as the importance of an event; if it is something else, set "
            "features.weight to a name that no event has."
        )
    return roles


def names_of(roles: Roles, survey: Survey) -> dict[str, str]:
    """A name for every role: the one found, the default, or one that no event has."""
    default = Features()
    taken = set(survey.others if survey.holder else survey.columns)
    taken |= {path.split(".")[0] for path in taken}
    names = {"features": survey.holder, "label": roles.label or default.label}
    for role in ("id", "ts", "weight"):
        name = getattr(roles, role) or getattr(default, role)
        while not getattr(roles, role) and name in taken:
            name = f"_{name}"
        names[role] = name
    return names


def is_label(column: Column) -> bool:
    """Whether (nearly) all values are 0, 1, true or false."""
    fit = sum(isinstance(v, bool) or _is_within(v, (0.0, 0.0), (1.0, 1.0)) for v in column.values)
    return fit >= _ENOUGH * len(column.values)


def is_named(column: Column, names: Iterable[str]) -> bool:
    return plain(column.path) in names


def plain(path: str) -> str:
    """The last part of a path, in lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", path.rsplit(".", 1)[-1].lower())


def time_unit(column: Column) -> str:
    """The unit of a column of times, "text" for dates as text, or "" for something else."""
    if column.share("string") >= _ENOUGH:
        dates = sum(bool(_DATE.fullmatch(text)) for text in column.texts)
        return "text" if dates >= _ENOUGH * column.distinct else ""
    if not column.numbers or column.share("integer", "float") < _ENOUGH:
        return ""
    middle = column.numbers[len(column.numbers) // 2]
    units = [unit for unit, size in _UNITS.items() if _FIRST <= middle / size <= _LAST]
    return units[0] if units else ""


def _find_label(columns: list[Column], survey: Survey, notes: list[str]) -> str:
    found = _first(columns, LABELS, is_label)
    if not found:
        both = [c for c in columns if c.path and is_label(c) and c.distinct >= 2]
        often = [c.path for c in both if 2 * c.present > len(survey.events)]
        if len(often) == 1:
            found = often[0]
            notes.append(f"{found} is taken as the label: it alone is 0 or 1 in every event.")
        else:
            notes.append(_no_label(columns, often))
    return found


def _no_label(columns: list[Column], often: list[str]) -> str:
    named = [column for column in columns if is_named(column, LABELS)]
    text = "No label was found: set features.label."
    if named:
        shown = f"{named[0].path} is named like one, but holds {named[0].example[:40]!r}"
        return f"{text} A label is 0, 1, true or false; {shown}."
    if often:
        return f"{text} {listed(often)} are 0 or 1 in every event."
    return f"{text} No column is 0 or 1 in every event."


def _find_time(columns: list[Column], survey: Survey, notes: list[str]) -> str:
    found = _first(columns, TIMES, _is_time)
    if not found:
        times = [c.path for c in columns if _is_time(c) and 0.9 * len(survey.events) <= c.present]
        found = times[0] if len(times) == 1 else ""
    if found:
        column = next(column for column in columns if column.path == found)
        known = [x / 1e3 for x in column.numbers if _FIRST <= x / 1e3 <= _LAST]
        first, last = (f"{datetime.fromtimestamp(t, UTC):%F %H:%M}" for t in (known[0], known[-1]))
        notes.append(f"Time of an event: {found}, here from {first} to {last} UTC.")
        return found
    for column in sorted(columns, key=lambda column: plain(column.path) not in TIMES):
        unit = time_unit(column)
        if unit and is_named(column, TIMES):
            written = "text" if unit == "text" else unit
            notes.append(
                f"{column.path} is a time written as {written}; only whole milliseconds since "
                "1970 are read as the time of an event. Without one it is the Kafka record's."
            )
            break
    return ""


def _is_time(column: Column) -> bool:
    return column.share("integer") >= _ENOUGH and time_unit(column) == "milliseconds"


def _is_id(column: Column, survey: Survey) -> bool:
    whole = column.share("string", "integer") >= _ENOUGH
    return whole and column.unique >= _ENOUGH and 2 * column.present >= len(survey.events)


def _is_weight(column: Column, survey: Survey) -> bool:
    fit = sum(_is_within(value, (1e-6, 1e6)) for value in column.values)
    others = len(column.values) - fit
    if fit <= others or others > max(0.05 * fit, _FEW * len(survey.events)):
        return False
    return 0.01 <= column.numbers[len(column.numbers) // 2] <= 100


def _is_within(value: object, *spans: tuple[float, float]) -> bool:
    return isinstance(value, Number) and any(a <= float(value) <= b for a, b in spans)


def _first(columns: list[Column], names: tuple[str, ...], fits: Callable[[Column], bool]) -> str:
    """The path of the fitting column with the likeliest name, "" if there is none."""
    ranked = sorted(
        (names.index(plain(column.path)), column.path.count("."), column.path)
        for column in columns
        if plain(column.path) in names and fits(column)
    )
    return ranked[0][2] if ranked else ""


def listed(paths: list[str]) -> str:
    return ", ".join(paths[:8]) + (" …" if len(paths) > 8 else "")
