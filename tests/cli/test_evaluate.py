"""``ctr evaluate``: one pass over files, in every form they come in."""

from __future__ import annotations

import gzip
import json
import math
import re
from pathlib import Path

import pytest
import zstandard

from ctr.simulate import Simulator
from tests.cli.conftest import Command


def figures(ctr: Command, *arguments: object, stdin: bytes | None = None) -> dict[str, float]:
    said = ctr("evaluate", *arguments, "--json", stdin=stdin)
    assert (said.code, said.err) == (0, "")
    found: dict[str, float] = json.loads(said.out)
    for name in ("seconds", "events_per_second"):
        assert found.pop(name) > 0
    return found


def test_the_figures_are_those_of_the_stream(ctr: Command, events: Path, stream: Simulator) -> None:
    found = figures(ctr, events)
    assert found["events"] == stream.totals.events
    assert sum(found["rejected"].values()) == stream.totals.bad  # type: ignore[attr-defined]
    assert stream.totals.best_log_loss < found["log_loss"]
    assert 0.5 < found["auc"] < 1
    assert 0 < found["nonzero_weights"] < found["touched_coordinates"]
    assert math.isclose(
        found["normalized_entropy"], found["log_loss"] / found["base_log_loss"], rel_tol=1e-9
    )


def test_the_table_says_the_same(ctr: Command, events: Path) -> None:
    found, said = figures(ctr, events), ctr("evaluate", events)
    assert said.code == 0
    rows = dict(re.findall(r"^ *(\S.*?) {2,}(\S.*)$", said.out, re.M))
    assert rows["events"] == f"{found['events']:,}"
    assert rows["log loss"] == f"{found['log_loss']:.6f}"
    assert rows["non-zero weights"] == f"{found['nonzero_weights']:,}"
    rejected: dict[str, int] = found["rejected"]  # type: ignore[assignment]
    assert {reason: int(rows[reason]) for reason in rejected} == rejected


