"""Options that several commands share, made from the settings they set."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import click
from msgspec import Meta

from ctr import settings
from ctr.config import load
from ctr.errors import SettingError

_Command = TypeVar("_Command", bound=Callable[..., Any])

LEARNER = ["learner.name", "learner.alpha", "learner.beta", "learner.l1", "learner.l2"]
LEARNER += ["learner.power", "learner.schedule", "learner.rates", "learner.n", "learner.momentum"]
LEARNER += ["learner.min_count", "learner.state", "features.bits"]
KAFKA = ["kafka.bootstrap_servers"]
FORMATS = ["json", "vw", "libsvm", "criteo", "avazu"]
"""Those of ``ctr.features.formats``, which is imported when there is something to read."""

_FLAGS = {"learner.name": "--learner"}
"""Where the last word of the key would not do: ``--name`` is the model's."""

COMPILING = "compiling, once for this version: half a minute or so ..."


event_format = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="json",
    show_default=True,
    help="Format of the events.",
)
"""``--format``, for commands that read files of events."""


def configured(*keys: str) -> Callable[[_Command], _Command]:
    """Give a command ``--config``, ``--set`` and an option for each of ``keys``.

    The command is called with ``config``, read from all of them; an option that was not given
    leaves the file and the environment as they are.
    """

    def decorate(command: _Command) -> _Command:
        for key in reversed(keys):
            command = _option(key)(command)
        command = click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="Any other setting, as --set gate.enabled=false; may be repeated.",
        )(command)
        return click.option(
            "--config", "config_file", metavar="FILE", help="TOML file of settings."
        )(command)

    return decorate


def read_config(
    config_file: str | None,
    assignments: tuple[str, ...],
    options: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> settings.Config:
    """The configuration from defaults, file, environment, ``--set`` and options, in this order."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or "." not in key:
            raise SettingError("--set", assignment, "section.key=value")
        overrides[key] = _from_json(value)
    named = {name.replace("__", "."): value for name, value in options.items()}
    overrides |= {key: value for key, value in named.items() if value is not None}
    return load(config_file, overrides=overrides, defaults=defaults)


def _from_json(text: str) -> Any:
    """Lists and tables are JSON, as in the environment; all else stays text."""
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:  # an address in brackets, or a slip, which the setting's type tells
            pass
    return text


def _option(key: str) -> Callable[[_Command], _Command]:
    section, name = key.split(".")
    hint = get_type_hints(get_type_hints(settings.Config)[section], include_extras=True)[name]
    about = ""
    if get_origin(hint) is Annotated:
        about = next(m.description or "" for m in get_args(hint)[1:] if isinstance(m, Meta))
    flag = _FLAGS.get(key, f"--{name.replace('_', '-')}")
    # values stay text: the setting's own type converts them and says what is wrong
    return click.option(flag, key.replace(".", "__"), metavar="VALUE", help=f"{about} [{key}]")


def log_to_stderr(verbose: bool = False) -> None:
    """Say what happens on standard error."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logging.getLogger("numba").setLevel(logging.WARNING)


def say_when_compiling() -> None:
    """A first start is slow: say why, if the command that runs now comes to compile anything."""
    from ctr.kernels.cache import when_compiling

    listening = when_compiling(lambda: click.echo(COMPILING, err=True))
    click.get_current_context().with_resource(listening)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; a second one of them ends the process at once."""
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop
