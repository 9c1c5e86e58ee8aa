"""``ctr evaluate``: learn files once and report how good the predictions were."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctr.cli.options import LEARNER, configured, read_config, say_when_compiling
from ctr.cli.progress import Progress

if TYPE_CHECKING:
    from ctr.evaluate import Evaluation, EventParser
    from ctr.settings import Config

_LOOKED_AT = 5000


@click.command("evaluate", short_help="Learn files once and report how good the predictions were.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@configured(*LEARNER, "metrics.window")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "vw"]),
    default="json",
    show_default=True,
    help="Format of the events.",
)
@click.option("--propose", is_flag=True, help="Look at the file and propose settings for it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    files: tuple[str, ...],
    config_file: str | None,
    assignments: tuple[str, ...],
    form: str,
    propose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Predict every event of FILEs ("-" is standard input; .gz and .zst too), then learn it: one
    pass of progressive validation. A file that the settings do not fit gets settings proposed.
    """
    config = read_config(config_file, assignments, options)
    if propose:
        _propose(files[0])
        return
    say_when_compiling()
    evaluation = _run(config, files, form)
    if as_json:
        click.echo(msgspec.json.encode(evaluation.to_tree()).decode())
    else:
        _print(evaluation)
    if evaluation.figures.events == 0 and form == "json":
        if files[0] == "-":
            sys.exit(1)
        click.echo("\nNo event could be read with these settings.\n", err=True)
        _propose(files[0])
        sys.exit(1)


def _run(config: Config, files: tuple[str, ...], form: str) -> Evaluation:
    from ctr.evaluate import evaluate
    from ctr.features.parser import Parser
    from ctr.stream.files import FileSource

    parser: EventParser = Parser(config.features)
    if form == "vw":
        from ctr.features.vw import VWParser

        parser = VWParser(config.features)
    source = FileSource(files, batch_bytes=config.events.batch_bytes)
    try:
        with Progress(sys.stderr) as progress:
            progress.of = source.progress
            return evaluate(
                config, source, parser, on_progress=lambda n: progress.show(f"{n:,} events")
            )
    finally:
        source.close()


def _print(evaluation: Evaluation) -> None:
    figures = evaluation.figures
    rows = [
        ("events", f"{figures.events:,}"),
        ("clicks", f"{figures.observed_clicks:,.0f} ({100 * figures.base_rate:.3f}%)"),
        ("log loss", f"{figures.log_loss:.6f}"),
        ("  of the base rate", f"{figures.base_log_loss:.6f}"),
        ("normalized entropy", f"{figures.normalized_entropy:.5f}"),
        ("AUC", f"{figures.auc:.5f}"),
        ("calibration", f"{figures.calibration:.4f}"),
        ("non-zero weights", f"{evaluation.nonzero:,}"),
        ("touched coordinates", f"{evaluation.touched:,}"),
        ("rejected", f"{sum(evaluation.rejected.values()):,}"),
        *((f"  {reason}", f"{count:,}") for reason, count in evaluation.rejected.items()),
        *([("passed over, no label", f"{evaluation.skipped:,}")] if evaluation.skipped else []),
        ("events per second", f"{evaluation.events_per_second:,.0f}"),
    ]
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
