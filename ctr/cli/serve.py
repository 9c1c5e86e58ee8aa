"""``ctr serve``: answer predictions over HTTP with the newest model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctr.cli.options import KAFKA, configured, log_to_stderr, read_config, say_when_compiling

if TYPE_CHECKING:
    from ctr.model.sparse import Allocate
    from ctr.model.update import Follower
    from ctr.settings import Config

_SETTINGS = ["publish.topic", "publish.directory", "serve.host", "serve.port", "serve.workers"]
_SETTINGS += ["serve.admin_port", "serve.shadow", "serve.keys_file"]
_SETTINGS += ["serve.tls_certificate", "serve.tls_key"]


@click.command("serve", short_help="Answer predictions over HTTP with the newest model.")
@configured("model.name", *KAFKA, *_SETTINGS)
@click.option(
    "--model", "file", metavar="FILE", help="Serve this snapshot, or the newest in this directory."
)
@click.option("-v", "--verbose", is_flag=True, help="Say more of what happens.")
def command(
    config_file: str | None,
    assignments: tuple[str, ...],
    file: str | None,
    verbose: bool,
    **options: Any,
) -> None:
    """Follow the model topic (or a directory of snapshots, or one file) and answer predictions on
    POST /v1/predict. Features are read as the model's own specification says.
    """
    log_to_stderr(verbose)
    if options.get("publish__directory"):
        options["publish__to"] = "directory"
    config = read_config(config_file, assignments, options)

    from ctr.serve.workers import serve

    say_when_compiling()

    def announce(url: str) -> None:
        click.echo(f"serving {config.model.name} on {url}", err=True)

    serve(config, partial(follower_of, config, file), announce)


def follower_of(config: Config, file: str | None, allocate: Allocate | None = None) -> Follower:
    """What brings the model, as ``--model`` or ``publish.to`` says, to memory by ``allocate``."""
    from ctr.errors import SettingError

    if file is not None:
        from ctr.model.follow_files import DirectoryFollower, FileFollower

        kind = DirectoryFollower if Path(file).is_dir() else FileFollower
        return kind(file, allocate=allocate)
    if config.publish.to == "directory":
        from ctr.model.follow_files import DirectoryFollower

        return DirectoryFollower(config.path(config.publish.directory), allocate=allocate)
    if config.publish.to == "none":
        raise SettingError("publish.to", "none", "'kafka' or 'directory', or --model FILE given")
    from ctr.model.follow import TopicFollower

    return TopicFollower(config.kafka, config.path(config.publish.topic), allocate=allocate)
