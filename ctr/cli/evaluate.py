"""``ctr evaluate``: learn files once and report how good the predictions were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctr.cli.comparison import Comparison
from ctr.cli.options import (
    LEARNER,
    configured,
    event_format,
    read_config,
    say_when_compiling,
)
from ctr.cli.progress import Progress
from ctr.errors import SettingError

if TYPE_CHECKING:
    from ctr.evaluate import Evaluation
    from ctr.grid import Axes, Variant
    from ctr.settings import Config

_LOOKED_AT = 5000


@click.command("evaluate", short_help="Learn files once and report how good the predictions were.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@configured(*LEARNER, "events.keep_without_click", "metrics.window")
@event_format
@click.option("--propose", is_flag=True, help="Look at the file and propose settings for it.")
@click.option(
    "--grid",
    "grids",
    multiple=True,
    metavar="KEY=V1,V2,...",
    help="Values of a setting of the learner; repeated, every combination learns in one pass.",
)
@click.option("--write", metavar="FILE", help="Write the settings of the grid's winner (TOML).")
@click.option("--plot", metavar="FILE", help="Draw the grid's log loss against non-zero weights.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    files: tuple[str, ...],
    config_file: str | None,
    assignments: tuple[str, ...],
    form: str,
    propose: bool,
    grids: tuple[str, ...],
    write: str | None,
    plot: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Predict every event of FILEs ("-" is standard input; .gz and .zst too), then learn it: one
    pass of progressive validation. A file that the settings do not fit gets settings proposed.
    With --grid many variants of the learner are compared in the one pass.
    """
    if (write or plot) and not grids:
        raise click.UsageError("--write and --plot are of a grid: give --grid too.")
    axes = _axes(grids, write, plot)
    # the first variant is what the other settings have to agree with
    first = {f"learner.{name}": values[0] for name, values in axes.items()}
    config = read_config(config_file, assignments, {**options, **first})
    if propose:
        _propose(files[0])
        return
    variants = _variants(axes, config)
    say_when_compiling()
    evaluations = _run(config, variants, files, form)
    read = evaluations[0].figures.events > 0
    if grids and read:
        comparison = Comparison.of(config, axes, variants, evaluations)
        _compare(comparison, form, write, plot, as_json)
    elif as_json:
        click.echo(msgspec.json.encode(evaluations[0].to_tree()).decode())
    else:
        _print(evaluations[0])
    if not read:
        if form == "json" and files[0] != "-":
            click.echo("\nNo event could be read with these settings.\n", err=True)
            _propose(files[0])
        sys.exit(1)


def _axes(grids: tuple[str, ...], write: str | None, plot: str | None) -> Axes:
    """The grid; what would go wrong after the pass is said before it."""
    if not grids:
        return {}
    from ctr.grid import parse

    axes = parse(grids)
    for flag, file in (("--write", write), ("--plot", plot)):
        if file and (Path(file).is_dir() or not Path(file).parent.is_dir()):
            raise SettingError(flag, file, "a file in a folder that is there")
    if write and Path(write).exists():
        raise SettingError("--write", write, "a file that is not there yet")
    if plot:
        from ctr.cli.plot import check

        check(plot)
    return axes


def _variants(axes: Axes, config: Config) -> list[Variant]:
    from ctr.grid import expand
    from ctr.memory import available_memory

    return expand(axes, config, available_memory())


def _run(
    config: Config, variants: list[Variant], files: tuple[str, ...], form: str
) -> list[Evaluation]:
    from ctr.evaluate import evaluate_all
    from ctr.features.formats import make_parsers
    from ctr.learn import make
    from ctr.memory import keep_freed
    from ctr.stream.files import FileSource
    from ctr.stream.pipeline import worker_count

    keep_freed()
    source = FileSource(files, batch_bytes=config.events.batch_bytes)
    try:
        parsers = make_parsers(form, config.features, worker_count(config.events.parsers))
        learners = [make(v.learner, config.features.bits, config.model.seed) for v in variants]
        by = f", {len(variants)} variants" if len(variants) > 1 else ""
        with Progress(sys.stderr) as progress:
            progress.of = source.progress
            return evaluate_all(
                config,
                source,
                parsers,
                learners,
                on_progress=lambda n: progress.show(f"{n:,} events{by}"),
            )
    finally:
        source.close()


def _compare(
    comparison: Comparison, form: str, write: str | None, plot: str | None, as_json: bool
) -> None:
    """Say it, then write it: what a full disk takes, the terminal still has."""
    from ctr.features.formats import with_defaults

    if as_json:
        click.echo(msgspec.json.encode(comparison.to_tree()).decode())
    else:
        _print_rows(_of_the_events(comparison.evaluations[0]))
        click.echo(f"\n{comparison.table()}\n\n{comparison.verdict()}")
        if not write:
            click.echo(f"\n{comparison.learner_toml()}", nl=False)
    if write:
        features = with_defaults(form, comparison.config.features)
        Path(write).write_text(comparison.toml(features), "utf-8")
        click.echo(f"its settings are in {write}", err=as_json)
    if plot:
        comparison.plot(plot)
        click.echo(f"the picture is {plot}", err=as_json)


def _print(evaluation: Evaluation) -> None:
    figures = evaluation.figures
    own = [
        ("log loss", f"{figures.log_loss:.6f}"),
        ("  of the base rate", f"{figures.base_log_loss:.6f}"),
        ("normalized entropy", f"{figures.normalized_entropy:.5f}"),
        ("AUC", f"{figures.auc:.5f}"),
        ("calibration", f"{figures.calibration:.4f}"),
        ("non-zero weights", f"{evaluation.nonzero:,}"),
        ("touched coordinates", f"{evaluation.touched:,}"),
    ]
    shared = _of_the_events(evaluation)
    _print_rows([*shared[:2], *own, *shared[2:]])


def _of_the_events(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What is the same for all variants: the first two rows are the events and the clicks."""
    figures = evaluation.figures
    return [
        ("events", f"{figures.events:,}"),
        ("clicks", f"{figures.observed_clicks:,.0f} ({100 * figures.base_rate:.3f}%)"),
        ("rejected", f"{sum(evaluation.rejected.values()):,}"),
        *((f"  {reason}", f"{count:,}") for reason, count in evaluation.rejected.items()),
        *([("passed over, no label", f"{evaluation.skipped:,}")] if evaluation.skipped else []),
        *([("left out, no click", f"{evaluation.subsampled:,}")] if evaluation.subsampled else []),
        ("events per second", f"{evaluation.events_per_second:,.0f}"),
    ]


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        click.echo(f"{name:<24}{value:>20}")


def _propose(file: str) -> None:
    from ctr.features.propose import propose
    from ctr.stream.files import FileSource

    source = FileSource([file])
    lines: list[bytes] = []
    while not source.ended() and len(lines) < _LOOKED_AT:
        records = source.next_batch(0.1)
        if records is not None:
            spans = zip(records.starts, records.ends, strict=True)
            lines += [records.buffer[a:b].tobytes() for a, b in spans]
    source.close()
    proposal = propose(lines[:_LOOKED_AT])
    click.echo(str(proposal))
