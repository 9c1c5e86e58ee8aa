"""The command: ``ctr``, also installed as ``ctr-stream``, and ``python -m ctr``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ctr import __version__
from ctr.errors import CtrError

COMMANDS = {
    "demo": "Watch a model learn from a live stream and answer predictions.",
    "evaluate": "Learn files once and report how good the predictions were.",
    "gate": "Show the gate before publishing, override it, or restore it.",
    "hold": "Have every server serve a stored version, and stay there.",
    "inspect": "Show what is in a model.",
    "models": "List a model's versions, and say which is served.",
    "prune": "Drop a model's tiny weights, and say what that costs.",
    "release": "End a hold: every server goes to the newest version.",
    "serve": "Answer predictions over HTTP with the newest model.",
    "simulate": "Write a believable click stream.",
    "train": "Learn from a stream and publish the model.",
}
"""What there is, in the module of its name; imported when asked for, so that help is quick."""

FAILED = 1


class Commands(click.Group):
    """The group, which imports a command only when it is used and says errors in one line."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ctr.cli.{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except CtrError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FAILED)
        except BrokenPipeError:  # click ends quietly then
            raise
        except OSError as error:  # a full disk, a file where a directory should be
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror or error}", err=True)
            sys.exit(FAILED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ctr")
def main() -> None:
    """Online click prediction: learn from a Kafka stream, serve seconds later."""
