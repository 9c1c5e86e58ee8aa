"""``ctr train``: learn from a stream and publish the model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ctr.cli.options import (
    KAFKA,
    LEARNER,
    configured,
    log_to_stderr,
    read_config,
    say_when_compiling,
    stop_on_signals,
)
from ctr.cli.progress import Progress

if TYPE_CHECKING:
    from ctr.settings import Config
    from ctr.stream.source import Source
    from ctr.train.loop import Trainer
    from ctr.types import Positions

_FROM_FILES = {"publish.to": "directory", "dead_letters.to": "directory", "metrics.port": -1}


@click.command("train", short_help="Learn from a stream and publish the model.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@configured(
    "model.name",
    *KAFKA,
    "events.topic",
    "events.directory",
    "events.start",
    "events.keep_without_click",
    *LEARNER,
)
@click.option("--stop-at-end", is_flag=True, help="Stop when what is there now was learned.")
@click.option("-v", "--verbose", is_flag=True, help="Say more of what happens.")
def command(
    files: tuple[str, ...],
    config_file: str | None,
    assignments: tuple[str, ...],
    stop_at_end: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Learn from Kafka, from a log directory, or from FILEs ("-" is standard input; .gz and .zst
    too), checkpoint, and publish the model. SIGTERM finishes the batch, saves and publishes.
    Started again, it goes on where it stopped.
    """
    log_to_stderr(verbose)
    if stop_at_end:
        options["events__stop_at_end"] = True
    if options.get("events__directory"):
        options["events__source"] = "directory"
    config = read_config(config_file, assignments, options, _FROM_FILES if files else None)
    run(config, files)


def run(config: Config, files: tuple[str, ...]) -> None:
    """Train as ``config`` says, from ``files`` if there are any."""
    from ctr.memory import keep_freed
    from ctr.observe import registry as registries
    from ctr.observe.http import MetricsEndpoint
    from ctr.stream import open_source
    from ctr.train.start import train

    say_when_compiling()
    keep_freed()
    stop = stop_on_signals()
    registry = registries.make("trainer", config.model.name)
    opened: Callable[[Config, Positions], Source] = open_source
    with ExitStack() as stack:
        if config.metrics.port >= 0:
            endpoint = stack.enter_context(
                MetricsEndpoint(registry, config.metrics.host, config.metrics.port)
            )
            click.echo(f"metrics on {endpoint.url}/metrics", err=True)
        progress = stack.enter_context(Progress(sys.stderr))
        if files:
            opened = _opening(files, progress)
        state = train(
            config,
            stop,
            registry,
            open_events=opened,
            on_progress=_reporting(progress, bool(files)),
        )
    figures = state.progressive.total
    click.echo(
        f"{figures.events:,} events learned, log loss {figures.log_loss:.5f}, "
        f"normalized entropy {figures.normalized_entropy:.4f}, "
        f"{state.learner.nonzero:,} weights of {state.learner.touched:,} coordinates touched",
        err=True,
    )


def _opening(files: tuple[str, ...], progress: Progress) -> Callable[[Config, Positions], Source]:
    def opened(config: Config, resume: Positions) -> Source:
        from ctr.stream.files import FileSource

        source = FileSource(
            files,
            resume=resume,
            batch_bytes=config.events.batch_bytes,
            skip=config.events.skip,
        )
        progress.of = source.progress
        return source

    return opened


def _reporting(progress: Progress, files: bool) -> Callable[[Trainer], None]:
    """A progress bar for files; for a stream, a line every ten seconds."""
    last = time.monotonic()
    learned = 0

    def report(trainer: Trainer) -> None:
        nonlocal last, learned
        events = trainer.state.learner.events_learned
        window = trainer.state.progressive.window
        if files:
            progress.show(f"{events:,} events, log loss {window.log_loss:.5f}")
        elif time.monotonic() - last >= 10.0:
            rate = (events - learned) / (time.monotonic() - last)
            last, learned = time.monotonic(), events
            lag = sum(trainer.lag().values())
            click.echo(
                f"{events:,} events ({rate:,.0f}/s), log loss {window.log_loss:.5f}, "
                f"{trainer.state.learner.nonzero:,} weights, {lag:,} behind",
                err=True,
            )

    return report
