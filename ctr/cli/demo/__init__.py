"""``ctr demo``: watch a model learn from a live stream and answer predictions."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctr.cli.options import stop_on_signals
from ctr.errors import CtrError, SettingError

if TYPE_CHECKING:
    from ctr.cli.demo.figures import Row

INTERRUPTED = 130
NEEDED = 0.5
"""Share of the gap between base rate and best reachable that has to be closed."""


@click.command("demo", short_help="Watch a model learn from a live stream and answer predictions.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="End by itself after so many seconds of learning. Without: at Ctrl-C.",
)
@click.option("--embedded", is_flag=True, help="Use a log directory in place of Kafka.")
@click.option(
    "--rate",
    type=click.FloatRange(10, 1_000_000),
    default=10_000.0,
    show_default=True,
    help="Events per second.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the stream."
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="New folder for all that is written, and kept. Without: a temporary one.",
)
def command(
    seconds: float | None, embedded: bool, rate: float, seed: int, directory: Path | None
) -> None:
    """Start a Kafka, a simulated click stream, a trainer and a server; show every few seconds what
    was learned, and a live prediction. Ctrl-C ends all of it.

    Kafka is got and run by scripts/kafka of the repository. Where it cannot be had, a log
    directory takes its place (--embedded asks for that).

    With --seconds the exit code is 0 if the model closed half of the gap between the base rate's
    log loss and the best reachable, and served; else 1.
    """
    from ctr.cli.demo.run import Demo, Stopped
    from ctr.cli.demo.screen import Screen

    screen, stop = Screen(), stop_on_signals()
    with ExitStack() as stack:
        folder = _folder(stack, directory)
        demo = stack.enter_context(Demo(folder, rate, seed, screen, stop))
        interrupted = False
        try:
            demo.run(seconds, embedded)
        except Stopped:
            interrupted = True
        screen.summary(demo.rows, "Kafka" if demo.bootstrap else "the log directory")
        failure = shortfall(demo.rows)
        screen.say("ending all processes")
    screen.say("none is left running" + (f"; {folder} is kept" if directory else ""))
    if interrupted:
        sys.exit(INTERRUPTED if seconds or not demo.rows else 0)
    if failure:
        raise CtrError(failure)


def shortfall(rows: Sequence[Row]) -> str:
    """What the demonstration has not shown; empty when it has shown everything."""
    if not rows:
        return "no prediction was served"
    closed = rows[-1].gap.closed
    if not closed >= NEEDED:  # NaN is none
        return (
            f"the model closed {closed:.0%} of the gap between base rate and best reachable, "
            f"{NEEDED:.0%} is wanted"
        )
    return ""


def _folder(stack: ExitStack, directory: Path | None) -> Path:
    """The folder to write in: a new one, or a temporary one that goes with ``stack``."""
    if directory is None:
        temporary = tempfile.TemporaryDirectory(prefix="ctr-demo-", ignore_cleanup_errors=True)
        return Path(stack.enter_context(temporary))
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        wanted = f"a folder that can be made ({error.strerror})"
        raise SettingError("--directory", str(directory), wanted) from None
    return directory.resolve()