def test_compressed_files_and_standard_input_are_the_same(
    ctr: Command, events: Path, lines: bytes, tmp_path: Path
) -> None:
    (tmp_path / "events.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "events.jsonl.zst").write_bytes(zstandard.compress(lines))
    plain = figures(ctr, events)
    assert figures(ctr, "events.jsonl.gz") == plain
    assert figures(ctr, "events.jsonl.zst") == plain
    assert figures(ctr, "-", stdin=lines) == plain


def test_several_files_are_one_stream(
    ctr: Command, events: Path, lines: bytes, tmp_path: Path
) -> None:
    cut = lines.index(b"\n", len(lines) // 2) + 1
    (tmp_path / "a.jsonl").write_bytes(lines[:cut])
    (tmp_path / "b.jsonl").write_bytes(lines[cut:])
    assert figures(ctr, "a.jsonl", "b.jsonl") == figures(ctr, events)


@pytest.mark.parametrize(
    "flags",
    [
        ["--alpha", "0.01"],
        ["--beta", "5"],
        ["--l1", "0.1"],
        ["--l2", "20"],
        ["--power", "0.4"],
        ["--schedule", "power(r=100,c=0.5)"],
        ["--learner", "rda"],
        ["--rates", "global"],
        ["--n", "counts"],
        ["--state", "q2.13"],
        ["--bits", "10"],
        ["--set", 'features.crosses=[["user","ad"]]'],
    ],
)
def test_every_setting_of_the_learner_counts(ctr: Command, events: Path, flags: list[str]) -> None:
    assert figures(ctr, events, *flags) != figures(ctr, events)


@pytest.mark.parametrize(
    ("learner", "flags"),
    [
        (["--learner", "ogd", "--rates", "global"], ["--momentum", "0.9"]),
        (["--learner", "ogd-count"], ["--min-count", "2"]),
    ],
)
def test_settings_of_one_learner(
    ctr: Command, events: Path, learner: list[str], flags: list[str]
) -> None:
    assert figures(ctr, events, *learner, *flags) != figures(ctr, events, *learner)


def test_events_without_a_click_are_left_out_and_the_rest_weighs_more(
    ctr: Command, events: Path
) -> None:
    found, whole = figures(ctr, events, "--keep-without-click", "0.25"), figures(ctr, events)
    assert found["observed_clicks"] == whole["observed_clicks"]
    assert found["events"] + found["subsampled"] == whole["events"]
    assert found["subsampled"] > 0.6 * whole["events"]
    assert whole["subsampled"] == 0
    assert found["base_rate"] == pytest.approx(whole["base_rate"], rel=0.1)
    assert found["calibration"] == pytest.approx(whole["calibration"], abs=0.1)
    said = ctr("evaluate", events, "--keep-without-click", "0.25")
    assert re.search(rf"^left out, no click +{found['subsampled']:,}$", said.out, re.M)


def test_a_file_of_settings_and_flags_over_it(ctr: Command, events: Path, tmp_path: Path) -> None:
    (tmp_path / "ctr.toml").write_text("[learner]\nl1 = 0.2\nalpha = 0.05\n")
    by_file = figures(ctr, events, "--config", "ctr.toml")
    assert by_file == figures(ctr, events, "--l1", "0.2", "--alpha", "0.05")
    over = figures(ctr, events, "--config", "ctr.toml", "--l1", "2")
    assert over == figures(ctr, events, "--l1", "2", "--alpha", "0.05")


def test_vowpal_wabbit_text(ctr: Command, tmp_path: Path) -> None:
    """The same features in the two formats are learned to the same loss."""
    users, ads = ("anna", "bert", "carl"), ("x", "y")
    rows = [(users[i % 3], ads[i % 2], (i * 7) % 5 == 0) for i in range(200)]
    (tmp_path / "a.vw").write_text(
        "".join(f"{1 if click else -1} |user {user} |ad {ad}\n" for user, ad, click in rows)
    )
    (tmp_path / "a.jsonl").write_text(
        "".join(
            json.dumps({"label": int(click), "features": {"user": user, "ad": ad}}) + "\n"
            for user, ad, click in rows
        )
    )
    vw, own = figures(ctr, "a.vw", "--format", "vw"), figures(ctr, "a.jsonl")
    assert vw["events"] == own["events"] == 200
    assert vw["touched_coordinates"] == own["touched_coordinates"] == 6
    assert vw["log_loss"] == pytest.approx(own["log_loss"], rel=1e-6)


FLAT = "".join(
    json.dumps({"click": i % 4 == 0, "user": f"u{i % 7}", "account": 4_000_000_000 + i}) + "\n"
    for i in range(300)
)


def test_settings_are_proposed_for_a_file_that_does_not_fit(ctr: Command, tmp_path: Path) -> None:
    """And with what was proposed, it does."""
    (tmp_path / "flat.jsonl").write_text(FLAT)
    said = ctr("evaluate", "flat.jsonl")
    assert said.code == 1
    assert "No event could be read with these settings." in said.err
    proposed = ctr("evaluate", "flat.jsonl", "--propose")
    assert proposed.code == 0
    assert "account" in proposed.out
    (tmp_path / "ctr.toml").write_text(toml_of(proposed.out))
    assert figures(ctr, "flat.jsonl", "--config", "ctr.toml")["events"] == 300


def toml_of(proposed: str) -> str:
    """From its first section on; what is before are remarks."""
    return proposed[proposed.index("[features]") :]


def test_nothing_that_can_be_read(ctr: Command) -> None:
    said = ctr("evaluate", "-", stdin=b"user,ad\n1,2\n")
    assert said.code == 1
    assert re.search(r"^  syntax +2$", said.out, re.M)


@pytest.mark.parametrize("form", ["vw", "libsvm", "criteo", "avazu"])
def test_nothing_of_that_format(ctr: Command, tmp_path: Path, form: str) -> None:
    (tmp_path / "events").write_text("{}\n" * 3)
    said = ctr("evaluate", "events", "--format", form)
    assert (said.code, said.err) == (1, "")
    assert re.search(r"^rejected +3$", said.out, re.M)
