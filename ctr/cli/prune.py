"""``ctr prune``: drop the tiny weights of a model, and say what that costs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctr.cli.options import event_format, say_when_compiling
from ctr.cli.progress import Progress

if TYPE_CHECKING:
    from ctr.model.snapshot import Snapshot
    from ctr.score import Scores

_SHOWN = {
    "weights": ",d",
    "file_bytes": ",d",
    "memory_bytes": ",d",
    "log_loss": ".6f",
    "normalized_entropy": ".6f",
    "auc": ".5f",
    "calibration": ".4f",
}
"""The rows of the table, and how their numbers are shown."""


@click.command("prune", short_help="Drop a model's tiny weights, and say what that costs.")
@click.argument("model", metavar="MODEL")
@click.option("--below", type=float, metavar="X", help="Drop every weight with |w| < X.")
@click.option("--keep", type=int, metavar="N", help="Keep the N weights with the largest |w|.")
@click.option(
    "--on", multiple=True, metavar="EVENTS", help="File of events to score on; may be repeated."
)
@event_format
@click.option("-o", "--output", metavar="FILE", help="New snapshot; default: beside MODEL's.")
@click.option("--force", is_flag=True, help="Write the output even if it is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str,
    below: float | None,
    keep: int | None,
    on: tuple[str, ...],
    form: str,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a snapshot file (the newest one of a directory) anew without its smallest weights.
    Exactly one of --below and --keep is given; the bias always stays. With --on it says what that
    costs on events, best of all on such as the model has not learned. Nothing is learned.
    """
    from ctr.model.prune import SECTION, Rule, prune
    from ctr.model.snapshot import find, read, write

    rule = Rule(below, keep)
    path = find(model)
    to = _output(path, output, force)
    say_when_compiling()
    before = read(path)
    after = prune(before, rule)
    scores = _scores(before, after, on, form) if on else None
    was = _numbers(before, path, scores, 0)  # before it may be overwritten
    write(to, *after)
    now = _numbers(after, to, scores, 1)
    tree: dict[str, Any] = {
        "model": after.manifest.model,
        "version": after.manifest.version,
        "output": str(to),
        **after.manifest.sections[SECTION][-1],
        "events": scores.figures[0].events if scores else None,
        "rejected": scores.rejected if scores else {},
        "skipped": scores.skipped if scores else 0,
        "before": was,
        "after": now,
        "difference": {name: now[name] - was[name] for name in now},
    }
    if as_json:
        click.echo(msgspec.json.encode(tree).decode())
    else:
        _print(tree)


def _output(path: Path, output: str | None, force: bool) -> Path:
    """Where to write: found out before anything takes its time."""
    from ctr.errors import SettingError

    to = Path(output) if output else path.with_name(f"{path.stem}.pruned{path.suffix}")
    if to.is_dir() or not to.parent.is_dir():
        raise SettingError("--output", str(to), "a file in a folder that is there")
    if to.exists() and not force:
        raise SettingError("--output", str(to), "a file that is not there yet (or give --force)")
    return to


def _scores(before: Snapshot, after: Snapshot, files: tuple[str, ...], form: str) -> Scores:
    from ctr.errors import SettingError
    from ctr.features.formats import make_parser
    from ctr.score import score
    from ctr.stream.files import FileSource

    source = FileSource(files)
    try:
        parser = make_parser(form, before.manifest.spec)
        with Progress(sys.stderr) as progress:
            progress.of = source.progress
            models = (before.model, after.model)
            scores = score(models, source, parser, lambda n: progress.show(f"{n:,} events"))
    finally:
        source.close()
    if scores.figures[0].events == 0:
        wrong = ", ".join(f"{n} {reason}" for reason, n in scores.rejected.items()) or "no events"
        wanted = f"files of {form} events that the model's own settings can read ({wrong})"
        raise SettingError("--on", " ".join(files), wanted)
    return scores


def _numbers(snapshot: Snapshot, path: Path, scores: Scores | None, index: int) -> dict[str, Any]:
    """The rows of the table for one of the two models, by name."""
    numbers: dict[str, Any] = {
        "weights": snapshot.model.nonzero,
        "file_bytes": path.stat().st_size,
        "memory_bytes": snapshot.model.nbytes,
    }
    if scores is not None:
        figures = asdict(scores.figures[index])
        numbers |= {name: figures[name] for name in _SHOWN if name in figures}
    return numbers


def _print(tree: dict[str, Any]) -> None:
    click.echo(f"{tree['model']}, version {tree['version']}: {_dropped(tree)}")
    click.echo(f"\n{'':<20}{'before':>16}{'after':>16}{'difference':>16}")
    for name in tree["before"]:
        was, now, difference = (tree[column][name] for column in ("before", "after", "difference"))
        form = _SHOWN[name]
        cells = [_cell(was, form), _cell(now, form), _cell(difference, f"+{form}")]
        click.echo(f"{name.replace('_', ' '):<20}{''.join(f'{cell:>16}' for cell in cells)}")
    if tree["events"] is None:
        click.echo("\nWhat it costs was not measured: name a file of events by --on.")
    else:
        rejected = sum(tree["rejected"].values())
        but = f", {rejected:,} rejected" if rejected else ""
        but += f", {tree['skipped']:,} without a label" if tree["skipped"] else ""
        click.echo(f"\nScored on {tree['events']:,} events{but}.")
    click.echo(f"Written to {tree['output']}")


def _cell(number: float, form: str) -> str:
    """A number of the table; events that are all clicks, or none, have no AUC, say."""
    return "-" if number != number else format(number, form)


def _dropped(tree: dict[str, Any]) -> str:
    there = tree["before"]["weights"]
    rule = f"|w| < {tree['below']:g}" if "below" in tree else f"all but {tree['keep']:,}"
    if not tree["dropped"]:
        return f"nothing was dropped ({rule} of {there:,} weights)"
    largest = f"the largest {tree['largest_dropped']:.6g}"
    return f"dropped {tree['dropped']:,} of {there:,} weights ({rule}), {largest}"
