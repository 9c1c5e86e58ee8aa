"""Real clicks: the sample of the Open Bandit Dataset that the package ``obp`` carries.

Saito et al. 2021, "Open Bandit Dataset and Pipeline": impressions of fashion items in an online
shop, chosen by two policies in three campaigns, with 10,000 rows of each. It is real and small.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from benchmarks.report import table

from ctr.settings import Features
from studies.findings import Finding, as_row, brief, in_percent, with_spread
from studies.learners import chosen
from studies.plan import GRIDS, TUNING_SEED, Plan
from studies.runs import judge, run_all
from studies.streams import Stream, from_files

PACKAGE = "obp==0.4.1"
_POLICIES, _CAMPAIGNS = ("bts", "random"), ("all", "men", "women")
_USER = [f"user_feature_{i}" for i in range(4)]
_ITEM = [f"item_feature_{i}" for i in range(1, 4)]
SPEC = Features(
    bits=18,
    crosses=[["item", name] for name in _USER] + [["item", "place"], ["campaign", "place"]],
    columns={"affinity": "log_bucket"},
)


def study(plan: Plan) -> Finding:
    """Every learner, tuned on one order of the rows, over others and over that in time."""
    folder = Path(__file__).resolve().parents[2] / "build" / "open-bandit"
    rows = sorted(_rows(_package(folder)), key=lambda row: row["ts"])
    in_time = _stream(rows, folder, "in time")
    tuning, *orders = (
        _stream(
            [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))],
            folder,
            f"order {seed}",
        )
        for seed in (TUNING_SEED, *range(1, plan.seeds + 1))
    )
    lines, found_rows, reference = [], [], None
    for name, variants in GRIDS.items():
        settings = chosen(run_all(variants, [tuning], f"Open Bandit, tuning {name}"))
        ordered, *shuffled = run_all([settings], [in_time, *orders], f"Open Bandit, {name}")
        reference = reference or shuffled
        lines.append(
            [
                name,
                brief(settings),
                with_spread([run.nonzero for run in shuffled], "{:,.0f}"),
                in_percent(
                    [r.late.auc_loss for r in shuffled], [r.late.auc_loss for r in reference], 1
                ),
                with_spread([run.late.log_loss for run in shuffled], "{:.5f}"),
                f"{ordered.late.log_loss:.5f}",
            ]
        )
        found_rows += [as_row(run, learner=name) for run in (ordered, *shuffled)]
    bases = [_base(stream) for stream in (*orders, in_time)]
    lines.append(
        [
            "always the click rate",
            "",
            "0",
            "",
            with_spread(bases[:-1], "{:.5f}"),
            f"{bases[-1]:.5f}",
        ]
    )
    head = ["", "settings", "non-zero weights", "AucLoss", "log loss", "rows in time"]
    clicks = int(in_time.labels.sum())
    text = f"{len(rows):,} impressions, {clicks} clicks.\n\n{table(head, lines)}"
    return Finding("public", text, found_rows)


def _base(stream: Stream) -> float:
    """The log loss, over the second half, of saying the whole's click rate."""
    half = stream.batches[len(stream.batches) // 2 :]
    rate = stream.labels.mean()
    return judge([np.full(len(batch), rate) for batch in half], half).log_loss


def _package(folder: Path) -> zipfile.ZipFile:
    """The package's archive, downloaded once; nothing of it is installed or run."""
    found = sorted(folder.glob("obp-*.whl"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
        subprocess.run([*command, "--dest", str(folder)], check=True)
        found = sorted(folder.glob("obp-*.whl"))
    return zipfile.ZipFile(found[-1])


def _rows(package: zipfile.ZipFile) -> Iterator[dict[str, object]]:
    """Every impression as an event."""
    for policy in _POLICIES:
        for campaign in _CAMPAIGNS:
            folder = f"obp/dataset/obd/{policy}/{campaign}"
            items = {row["item_id"]: row for row in _table(package, f"{folder}/item_context.csv")}
            for row in _table(package, f"{folder}/{campaign}.csv"):
                item = row["item_id"]
                affinity = float(row.get(f"user-item_affinity_{item}") or 0)
                features: dict[str, object] = {
                    "campaign": campaign,
                    "item": f"{campaign} {item}",
                    "place": row["position"],
                    **{name: row[name] for name in _USER},
                    **{name: items[item][name] for name in _ITEM},
                }
                if affinity:
                    features["affinity"] = affinity + 0.5  # a number with a point is a quantity
                when = datetime.fromisoformat(row["timestamp"])
                yield {
                    "ts": round(1000 * when.timestamp()),
                    "label": int(row["click"]),
                    "features": features,
                }


def _table(package: zipfile.ZipFile, name: str) -> Iterator[dict[str, str]]:
    with package.open(name) as content:
        yield from csv.DictReader(io.TextIOWrapper(content, "utf-8"))


def _stream(rows: list[dict[str, object]], folder: Path, name: str) -> Stream:
    file = folder / f"{name.replace(' ', '-')}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return from_files([file], "json", SPEC, f"Open Bandit, {name}")
