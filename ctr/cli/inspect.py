"""``ctr inspect``: what is in a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctr.cli.options import say_when_compiling

if TYPE_CHECKING:
    from ctr.model.manifest import Manifest
    from ctr.model.sparse import SparseModel


@click.command("inspect", short_help="Show what is in a model.")
@click.argument("model", metavar="MODEL")
@click.option("--names", metavar="EVENTS", help="File of events that name the coordinates.")
@click.option("--top", default=20, show_default=True, help="Heaviest coordinates shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: str, names: str | None, top: int, as_json: bool) -> None:
    """Show a snapshot file, or the newest one of a directory: size, non-zero weights, sparsity,
    the heaviest coordinates. With --names the coordinates get back the names that hash to them in
    those events.
    """
    from ctr.model.snapshot import find, read

    path = find(model)
    say_when_compiling()
    manifest, sparse = read(path)
    spelled = _names(manifest, names) if names else {}
    coordinates, weights = sparse.heaviest(top)
    heaviest: list[dict[str, Any]] = [
        {"coordinate": int(c), "weight": round(float(w), 6), "names": spelled.get(int(c), [])}
        for c, w in zip(coordinates, weights, strict=True)
    ]
    summary = _summary(path, manifest, sparse)
    if as_json:
        click.echo(msgspec.json.encode({**summary, "heaviest": heaviest}).decode())
        return
    for name, value in summary.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        click.echo(f"{name.replace('_', ' '):<22}{shown}")
    click.echo("\ncoordinate    weight  names")
    for row in heaviest:
        there = ", ".join(row["names"][:3]) or ("(bias)" if row["coordinate"] == 0 else "")
        click.echo(f"{row['coordinate']:>10}{row['weight']:>10.4f}  {there}")


def _summary(path: Path, manifest: Manifest, sparse: SparseModel) -> dict[str, Any]:
    from ctr.model.prune import SECTION

    size = path.stat().st_size
    return {
        "model": manifest.model,
        "version": manifest.version,
        "events_learned": manifest.events_learned,
        "event_time": manifest.event_time,
        "coordinates": 1 << manifest.bits,
        "nonzero_weights": sparse.nonzero,
        "pruned_weights": sum(entry["dropped"] for entry in manifest.sections.get(SECTION, [])),
        "sparsity": round(1.0 - sparse.nonzero / (1 << manifest.bits), 6),
        "file_bytes": size,
        "bytes_per_weight": round(size / sparse.nonzero, 2) if sparse.nonzero else None,
        "memory_bytes": sparse.nbytes,
        "encoding": manifest.encoding,
        "learner": msgspec.json.encode(manifest.learner).decode(),
        "log_loss": manifest.metrics.get("log_loss"),
    }


def _names(manifest: Manifest, file: str) -> dict[int, list[str]]:
    """The features of the events in ``file`` by coordinate, most frequent first."""
    from ctr.features.names import named_coordinates
    from ctr.stream.files import FileSource

    source = FileSource([file])
    found: dict[int, list[str]] = {}
    while not source.ended():
        records = source.next_batch(0.1)
        if records is not None:
            named_coordinates(manifest.spec, records, found)
    source.close()
    return found
