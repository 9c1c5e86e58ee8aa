"""``ctr hold``: have every server serve an older version."""

from __future__ import annotations

from typing import Any

import click

from ctr.cli.options import configured
from ctr.cli.published import PLACE, operator, place_of, read_place


@click.command("hold", short_help="Have every server serve a stored version, and stay there.")
@click.argument("version", metavar="VERSION", type=click.IntRange(min=0))
@configured(*PLACE)
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever asks `ctr models`.")
def command(
    version: int,
    config_file: str | None,
    assignments: tuple[str, ...],
    reason: str,
    **options: Any,
) -> None:
    """Have every server go to VERSION, one of those that `ctr models` lists, and stay there until
    `ctr release`. Learning and publishing go on meanwhile.
    """
    config = read_place(config_file, assignments, options)
    place = place_of(config)
    try:
        published = place.look()
        place.hold(version, reason, operator())
    finally:
        place.close()
    live = f" (live is {published.live.version})" if published.live else ""
    click.echo(
        f"version {version} of {config.model.name} is held{live}: "
        f"every server of {place.where} goes to it"
    )
