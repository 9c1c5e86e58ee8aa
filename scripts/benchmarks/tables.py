"""The rows of a benchmark as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.report import figure, spread_figure, table

Row = dict[str, Any]
_EVENTS = {
    "narrow": "10 features",
    "wide": "39 features",
    "uniform": "39, uniform",
    "broad": "200 features",
    "simulated": "the simulator's",
}


def by_part(rows: Iterable[Row]) -> dict[str, str]:
    """A titled table for each part that there are rows of."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["part"], []).append(row)
    return {part: TABLES[part](of_part) for part, of_part in found.items()}


def compared(title: str, beside: str) -> Callable[[list[Row]], str]:
    """Programs beside each other, and beside the one that is called ``beside`` in the head."""

    def text(rows: list[Row]) -> str:
        head = ["events", "program", "events/s", f"x {beside}", "CPU s a million", f"x {beside}"]
        head += ["peak MiB", "start s"]
        with_loss = any(row.get("log_loss") for row in rows)
        cells = []
        for row in rows:
            named = [described(row["stream"]), row["who"]]
            if "missing" in row:
                cells.append([*named, row["missing"], *[""] * (len(head) - 3 + with_loss)])
                continue
            loss = [f"{row['log_loss']:.5f}" if row["log_loss"] else "-"] if with_loss else []
            cells.append([*named, *_figures(row), *loss])
        return f"{title}\n\n{table(head + ['log loss'] * with_loss, cells)}"

    return text


def _figures(row: Row) -> list[str]:
    return [
        spread_figure(row["events_per_second"]),
        _median(row.get("rate_beside")),
        spread_figure(row["cpu_seconds_per_million"]),
        _median(row.get("cpu_beside")),
        _median(row["peak_mib"]),
        _median(row["start_seconds"]),
    ]


def _median(found: dict[str, float] | None) -> str:
    return figure(found["median"] if found else None)


def growing(
    title: str, what: str, first: str, per: str | None = None
) -> Callable[[list[Row]], str]:
    """What the cost of an event is, of more and more of ``what``, beside ``first``.

    ``per`` names what an event has so many of, to tell the cost of one.
    """

    def text(rows: list[Row]) -> str:
        head = [what, "events", "events/s", "CPU s a million", f"x {first}", "peak MiB"]
        cells = [
            [
                row["who"],
                figure(row["events"]),
                spread_figure(row["events_per_second"]),
                spread_figure(row["cpu_seconds_per_million"]),
                spread_figure(row.get("cpu_beside")),
                spread_figure(row["peak_mib"]),
            ]
            for row in rows
        ]
        if per:
            head.append(f"CPU ns a {per}")
            for row, cell in zip(rows, cells, strict=True):
                cell.append(
                    figure(1e3 * row["cpu_seconds_per_million"]["median"] / int(row["who"]))
                )
        return f"{title}\n\n{table(head, cells)}"

    return text


def started(rows: list[Row]) -> str:
    """Commands, and how long until they have done what they are started for."""
    head = ["command", "until", "seconds", "CPU seconds"]
    measures = ("seconds", "cpu_seconds")
    cells = [
        [row["command"], row["until"], *(spread_figure(row[name]) for name in measures)]
        for row in rows
    ]
    return f"Second starts:\n\n{table(head, cells)}"


def measured(title: str, scale: dict[str, float] | None = None) -> Callable[[list[Row]], str]:
    """Figures of each stream side by side; ``scale`` divides some of them."""

    def text(rows: list[Row]) -> str:
        names = [name for name in rows[0] if name not in ("part", "stream")]
        head = ["", *(described(row["stream"]) for row in rows)]
        cells = []
        for name in names:
            by = (scale or {}).get(name, 1.0)
            shown = [{k: value / by for k, value in row[name].items()} for row in rows]
            cells.append([name.replace("_", " "), *map(spread_figure, shown)])
        return f"{title}\n\n{table(head, cells)}"

    return text


