"""What a study found: tables in Markdown, pictures, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from msgspec.structs import asdict as fields_of

from studies.runs import Run

INK, GREY = "#1f2328", "#8b949e"
COLORS = {
    "FTRL-Proximal": "#0969da",
    "RDA": "#cf222e",
    "FOBOS": "#1a7f37",
    "OGD-Count": "#9a6700",
    "OGD, l1 subgradient": "#8250df",
}


@dataclass
class Finding:
    """``text``: Markdown; ``rows``: for JSON; ``pictures``: file name -> what draws the axes."""

    name: str
    text: str
    rows: list[dict[str, Any]]
    pictures: dict[str, Callable[[Any], None]] = field(default_factory=dict)


def as_row(run: Run, **more: Any) -> dict[str, Any]:
    """A run fit for JSON."""
    return {
        **more,
        "settings": fields_of(run.settings),
        "stream": run.stream,
        "late": asdict(run.late),
        "held_out": asdict(run.held_out),
        "nonzero": run.nonzero,
        "nonzero_held_out": run.nonzero_held_out,
    }


def with_spread(values: Sequence[float], form: str = "{:.4f}") -> str:
    """Mean and, of several values, their standard deviation.

    >>> with_spread([1.0, 2.0, 3.0], "{:.1f}"), with_spread([0.5])
    ('2.0 ± 1.0', '0.5000')
    """
    text = form.format(mean(values))
    if len(values) > 1:
        text += f" ± {form.format(stdev(values)).lstrip('+')}"
    return text


def in_percent(ours: Sequence[float], theirs: Sequence[float], digits: int = 2) -> str:
    """How much more ``ours`` is than ``theirs``, pair by pair.

    >>> in_percent([1.1, 2.2], [1.0, 2.0], 1)
    '+10.0% ± 0.0%'
    """
    changes = [100 * (a / b - 1) for a, b in zip(ours, theirs, strict=True)]
    return with_spread(changes, f"{{:+.{digits}f}}%")


def save(finding: Finding, folder: Path) -> list[Path]:
    """Draw its pictures, the same bytes for the same numbers."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "ctr", "svg.fonttype": "none", "font.size": 10})
    from matplotlib import pyplot

    written = []
    for name, draw in finding.pictures.items():
        figure = pyplot.figure(figsize=(8, 4.2), layout="constrained")
        draw(figure)
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        written.append(folder / name)
        figure.savefig(written[-1], metadata={"Date": None})
        pyplot.close(figure)
    return written


def brief(settings: Any) -> str:
    """What distinguishes learner settings, for a table."""
    words = [f"alpha {settings.alpha:g}"]
    if settings.name == "ogd-count":
        words.append(f"min_count {settings.min_count}")
    else:
        words.append(f"l1 {settings.l1:g}")
    if settings.rates == "global":
        words.append("global")
    if settings.momentum:
        words.append(f"momentum {settings.momentum:g}")
    if settings.schedule != "constant":
        words.append(settings.schedule)
    return ", ".join(words)
