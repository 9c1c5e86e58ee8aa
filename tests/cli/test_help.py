"""What the command says of itself."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from ctr import __version__
from ctr.cli import COMMANDS, main
from tests.cli.conftest import Command


def test_it_lists_its_commands(ctr: Command) -> None:
    said = ctr("--help")
    assert said.code == 0
    for name, about in COMMANDS.items():
        assert f"  {name} " in said.out
        assert about in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(ctr: Command, name: str) -> None:
    said = ctr(name, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: ctr {name} ")
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.short_help == COMMANDS[name]
    for option in command.params:
        flags = [flag for flag in option.opts if flag.startswith("--")]
        assert all(flag in said.out for flag in flags)
        if flags:
            assert getattr(option, "help", None), f"{flags} say nothing of themselves"


def test_help_is_quick_because_nothing_compiled_is_imported() -> None:
    program = """if True:
        import sys
        from click.testing import CliRunner
        from ctr.cli import COMMANDS, main
        for name in COMMANDS:
            long, short = (CliRunner().invoke(main, [name, flag]) for flag in ("--help", "-h"))
            assert long.exit_code == short.exit_code == 0
            assert long.output == short.output
        print({"numba", "kafka", "starlette", "uvicorn"} & set(sys.modules))
    """
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (told.stdout, told.stderr) == ("set()\n", "")


def test_the_version(ctr: Command) -> None:
    assert ctr("--version").out == f"ctr, version {__version__}\n"


def test_it_has_a_second_name_and_a_third() -> None:
    scripts = entry_points(group="console_scripts")
    assert {scripts[name].value for name in ("ctr", "ctr-stream")} == {"ctr.cli:main"}
    told = subprocess.run(
        [sys.executable, "-m", "ctr", "--version"], capture_output=True, text=True
    )
    assert told.stdout == f"ctr, version {__version__}\n"


def test_without_a_command_it_helps(ctr: Command) -> None:
    said = ctr()
    assert said.code == 2
    assert said.err == ctr("--help").out


def test_an_unknown_command_is_named(ctr: Command, tmp_path: Path) -> None:
    said = ctr("lern")
    assert said.code == 2
    assert "No such command 'lern'" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_its_section_of_the_docs_has_its_flags_and_no_others(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    sections = dict(re.findall(r"^## `ctr (\w+)`\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    assert set(sections) == set(COMMANDS)
    assert COMMANDS[name].rstrip(".") in sections[name]
    first_cells = re.findall(r"^\| (`-.*?) \|", sections[name], re.M)
    documented = re.findall(r"--[a-z0-9-]+", " ".join(first_cells))
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert documented == [
        flag for option in command.params for flag in option.opts if flag.startswith("--")
    ]
