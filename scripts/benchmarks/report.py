"""Numbers for people: medians with their spread, tables, JSON, the blocks of docs/speed.md."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import ROOT

PAGE = ROOT / "docs" / "speed.md"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed (nearest rank).

    >>> percentile([3.0, 1.0, 2.0], 0.5), percentile([1.0, 2.0], 0.99)
    (2.0, 2.0)
    """
    ranked = sorted(values)
    return ranked[max(0, min(len(ranked) - 1, -int(-share * len(ranked) // 1) - 1))]


def figure(value: float | None) -> str:
    """Three significant digits, with thousands or millions named.

    >>> figure(1234567), figure(46_912), figure(0.01234), figure(None)
    ('1.23 M', '46.9 k', '0.0123', '-')
    """
    if value is None:
        return "-"
    for size, unit in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            scaled = value / (1e6 if unit == " M" else 1e3)
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{unit}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread_figure(found: dict[str, float] | None) -> str:
    """A median with least and most behind it, if there was more than one value."""
    if found is None:
        return "-"
    if found["min"] == found["max"]:
        return figure(found["median"])
    return f"{figure(found['median'])} ({figure(found['min'])}–{figure(found['max'])})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned so that it reads well in a terminal too.

    >>> print(table(["who", "events/s"], [["ctr", "1 M"]]))
    | who | events/s |
    | --- | -------: |
    | ctr |      1 M |
    """
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    widths = [max(width, 3) for width in widths]

    def line(cells: Sequence[str]) -> str:
        aligned = [cells[0].ljust(widths[0])]
        aligned += [cell.rjust(w) for cell, w in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numba", "numpy", "kafka-python")},
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def about(where: dict[str, Any]) -> str:
    """One line on the machine and the load that was on it already."""
    return (
        f"{where['at']}, {where['cores']} cores of {where['processor']}, "
        f"{where['memory_gib']} GiB, load {where['load_before']} before it; Python "
        f"{where['python']}, numba {where['numba']}, kafka-python {where['kafka-python']}."
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(json.dumps(content, indent=1) + "\n")
    scratch.replace(path)


def write_block(name: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` between the page's markers ``<!-- name -->`` and ``<!-- /name -->``."""
    content = page.read_text("utf-8")
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    if not block.search(content):
        raise ValueError(f"{page} has no markers <!-- {name} --> and <!-- /{name} -->")
    filled = block.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", content)
    page.write_text(filled, "utf-8")


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.machine()
