"""The README is true: its example runs, its links lead somewhere, its commands are understood."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
from pathlib import Path

import click
import pytest

from ctr import config
from ctr.cli import main
from ctr.features.parser import Parser
from ctr.settings import Config, Features
from ctr.types import Records

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
MARKED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"^(?: {4,}[^ \n].*\n)+", re.M)


def blocks(text: str, kind: str) -> list[str]:
    """The marked blocks of ``text`` that are of this kind."""
    return [block for found, block in MARKED.findall(text) if found == kind]


def test_the_example_prints_what_it_says() -> None:
    (program,) = blocks(README, "python")
    said = README.partition(f"{program}```\n")[2]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "README.md", "exec"), {})
    assert printed.getvalue() == blocks(said, "text")[0]
    assert len([line for line in program.splitlines() if line]) <= 12


def test_the_two_commands_come_first() -> None:
    first, second = re.findall(r"^    (scripts/\w+)$", README, re.M)
    assert (first, second) == ("scripts/demo", "scripts/test")
    for script in (first, second):
        assert os.access(ROOT / script, os.X_OK)
        assert README.index(script) < README.index("## ")


def test_the_event_is_a_good_one() -> None:
    (line,) = blocks(README, "json")
    events = Parser(Features()).parse(Records.of([line.strip().encode()]))
    assert len(events) == 1
    assert len(events.batch.keys) == 1 + len(json.loads(line)["features"])


def test_the_table_is_that_of_the_demonstration() -> None:
    from ctr.cli.demo.screen import _COLUMNS, _line

    assert blocks(README, "text")[0].splitlines()[0] == _line(_COLUMNS)


# ---- all pages


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """What headings are called in links: lower case, no punctuation, hyphens for spaces."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def command_lines(text: str) -> list[str]:
    """The lines of code that call ctr, continued ones put together, remarks after it left out."""
    code = [*INDENTED.findall(text), *(block for _, block in MARKED.findall(text))]
    lines = [line.strip() for block in code for line in block.replace("\\\n", "").splitlines()]
    found = [re.sub(r"^.*\| *(?=ctr )", "", line) for line in lines]
    return [re.split(r" {3,}", line)[0] for line in found if re.match(r"ctr [a-z]+( |$)", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_are_understood(page: Path) -> None:
    for line in command_lines(page.read_text("utf-8")):
        _, *words = shlex.split(line)
        group = click.Context(main, **main.context_settings)
        try:
            name, command, arguments = main.resolve_command(group, words)
            assert command is not None
            command.make_context(name, arguments, group)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {line}: {error.format_message()}")


def test_there_are_commands_to_understand() -> None:
    found = command_lines(README) + command_lines((ROOT / "docs" / "cli.md").read_text("utf-8"))
    assert {line.split()[1] for line in found} == set(main.list_commands(click.Context(main)))
    assert "ctr evaluate --format vw -" in found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_settings_in_examples_can_be_loaded(page: Path, tmp_path: Path) -> None:
    for text in blocks(page.read_text("utf-8"), "toml"):
        file = tmp_path / "ctr.toml"
        file.write_text(text, "utf-8")
        assert config.load(file, {}) != Config()
