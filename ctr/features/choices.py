"""How to read one column of unknown events as a feature, and why; or why not to."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import Any, NamedTuple

from ctr.features.roles import LABELS, is_label, is_named, time_unit
from ctr.features.survey import Column, Number, Survey

_RARE = 0.01
_LEAK = 0.5
_ENOUGH_OF_EACH = 20
_SAMPLE = 1000
_LARGE = 10_000_000

_QUANTITIES = {
    *("age", "amount", "bid", "bytes", "cost", "count", "cpc", "cpm", "distance", "duration"),
    *("dwell", "latency", "length", "price", "qty", "quantity", "rate", "revenue", "score"),
    *("seconds", "size", "views", "visits"),
}
_RETURNING = {
    *("account", "ad", "advertiser", "app", "author", "banner", "brand", "campaign", "category"),
    *("city", "cookie", "creative", "customer", "device", "domain", "ip", "item", "keyword"),
    *("member", "page", "placement", "product", "publisher", "query", "site", "sku", "term"),
    *("user", "uid", "url", "visitor", "zip"),
}
_PASSING = {
    *("auction", "event", "guid", "hash", "impression", "log", "message", "request", "session"),
    *("token", "trace", "transaction", "uuid"),
}
"""Words in names: of amounts, of things that come again, and of things that do not."""


class Choice(NamedTuple):
    """How a column is read, why, and what of that has to be set."""

    proposed: str
    why: str = ""
    kind: str = ""
    exclude: bool = False


def choose(column: Column, survey: Survey, clicks: dict[int, bool]) -> Choice:
    """What to do with ``column``; ``clicks`` has the label of the events that have one."""
    return (
        _not_readable(column, survey)
        or _not_known_in_time(column, clicks)
        or _not_repeated(column)
        or _numeric(column)
        or _plain(column, survey)
    )


def tells_label(values: dict[int, Any], clicks: dict[int, bool]) -> float:
    """The share of the label's entropy that ``values`` (by event) explain, about 0 to 1.

    By progressive log loss: every event is predicted from those before it with the same value
    (or none), so that a column of ids, which explains all in hindsight, explains nothing.

    >>> clicks = {k: k % 4 == 0 for k in range(1000)}
    >>> round(tells_label({k: k % 2 for k in clicks}, clicks), 1)
    0.4
    >>> tells_label({k: k for k in clicks}, clicks) < 0.01
    True
    """
    known: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    seen, clicked, base_loss, loss = 0, 0, 0.0, 0.0
    for row, click in clicks.items():
        base = (clicked + 0.5) / (seen + 1)
        group = known[values.get(row)]
        p = (group[0] + base) / (group[1] + 1)
        base_loss -= math.log(base if click else 1 - base)
        loss -= math.log(p if click else 1 - p)
        seen, clicked = seen + 1, clicked + click
        group[0], group[1] = group[0] + click, group[1] + 1
    return 1 - loss / base_loss if base_loss else 0.0


def _group(value: Any) -> Any:
    """What a value is for ``tells_label``: numbers with a fraction by half-octave."""
    if isinstance(value, Number) and not value.is_integer:
        x = float(value)
        return ("bucket", round(2 * math.log2(x)) if 0 < x < math.inf else None)
    return str(value)


def _not_readable(column: Column, survey: Survey) -> Choice | None:
    count = column.kinds["unreadable"]
    if count < _RARE * len(survey.events) or 2 * count < len(column.values):
        return None
    why = "neither text, number nor an array of texts"
    return Choice("excluded", why, exclude=True)


def _not_known_in_time(column: Column, clicks: dict[int, bool]) -> Choice | None:
    if is_named(column, LABELS) and is_label(column):
        return Choice("excluded", "another outcome, known only after the event", exclude=True)
    clicked = sum(clicks.values())
    if min(clicked, len(clicks) - clicked, column.present) < _ENOUGH_OF_EACH:
        return None
    there = dict.fromkeys(column.rows, "there")
    values = dict(zip(column.rows, map(_group, column.values), strict=True))
    share = max(tells_label(there, clicks), tells_label(values, clicks))
    if share < _LEAK:
        return None
    why = f"tells {100 * share:.0f}% of the label by itself: most likely known only afterwards"
    return Choice("excluded", why, exclude=True)


def _not_repeated(column: Column) -> Choice | None:
    """Times, and ids of single events."""
    words, unit = _words(column.path), time_unit(column)
    timely = words & {"time", "timestamp", "ts", "date", "at", "datetime"}
    if unit == "text" or (unit and timely):
        why = "a time: hour and day of week are made of features.ts instead"
        return Choice("excluded", why, exclude=True)
    values = sum(column.texts.values())
    if column.unique < 0.95 or values < 100 or not words.isdisjoint(_QUANTITIES | _RETURNING):
        return None
    often = column.share("integer") > 0.5
    never_again = column.share("string") > 0.5 and column.unique == 1 and values >= _SAMPLE
    passing = column.share("string") > 0.5 and not words.isdisjoint(_PASSING)
    if not (often or never_again or passing):
        return None
    why = f"{column.distinct:,} different in {values:,}: an id of the event, nothing to learn from"
    return Choice("excluded", why, exclude=True)


def _numeric(column: Column) -> Choice | None:
    """Numbers of which the kind has to be set."""
    whole, other, text = (column.kinds[kind] for kind in ("integer", "float", "string"))
    quantity = not _words(column.path).isdisjoint(_QUANTITIES)
    if whole and other:
        if text > whole + other:
            return Choice("categorical", "text and numbers", "categorical")
        why = f"written as integer ({whole:,}) and with a fraction ({other:,})"
        return Choice("log_bucket", why, "log_bucket")
    if text and other:
        kind = "categorical" if text > other else "log_bucket"
        return Choice(kind, "text and numbers", kind)
    if whole and not text and quantity and column.distinct > 50:
        return Choice("log_bucket", "named like a quantity, with many values", "log_bucket")
    if whole and not text and column.numbers[-1] >= _LARGE and column.distinct > 1:
        return Choice("categorical", "large whole numbers: ids", "categorical")
    if other:
        return Choice("log_bucket", _of_buckets(column))
    return None


def _of_buckets(column: Column) -> str:
    if column.distinct > 1 and len({_group(value) for value in column.values}) == 1:
        return "all in one bucket: it tells nothing so; perhaps linear"
    return ""


def _plain(column: Column, survey: Survey) -> Choice:
    """Categories, as is the default for them."""
    if column.distinct == 1 and column.present == len(survey.events):
        return Choice("categorical", "the same in every event here")
    if column.kinds["bool"] and column.kinds["integer"]:
        return Choice("categorical", "true and 1 are different values")
    looks = column.kinds["integer"] and not column.kinds["string"] and column.distinct > 100
    if looks and 20 * column.numbers[len(column.numbers) // 2] < column.numbers[-1]:
        return Choice("categorical", "if it is a quantity and no id, set log_bucket")
    several = "array" in column.kinds
    return Choice("categorical", "several values at a time" if several else "")


def _words(path: str) -> set[str]:
    """The words of a path's last part: ``adId``, ``ad_id`` and ``ad-id`` are ad and id."""
    last = path.rsplit(".", 1)[-1]
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", last)}
