"""Settings for events that nobody has described: a look at some lines, and what it suggests."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ctr.config import convert
from ctr.features.choices import Choice, choose
from ctr.features.parser import REASONS, Parser
from ctr.features.roles import Roles, find_roles, listed, names_of
from ctr.features.survey import KINDS, Column, Number, Survey, survey
from ctr.settings import Features
from ctr.types import Records

LINES = 5000
"""Lines that are looked at, by default."""

_RARE = 0.01
_MISSING = 0.02
_SHOWN = 24
_MOST_ROWS = 100
_MANY_NAMES = 500
_MOST_CHOICES = 1000
_LIMITS = {"max_features": 65_536, "max_event_bytes": 1 << 28}
_RESERVED = ("served", "propensity", "position", "kind")


class Row(NamedTuple):
    """A row of the table: a column, what it holds, what is proposed for it, and why."""

    column: str
    kind: str
    present: str
    distinct: str
    example: str
    proposed: str
    why: str


@dataclass(frozen=True)
class Proposal:
    """Settings proposed for a file, and what they rest on.

    ``features`` are the settings, ``toml`` is the same as a file to start from, with the reasons.
    ``label`` is the label's path, "" if none was found. ``table`` has a row for each column,
    ``notes`` are sentences for the reader. Of the lines that were looked at, these settings read
    ``read`` and do not read ``rejected``, by reason. As a string it is a page of all that.
    """

    features: Features
    label: str
    table: tuple[Row, ...]
    notes: tuple[str, ...]
    toml: str
    read: int
    rejected: dict[str, int]

    def __str__(self) -> str:
        rows = [Row(*Row._fields), *self.table[:_MOST_ROWS]]
        widths = [max(len(row[k]) for row in rows) for k in range(len(Row._fields) - 1)]
        table = "\n".join(
            "  ".join([*map(str.ljust, row[:-1], widths), row.why]).rstrip() for row in rows
        )
        left = len(self.table) - _MOST_ROWS
        more = f"… and {left:,} more columns" if left > 0 else ""
        notes = "\n".join(
            textwrap.fill(note, 96, initial_indent="- ", subsequent_indent="  ")
            for note in self.notes
        )
        return "\n\n".join(part for part in (table, more, notes, self.toml) if part)


def propose(lines: Iterable[bytes], limit: int = LINES) -> Proposal:
    """Look at the first ``limit`` of ``lines`` (JSON, one event a line) and propose settings.

    Looks for the layout, the columns of label, id, time and weight, and for columns that should
    not be read as they come: ids that never come twice, numbers of mixed spelling, what is known
    only afterwards. Bad lines are passed over. The TOML has a ``[features]`` section that
    ``ctr.config`` loads.

    >>> lines = [b'{"clicked": %d, "ad": "a%d"}' % (k % 3 == 0, k % 7) for k in range(50)]
    >>> proposal = propose(lines)
    >>> proposal.label, proposal.features.features, proposal.read
    ('clicked', '', 50)
    >>> print(proposal.toml)
    [features]
    features = ""
    label = "clicked"
    """
    sample = survey(lines, limit)
    roles = find_roles(sample)
    if sample.holder and not roles.label:
        flat = sample.flattened()
        inner = find_roles(flat)
        if inner.label:
            sample, roles = flat, inner
    names = names_of(roles, sample)
    label = (sample.others if sample.holder else sample.columns).get(roles.label)
    clicks = _clicks(label) if label else {}
    features_only = [
        column
        for path, column in sample.columns.items()
        if not _is_role(path, names, sample) and not _is_reserved(path, sample)
    ]
    often = sorted(features_only, key=lambda column: column.present, reverse=True)
    choices = {column.path: choose(column, sample, clicks) for column in often[:_MOST_CHOICES]}
    toml = _toml(sample, roles, names, choices, clicks)
    features = convert(tomllib.loads(toml)["features"], Features, "features")
    events = Parser(features).parse(Records.of(sample.lines))
    counts = np.bincount(events.rejected.reasons, minlength=len(REASONS)).tolist()
    rejected = {REASONS[code]: count for code, count in enumerate(counts) if count}
    notes = _notes(sample, roles, clicks, rejected)
    table = _table(sample, names, choices)
    return Proposal(features, roles.label, table, notes, toml, len(events), rejected)


def _clicks(label: Column) -> dict[int, bool]:
    """Whether it was a click, by event, where the label can be read."""
    values = {
        row: float(value) if isinstance(value, bool | Number) else -1.0
        for row, value in zip(label.rows, label.values, strict=True)
    }
    return {row: value == 1.0 for row, value in values.items() if value in (0.0, 1.0)}


def _is_role(path: str, names: dict[str, str], sample: Survey) -> bool:
    return not sample.holder and path in names.values()


def _is_reserved(path: str, sample: Survey) -> bool:
    return not sample.holder and path.split(".")[0] in _RESERVED


def _toml(
    sample: Survey,
    roles: Roles,
    names: dict[str, str],
    choices: dict[str, Choice],
    clicks: dict[int, bool],
) -> str:
    default = Features()
    lines = ["[features]", f"features = {_quoted(names['features'])}"]
    unknown = "" if roles.label else "  # none was found"
    lines.append(f"label = {_quoted(names['label'])}{unknown}")
    for role in ("id", "ts", "weight"):
        if names[role] != getattr(default, role):
            why = "" if getattr(roles, role) else "  # a name that no event has"
            lines.append(f"{role} = {_quoted(names[role])}{why}")
    missing = len(sample.events) - len(clicks)
    if clicks and missing > _MISSING * len(sample.events):
        lines.append(f'on_missing_label = "skip"  # {missing:,} of {len(sample.events):,} here')
    if roles.ts:
        lines.append('time_features = ["hour", "dow"]')
    lines += _limits(sample, default)
    excluded = {path: choice.why for path, choice in choices.items() if choice.exclude}
    if excluded:
        lines += ["exclude = ["]
        lines += [f"    {_quoted(path)},  # {why}" for path, why in excluded.items()]
        lines += ["]"]
    kinds = {path: choice for path, choice in choices.items() if choice.kind}
    if kinds:
        lines += ["", "[features.columns]"]
        lines += [f'{_key(path)} = "{c.kind}"  # {c.why}' for path, c in kinds.items()]
    return "\n".join(lines) + "\n"


def _limits(sample: Survey, default: Features) -> list[str]:
    """Limits that more than a few events are over."""
    sizes = np.zeros(len(sample.events), np.int64)
    for column in sample.columns.values():
        for row, value in zip(column.rows, column.values, strict=True):
            sizes[row] += len(value) if isinstance(value, list) else 1
    found = {
        "max_features": sizes,
        "max_event_bytes": np.array([len(line) for line in sample.lines], np.int64),
    }
    lines = []
    for name, figures in found.items():
        over = int((figures > getattr(default, name)).sum())
        if over > _RARE * len(figures):
            wanted = min(1 << int(figures.max()).bit_length(), _LIMITS[name])
            lines.append(f"{name} = {wanted}  # {over:,} events here are over the default")
    return lines


def _notes(
    sample: Survey, roles: Roles, clicks: dict[int, bool], rejected: dict[str, int]
) -> tuple[str, ...]:
    events = len(sample.events)
    notes = [f"Lines looked at: {len(sample.lines):,}; JSON objects among them: {events:,}."]
    if sample.holder:
        notes.append(f"The features of an event are in its object {sample.holder}.")
        unread = [path for path in sample.others if path not in vars(roles).values()]
        if unread:
            notes.append(f"Outside of it and not read: {listed(unread)}.")
    else:
        notes.append("Events are flat: every key that is not excluded is a feature.")
        kept = [path for path in sample.columns if _is_reserved(path, sample)]
        if kept:
            notes.append(f"Reserved names, which are not read: {listed(kept)}.")
    if clicks:
        clicked = sum(clicks.values())
        notes.append(f"Label: {roles.label}, a click in {clicked / len(clicks):.2%} of the events.")
    notes += roles.notes
    if len(sample.columns) > _MANY_NAMES:
        notes.append(
            f"There are {len(sample.columns):,} different names. If they are ids rather than "
            'columns, make them values instead: "ads": ["a1", "a2"] and not "a1": 1, "a2": 1.'
        )
    if rejected:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items())
        notes.append(f"Not read with these settings: {counts}.")
    return tuple(notes)


def _table(sample: Survey, names: dict[str, str], choices: dict[str, Choice]) -> tuple[Row, ...]:
    roles = {path: role for role, path in names.items()}
    rows = []
    for columns, inside in ((sample.others, False), (sample.columns, True)):
        for path, column in columns.items():
            role = "" if sample.holder and inside else roles.get(path, "")
            unread = not inside or _is_reserved(path, sample)
            default = Choice("not read" if unread else "as it comes")
            choice = Choice(role) if role else choices.get(path, default)
            rows.append(_row(column, choice, len(sample.events)))
    return tuple(rows)


def _row(column: Column, choice: Choice, events: int) -> Row:
    # a rarer kind is that of a bad event
    often = [kind for kind in KINDS if column.share(kind) > 0.01]
    return Row(
        _printable(column.path, 40),
        " + ".join(often),
        f"{column.present / events:.1%}",
        f"{column.distinct:,}",
        _printable(column.example, _SHOWN),
        choice.proposed,
        choice.why,
    )


def _printable(text: str, most: int) -> str:
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(path: str) -> str:
    return path if re.fullmatch(r"[A-Za-z0-9_-]+", path) else _quoted(path)
