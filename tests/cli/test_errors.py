"""What is wrong is said in one line: the key, the value, what was wanted. No traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command

SETTINGS = [
    (["--alpha", "-1"], "learner.alpha must be > 0; got '-1'"),
    (["--bits", "99"], "features.bits must be <= 32; got '99'"),
    (["--bits", "many"], "features.bits must be a whole number; got 'many'"),
    (["--schedule", "fast"], "learner.schedule must be "),
    (["--set", "learner.alpha"], "--set must be section.key=value; got 'learner.alpha'"),
    (["--set", "learner.alhpa=1"], "learner.alhpa is not a setting; did you mean 'alpha'?"),
    (["--set", "lerner.alpha=1"], "lerner is not a setting; did you mean 'learner'?"),
    (["--config", "no.toml"], "--config must be a readable file"),
]

COMMANDS = [
    (["evaluate", "no.jsonl"], "no.jsonl: No such file or directory"),
    (["train", "no.jsonl"], "no.jsonl: No such file or directory"),
    (["train", "--set", "events.source=directory"], "events.directory must be "),
    (["train", "--start", "soon"], "events.start must be "),
    (["inspect", "no.model"], "MODEL must be a snapshot file or a directory of them; got"),
    (["inspect", "."], "MODEL must be a directory with snapshots in it; got '.'"),
    (["inspect", "events.jsonl"], "events.jsonl is not a file of kind"),
    (["serve", "--port", "70000"], "serve.port must be <= 65535; got '70000'"),
    (["serve", "--set", "publish.to=none"], "publish.to must be 'kafka' or 'directory'"),
    (["simulate", "--base-rate", "7"], "simulate.base_rate must be in (0, 1); got 7.0"),
    (["simulate", "--to", "events.jsonl/log", "--events", "1"], "events.jsonl/log"),
    (["demo", "--directory", "events.jsonl/demo"], "--directory must be a folder that can be made"),
]


@pytest.mark.parametrize(("flags", "wanted"), SETTINGS)
def test_a_wrong_setting(ctr: Command, events: Path, flags: list[str], wanted: str) -> None:
    said = ctr("evaluate", "events.jsonl", *flags)
    one_line(said.err, wanted)
    assert (said.code, said.out) == (1, "")


@pytest.mark.parametrize(("arguments", "wanted"), COMMANDS)
def test_wrong_arguments(ctr: Command, events: Path, arguments: list[str], wanted: str) -> None:
    said = ctr(*arguments)
    one_line(said.err, wanted)
    assert (said.code, said.out) == (1, "")


def test_a_broker_that_is_not_there(ctr: Command, free_port: int) -> None:
    address = f"127.0.0.1:{free_port}"
    said = ctr("simulate", "--to", "kafka", "--events", "1", "--bootstrap-servers", address)
    one_line(said.err, address)
    assert said.code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "--events", "0"],
        ["simulate", "--rate", "-5"],
        ["evaluate"],
        ["evaluate", "a", "--format", "csv"],
        ["demo", "--seconds", "0"],
        ["demo", "--rate", "many"],
        ["inspect"],
        ["train", "--no-such-flag"],
    ],
)
def test_wrong_usage_points_at_the_help(ctr: Command, arguments: list[str]) -> None:
    said = ctr(*arguments)
    assert said.code == 2
    assert f"Try 'ctr {arguments[0]} --help' for help." in said.err
    assert said.err.splitlines()[-1].startswith("Error: ")


def test_a_config_file_is_checked_as_a_whole(ctr: Command, events: Path, tmp_path: Path) -> None:
    (tmp_path / "ctr.toml").write_text("[learner]\nalpha = 0.1\n[lerner]\n")
    one_line(ctr("evaluate", "events.jsonl", "--config", "ctr.toml").err, "lerner is not a setting")
    (tmp_path / "ctr.toml").write_text("[learner\n")
    one_line(ctr("evaluate", "events.jsonl", "--config", "ctr.toml").err, "must be a TOML file")


def test_the_environment_is_read_and_checked(
    ctr: Command, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTR_LEARNER__L1", "-3")
    one_line(ctr("evaluate", "events.jsonl").err, "learner.l1 must be >= 0; got '-3'")
    # what is said on the command line wins
    assert ctr("evaluate", "events.jsonl", "--l1", "1").code == 0


def one_line(said: str, wanted: str) -> None:
    lines = [line for line in said.splitlines() if not line.startswith("metrics on ")]
    assert len(lines) == 1, said
    assert lines[0].startswith("error: ")
    assert wanted in lines[0]