def held(rows: list[Row]) -> str:
    """Models as a server holds them."""
    head = ["weights", "coordinates", "encoding", "bytes a weight", "after changes"]
    head += ["lookup, ns: hot", "cold", "MiB", "loading, MiB", "CPU s"]
    measures = ["bytes_a_weight", "most_bytes_a_weight", "hot_ns", "cold_ns"]
    measures += ["model_mib", "peak_mib", "load_seconds"]
    changes = (10_000, 100_000)
    for count in changes:
        head += [f"{count // 1000} k changes, ms: stage", "commit"]
        measures += [f"stage_{count}", f"commit_{count}"]
    cells = [
        [figure(row["weights"]["median"]), f"2^{row['bits']}", row["encoding"]]
        + [spread_figure(row.get(name)) for name in measures]
        for row in rows
    ]
    return f"Models as they are served:\n\n{table(head, cells)}"


def many(title: str) -> Callable[[list[Row]], str]:
    """Grids of more and more variants."""

    def share(found: dict[str, float] | None) -> str:
        return spread_figure(found and {key: 100 * value for key, value in found.items()})

    def text(rows: list[Row]) -> str:
        head = ["events", "variants", "events/s", "CPU s a million", "peak MiB"]
        head += ["one more: CPU, %", "one more: time, %"]
        cells = [
            [
                described(row["stream"]),
                str(row["variants"]),
                spread_figure(row["events_per_second"]),
                spread_figure(row["cpu_seconds_per_million"]),
                figure(row["peak_mib"]["median"]),
                share(row["one_more_cpu"]),
                share(row["one_more_wall"]),
            ]
            for row in rows
        ]
        return f"{title}\n\n{table(head, cells)}"

    return text


def rooflines(title: str) -> Callable[[list[Row]], str]:
    """What is reached of what the memory allows."""

    def share(row: Row, reached: str, allowed: str) -> str:
        return f"{row[reached]['median'] / row[allowed]['median']:.2f}"

    def text(rows: list[Row]) -> str:
        head = ["events", "keys, coordinates", "learn", "roofline", "share"]
        head += ["predict", "roofline", "share"]
        cells = [
            [
                described(row["stream"]),
                row["case"],
                spread_figure(row["learn"]),
                spread_figure(row["touch"]),
                share(row, "learn", "touch"),
                spread_figure(row["predict"]),
                spread_figure(row["look"]),
                share(row, "predict", "look"),
            ]
            for row in rows
        ]
        return f"{title}\n\n{table(head, cells)}"

    return text


_REQUESTS = {
    "one": "1 event",
    "candidates": "100 candidates",
    "events": "1,000 events",
}


def served(rows: list[Row]) -> str:
    """Servers beside each other, as fast as they can and at half of that."""
    head = ["a request", "server", "requests/s", "x echo", "predictions/s", "CPU µs", "p50 ms"]
    head += ["p99", "p99.9", "at half", "p50 ms", "p99", "p99.9", "peak MiB"]
    cells = [
        [
            _REQUESTS[row["request"]],
            row["who"],
            spread_figure(row["rate"]),
            _median(row["rate_beside"]),
            _median(row["predictions"]),
            _median(row["cpu_us"]),
            *(_median(row[name]) for name in ("p50", "p99", "p999")),
            *(_median(row[name]) for name in ("half_rate", "half_p50", "half_p99", "half_p999")),
            figure(row["peak_mib"]),
        ]
        for row in rows
    ]
    return f"Predictions over HTTP, a server on one core:\n\n{table(head, cells)}"


def described(stream: str) -> str:
    """A stream as its reader thinks of it.

    >>> described("wide, lz4")
    '39 features, lz4'
    """
    kind, comma, rest = stream.partition(",")
    return _EVENTS.get(kind, kind) + comma + rest


TABLES = {
    "file": compared("File -> model:", "VW"),
    "kafka": compared("Kafka -> model, the broker on the same cores:", "VW"),
    "grid": many("Many variants in one pass; one more, as a share of a run of its own:"),
    "scale-events": growing("More events of 10 features, a table of 2^22:", "events", "the first"),
    "scale-features": growing("More features an event:", "features", "1", "feature"),
    "scale-table": growing("Larger tables, events of 39 features:", "coordinates", "2^18"),
    "scale-partitions": growing("More partitions, events of 10 features:", "partitions", "1"),
    "start": started,
    "serve": served,
    "kernel": measured("The learner alone, events a CPU second:"),
    "roofline": rooflines("The learner beside its memory, events a CPU second:"),
    "parser": measured("The parser alone, a CPU second:"),
    "held": held,
    "stages": measured("Where the time of file -> model goes, CPU microseconds an event:"),
}
