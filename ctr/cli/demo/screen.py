"""What the demonstration prints: whole lines only, as good in a pipe as on a terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

import click

from ctr.cli.demo.figures import Row

_COLUMNS = {
    "time": 6,
    "events": 12,
    "per s": 8,
    "base": 8,
    "model": 8,
    "best": 8,
    "closed": 8,
    "weights": 9,
    "zero": 7,
    "fresh": 8,
}
_HEADER_EVERY = 10

LEGEND = """\
  base, model, best   log loss of the last {window:,} events: of always saying their click rate,
                      of the model before it learned each, and the least that can be reached
  closed              how much of the way from base to best the model went
  zero                share of the coordinates met whose weight L1 keeps at exactly zero
  fresh               age of the newest event learned by the model that answered"""


class Screen:
    """Prints steps with the seconds since the start, and the table."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._rows = 0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._began

    def step(self, text: str) -> None:
        """What is done now."""
        self.say(f"{self.seconds:6.1f} s  {text}")

    def say(self, text: str = "") -> None:
        click.echo(text)

    def row(self, row: Row, events_per_second: float, about: str) -> None:
        """One line of figures, and under it the prediction that goes with it."""
        if self._rows % _HEADER_EVERY == 0:
            self.say()
            self.say(_line(_COLUMNS))
        self._rows += 1
        learned, gap, predicted = row.learned, row.gap, row.predicted
        minutes, seconds = divmod(int(row.seconds), 60)
        cells = (
            f"{minutes}:{seconds:02}",
            f"{learned.events:,}",
            number(events_per_second, "{:,.0f}"),
            number(gap.base),
            number(gap.model),
            number(gap.best),
            number(gap.closed, "{:.0%}"),
            f"{learned.nonzero:,}",
            number(learned.sparsity, "{:.1%}"),
            f"{row.freshness:.1f} s",
        )
        self.say(_line(cells))
        held = "" if learned.gate_open else "; the gate is closed, nothing new is published"
        self.say(
            f"{predicted.probability:12.2%} = p(click) for {about} "
            f"(version {predicted.version}{held})"
        )

    def summary(self, rows: Sequence[Row], source: str) -> None:
        """What came of it."""
        if not rows:
            return
        row = rows[-1]
        learned, gap = row.learned, row.gap
        self.say()
        self.say(f"learned {learned.events:,} events from {source} in {row.seconds:.0f} s")
        self.say(
            f"log loss {number(gap.model)}: {number(gap.closed, '{:.0%}')} of the way from the "
            f"base rate's {number(gap.base)} to the best reachable, {number(gap.best)}"
        )
        self.say(
            f"{learned.nonzero:,} weights; {learned.rejected:,} bad events among the dead letters; "
            f"the served model was {row.freshness:.1f} s old"
        )


def number(value: float, form: str = "{:.4f}") -> str:
    """A number as text; "-" when there is none yet.

    >>> number(0.856, "{:.0%}"), number(float("nan"))
    ('86%', '-')
    """
    return "-" if math.isnan(value) else form.format(value)


def _line(cells: Iterable[str]) -> str:
    widths = _COLUMNS.values()
    return "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
