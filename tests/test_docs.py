"""Every setting, metric and command is in the documentation, and as it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry

from ctr import config
from ctr.learn import LEARNERS, schedules
from ctr.observe.server import ServerMetrics
from ctr.observe.trainer import TrainerMetrics
from ctr.settings import Config

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GENERATOR = ROOT / "scripts" / "docs"

DEFAULTS = {
    f"{section}.{name}": value
    for section, settings in config.to_tree(Config()).items()
    for name, value in settings.items()
}


def page(name):
    return (DOCS / name).read_text("utf-8")


# ---- learners


def test_every_learner_and_schedule_is_described():
    described = page("learners.md")
    for name, learner in LEARNERS.items():
        assert f"**`{name}`" in described
        assert learner.__name__ in described
    for _, example in schedules.REGISTRY.values():
        assert f"| `{example}` |" in described


# ---- configuration


@pytest.fixture
def generator():
    loader = SourceFileLoader("docs_script", str(GENERATOR))
    module = module_from_spec(spec_from_loader("docs_script", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("key", DEFAULTS)
def test_every_setting_is_documented_with_its_default(key):
    pattern = rf"^\| `{re.escape(key)}` \| `(.*?)` \| (.+) \| (.+) \|$"
    row = re.search(pattern, page("configuration.md"), re.M)
    assert row, f"{key} is not in docs/configuration.md; run scripts/docs"
    assert json.loads(row[1]) == DEFAULTS[key]


def test_nothing_else_is_documented_as_a_setting():
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", page("configuration.md"), re.M)) == set(DEFAULTS)


def test_the_pages_are_what_the_code_says():
    done = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_old_page_is_found_and_written_anew(tmp_path, monkeypatch, generator, capsys):
    (tmp_path / "docs").mkdir()
    for name in generator.PAGES:
        (tmp_path / "docs" / name).write_text(page(name).replace("0.1", "0.2"), "utf-8")
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["docs", "--check"])
    assert generator.main() == 1
    assert "docs/configuration.md is not what the code says" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["docs"])
    assert generator.main() == 0
    for name in generator.PAGES:
        assert (tmp_path / "docs" / name).read_text("utf-8") == page(name)


def test_the_examples_of_configuration_can_be_loaded(tmp_path):
    examples = re.findall(r"^( *)```toml\n(.*?)^ *```", page("configuration.md"), re.M | re.S)
    assert examples
    for indent, text in examples:
        file = tmp_path / "ctr.toml"
        file.write_text(re.sub(f"^{indent}", "", text, flags=re.M), "utf-8")
        assert config.load(file, {}) != Config()
        tomllib.loads(file.read_text("utf-8"))


def test_the_variables_of_configuration_can_be_set():
    variables = dict(re.findall(r"`(CTR_\w+)='?(.+?)'?`", page("configuration.md")))
    assert len(variables) > 1
    assert config.load(None, variables) != Config()


# ---- metrics


def test_every_metric_is_documented():
    text = page("metrics.md")
    registry = CollectorRegistry()
    TrainerMetrics(registry, "clicks")
    ServerMetrics(registry)
    families = list(registry.collect())
    assert len(families) > 20
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        row = re.search(rf"^\| `{name}` \| (\w+) \|", text, re.M)
        assert row, f"{name} is not in docs/metrics.md"
        assert row[1] == family.type


# ---- the command


def commands(group, path=("ctr",)):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_command_and_flag_is_documented():
    from ctr.cli import main

    text = page("cli.md")
    found = list(commands(main))
    assert len(found) >= 6
    for path, command in found:
        words = " ".join(path)
        section = re.search(rf"^#+ [^\n]*`{words}\b.*?(?=^#+ [^\n]*`ctr |\Z)", text, re.M | re.S)
        assert section, f"`{words}` has no section in docs/cli.md"
        flags = [flag for option in command.params for flag in option.opts if flag.startswith("--")]
        missing = [flag for flag in flags if not re.search(rf"{flag}\b", section[0])]
        assert not missing, f"`{words}`: {missing} are not in docs/cli.md"
