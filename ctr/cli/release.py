"""``ctr release``: let every server follow the newest version again."""

from __future__ import annotations

from typing import Any

import click

from ctr.cli.options import configured
from ctr.cli.published import PLACE, operator, place_of, read_place


@click.command("release", short_help="End a hold: every server goes to the newest version.")
@configured(*PLACE)
@click.option("--reason", default="", metavar="TEXT", help="Why, kept beside the order.")
def command(
    config_file: str | None, assignments: tuple[str, ...], reason: str, **options: Any
) -> None:
    """Let every server go to the newest version again, and follow it."""
    from ctr.errors import DamagedFileError

    config = read_place(config_file, assignments, options)
    place = place_of(config)
    try:
        try:
            hold = place.look().hold
        except DamagedFileError as error:  # a hold that nobody can obey goes as well
            click.echo(f"{error}; it is removed", err=True)
        else:
            if hold is None:
                click.echo(f"no version of {config.model.name} is held on {place.where}")
                return
        place.release(reason, operator())
    finally:
        place.close()
    click.echo(f"every server of {place.where} goes to the newest version of {config.model.name}")
