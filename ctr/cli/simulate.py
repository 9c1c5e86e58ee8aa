"""``ctr simulate``: write a believable click stream."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctr.cli.options import (
    KAFKA,
    configured,
    log_to_stderr,
    read_config,
    say_when_compiling,
    stop_on_signals,
)

if TYPE_CHECKING:
    from ctr.simulate import Simulator
    from ctr.simulate.sinks import Sink

_BATCH = 2000
_TICK = 0.1
_REPORT_SECONDS = 1.0


@click.command("simulate", short_help="Write a believable click stream.")
@configured(*KAFKA, "events.topic")
@click.option(
    "--to",
    default="-",
    show_default=True,
    metavar="WHERE",
    help="kafka, a directory (segment log), NAME.jsonl, or - for standard output.",
)
@click.option("--events", "count", type=click.IntRange(1), help="Events in all; endless without.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Events per second.")
@click.option("--partitions", default=4, show_default=True, help="Partitions of a new topic.")
@click.option("--seed", default=1, show_default=True, help="Seed of the stream.")
@click.option("--bad-share", default=0.0, show_default=True, help="Share of bad events.")
@click.option("--base-rate", default=0.1, show_default=True, help="Share of clicks.")
@click.option(
    "--drift",
    default=0.2,
    show_default=True,
    help="How much the truth changes in a million events; 0: not at all.",
)
@click.option("--label-delay", default=30.0, show_default=True, help="Seconds, on average.")
@click.option("--disorder", default=2.0, show_default=True, help="Seconds between partitions.")
@click.option("--vanish-after", type=int, help="After so many events a field is absent.")
@click.option("--skip", default=0, show_default=True, help="Events of the stream left out first.")
@click.option("--report", metavar="FILE", help="Write the figures as JSON there, every second.")
@click.option(
    "--spec",
    "print_spec",
    is_flag=True,
    help="Print the feature settings that fit the stream (TOML), and stop.",
)
def command(
    config_file: str | None,
    assignments: tuple[str, ...],
    to: str,
    count: int | None,
    rate: float | None,
    partitions: int,
    seed: int,
    bad_share: float,
    base_rate: float,
    drift: float,
    label_delay: float,
    disorder: float,
    vanish_after: int | None,
    skip: int,
    report: str | None,
    print_spec: bool,
    **options: Any,
) -> None:
    """Write clicks on ads by users on sites, drawn from a hidden model, so that the best reachable
    log loss is known; it is printed at the end.
    """
    from ctr.simulate import KINDS, Simulator, SimulatorSettings
    from ctr.simulate.sinks import open_sink

    log_to_stderr()
    config = read_config(config_file, assignments, options)
    kinds = KINDS if to == "kafka" else tuple(kind for kind in KINDS if kind != "empty")
    settings = SimulatorSettings(
        seed=seed,
        bad_share=bad_share,
        bad_kinds=kinds,
        base_rate=base_rate,
        drift=drift,
        label_delay_ms=1000 * label_delay,
        disorder_ms=1000 * disorder,
        vanish_after=vanish_after,
        events_per_second=rate or 100.0,
        max_event_bytes=config.features.max_event_bytes,
        max_features=config.features.max_features,
    )
    if print_spec:
        click.echo(Simulator(settings).spec_toml(), nl=False)
        return
    say_when_compiling()
    stop = stop_on_signals()
    sink = open_sink(
        to, config.kafka, config.events.topic, partitions, config.features.max_event_bytes
    )
    if rate:  # the next event's time is now, not when the broker was not yet found
        settings = replace(settings, start_ts_ms=int(1000 * (time.time() - skip / rate)))
    simulator = Simulator(settings)
    simulator.seek(skip)
    try:
        _run(simulator, sink, count, rate, report, stop)
    except BrokenPipeError:
        pass  # whoever read it has seen enough
    finally:
        sink.close()
    figures = simulator.figures()
    if report:
        _write(Path(report), figures)
    if figures["events"]:
        click.echo(
            f"{figures['events']:,} events, {figures['bad']:,} bad; log loss of the base rate "
            f"{figures['base_log_loss']:.6f}, best reachable {figures['best_log_loss']:.6f}",
            err=True,
        )


def _run(
    simulator: Simulator,
    sink: Sink,
    count: int | None,
    rate: float | None,
    report: str | None,
    stop: threading.Event,
) -> None:
    """Write ``count`` events (None: until stopped), at most ``rate`` a second."""
    begun, written, next_report = time.monotonic(), 0, 0.0
    while not stop.is_set() and (count is None or written < count):
        size = _BATCH if count is None else min(_BATCH, count - written)
        if rate is not None:
            owed = int((time.monotonic() - begun) * rate) - written
            size = min(size, owed)
        if size > 0:
            sink.write(simulator.batch(size))
            written += size
        elif stop.wait(_TICK / 10):
            break
        if report and time.monotonic() >= next_report:
            next_report = time.monotonic() + _REPORT_SECONDS
            _write(Path(report), simulator.figures())


def _write(path: Path, figures: dict[str, Any]) -> None:
    """Replace the report whole, so that no reader sees half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(figures))
    temporary.replace(path)
