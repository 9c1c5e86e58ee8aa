"""``ctr models``: the versions of a model, and which one is served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctr.cli.options import configured
from ctr.cli.published import PLACE, Published, place_of, read_place
from ctr.cli.times import ago, utc

if TYPE_CHECKING:
    from ctr.model.snapshot import Stored
    from ctr.settings import Config

_FIGURES = {"log_loss": ".5f", "normalized_entropy": ".4f", "calibration": ".4f"}
"""Metrics of a version that are shown, and how."""

_TITLES = (
    *("version", "published", "events learned", "non-zero weights", "bytes"),
    *("log loss", "NE", "calibration"),
)


@click.command("models", short_help="List a model's versions, and say which is served.")
@configured(*PLACE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    config_file: str | None, assignments: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """List the stored snapshots, which `ctr hold` can go back to, with their metrics at the time;
    and say which version is live, whether one is held, and by whom.
    """
    from ctr.errors import CtrError
    from ctr.model.snapshot import SnapshotStore

    config = read_place(config_file, assignments, options)
    place = place_of(config)
    published, problem = Published(None, None, None, None), ""
    try:
        published = place.look()
    except CtrError as error:  # what is stored can be said all the same
        problem = str(error)
    finally:
        place.close()
    store = SnapshotStore(config.path(config.publish.directory))
    rows = [_row(stored, published) for stored in store.stored()]
    if as_json:
        click.echo(_json(config, place.where, published, problem, rows))
        return
    if problem:
        click.echo(f"which version is live is not known: {problem}", err=True)
    click.echo(_head(config.model.name, place.where, published, problem))
    if rows:
        click.echo("\n" + "\n".join(_table(rows)))
    else:
        click.echo(f"\nno snapshots in {store.directory}")


def _row(stored: Stored, published: Published) -> dict[str, Any]:
    """A snapshot by its file and header; ``problem`` says what cannot be read."""
    from ctr.errors import CtrError
    from ctr.model.snapshot import describe

    row: dict[str, Any] = {"version": stored.version, "published": stored.published}
    row |= {"path": str(stored.path), "problem": ""}
    live, hold = published.live, published.hold
    row["live"] = live is not None and live.version == stored.version
    row["held"] = hold is not None and hold.version == stored.version
    try:
        manifest = describe(stored.path)
        row["bytes"] = stored.path.stat().st_size
    except (CtrError, OSError) as error:
        return {**row, "problem": str(error)}
    return {
        **row,
        "events_learned": manifest.events_learned,
        "event_time": manifest.event_time,
        "nonzero_weights": manifest.nonzero,
        "metrics": manifest.metrics,
    }


def _json(
    config: Config, where: str, published: Published, problem: str, rows: list[dict[str, Any]]
) -> str:
    live = published.live
    tree = {
        "model": config.model.name,
        "where": where,
        "live": live
        and {
            "version": live.version,
            "published": live.published,
            "events_learned": live.events_learned,
            "event_time": live.event_time,
            "nonzero_weights": live.nonzero,
            "metrics": live.metrics,
        },
        "held": published.hold,
        "gate": published.gate,
        "problem": problem,
        "snapshots": rows,
    }
    return msgspec.json.encode(tree).decode()


def _head(name: str, where: str, published: Published, problem: str) -> str:
    live, hold, gate = published.live, published.hold, published.gate
    now = time.time()
    if live is not None:
        said = f"version {live.version} is live, published {ago(live.published, now)}"
    else:
        said = "live version not known" if problem else "no version is published yet"
    lines = [f"{name}: {said}, on {where}"]
    if hold is not None:
        by = f" by {hold.by}" if hold.by else ""
        since = f" since {utc(hold.time)}" if hold.time else ""
        reason = f": {hold.reason}" if hold.reason else ""
        lines.append(f"version {hold.version} is held{since}{by}{reason}")
    if gate is not None and not gate.open:
        lines.append(f"the gate is closed: {gate.reason}")
    elif gate is not None and gate.overridden:
        lines.append("the gate is overridden (`ctr gate` says more)")
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The newest first, aligned."""
    cells = [list(_TITLES)]
    marks = [""]
    for row in reversed(rows):
        words = ["live"] * row["live"] + ["held"] * row["held"]
        line = [str(row["version"]), utc(row["published"])]
        if row["problem"]:
            words.append(row["problem"])
            line += [""] * (len(_TITLES) - len(line))
        else:
            line += [f"{row[name]:,}" for name in ("events_learned", "nonzero_weights", "bytes")]
            metrics = row["metrics"]
            line += [_figure(metrics.get(name), form) for name, form in _FIGURES.items()]
        cells.append(line)
        marks.append(", ".join(words))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join([*(c.rjust(w) for c, w in zip(line, widths, strict=True)), mark]).rstrip()
        for line, mark in zip(cells, marks, strict=True)
    ]


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
