"""Dropping weights against a dictionary: what goes, what stays, what the manifest says of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ctr.errors import SettingError
from ctr.model.manifest import Manifest
from ctr.model.prune import SECTION, Rule, drop, prune
from ctr.model.snapshot import Snapshot, SnapshotStore, find, read, write
from ctr.model.sparse import SparseModel
from ctr.settings import Features

from . import reader, twins
from .twins import listed_in, pages_from

SPEC = Features(bits=twins.BITS)
# few magnitudes, so that there are ties, and a bound is often met
tied = st.sampled_from([n / 8 for n in range(-6, 7) if n])
weights_of = st.dictionaries(twins.coordinate, tied | twins.weight, max_size=200)
exempts = st.sets(twins.coordinate, max_size=3).map(lambda more: (0, *sorted(more)))


def model_of(weights: twins.Weights, bits: int = twins.BITS) -> SparseModel:
    model = SparseModel(bits)
    model.patch(pages_from(weights))
    return model


def of(manifest: Manifest, weights: twins.Weights) -> Snapshot:
    return Snapshot(manifest, model_of(weights))


def left_below(weights: twins.Weights, below: float, exempt: tuple[int, ...]) -> twins.Weights:
    return {c: w for c, w in weights.items() if c in exempt or not abs(w) < below}


def left_of(weights: twins.Weights, keep: int, exempt: tuple[int, ...]) -> twins.Weights:
    """One after the other the smallest goes, of equals the one with the highest coordinate."""
    left = dict(weights)
    while len(left) > keep:
        losers = [(abs(w), -c) for c, w in left.items() if c not in exempt]
        if not losers:
            break
        _, c = min(losers)
        del left[-c]
    return left


def check(weights: twins.Weights, rule: Rule, wanted: twins.Weights) -> None:
    model = model_of(weights)
    smaller, dropped = drop(model, rule)
    assert listed_in(smaller.pages()) == wanted
    assert (smaller.nonzero, smaller.digest) == (len(wanted), twins.digest(wanted))
    assert dropped.tolist() == [w for c, w in sorted(weights.items()) if c not in wanted]
    assert listed_in(model.pages()) == weights
    assert (smaller.pages().masks != 0).all()


@given(weights_of, tied.map(abs) | st.floats(1e-30, 1e30), exempts)
def test_below(weights: twins.Weights, below: float, exempt: tuple[int, ...]) -> None:
    check(weights, Rule(below=below, exempt=exempt), left_below(weights, below, exempt))


@given(weights_of, st.integers(1, 220), exempts)
def test_keep(weights: twins.Weights, keep: int, exempt: tuple[int, ...]) -> None:
    wanted = left_of(weights, keep, exempt)
    exempt_here = len(weights.keys() & set(exempt))
    assert len(wanted) == min(len(weights), max(keep, exempt_here))
    check(weights, Rule(keep=keep, exempt=exempt), wanted)


@given(weights_of, st.integers(1, 220), st.integers(1, 220))
def test_in_two_steps_is_in_one(weights: twins.Weights, first: int, then: int) -> None:
    model = model_of(weights)
    twice = drop(drop(model, Rule(keep=first))[0], Rule(keep=then))[0]
    assert listed_in(twice.pages()) == listed_in(
        drop(model, Rule(keep=min(first, then)))[0].pages()
    )


def test_the_bias_stays_however_small_and_counts() -> None:
    weights = {0: 2.0**-20, 5: 1.0, 700: -2.0}
    check(weights, Rule(below=1e6), {0: 2.0**-20})
    check(weights, Rule(keep=1), {0: 2.0**-20})
    check(weights, Rule(keep=2), {0: 2.0**-20, 700: -2.0})
    check({5: 1.0, 700: -2.0}, Rule(keep=1), {700: -2.0})


def test_the_bound_is_not_rounded_to_a_float32() -> None:
    """The float32 next to 0.1 lies above it, and that next to 0.7 below."""
    tenth, seven = float(np.float32(0.1)), float(np.float32(0.7))
    check({1: tenth, 2: -tenth}, Rule(below=0.1), {1: tenth, 2: -tenth})
    check({1: seven, 2: -seven}, Rule(below=0.7), {})


def test_nothing_to_drop_and_nothing_there() -> None:
    check({0: 1.0, 5: 0.5}, Rule(keep=10**30), {0: 1.0, 5: 0.5})
    check({}, Rule(keep=3), {})
    check({}, Rule(below=1.0), {})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "exactly one of prune.below and prune.keep must be given; got 'neither'"),
        (
            {"below": 0.5, "keep": 3},
            "exactly one of prune.below and prune.keep must be given; "
            "got {'below': 0.5, 'keep': 3}",
        ),
        ({"below": 0.0}, "prune.below must be a finite number > 0; got 0.0"),
        ({"below": -0.5}, "prune.below must be a finite number > 0; got -0.5"),
        ({"below": math.inf}, "prune.below must be a finite number > 0; got inf"),
        ({"below": math.nan}, "prune.below must be a finite number > 0; got nan"),
        ({"below": True}, "prune.below must be a finite number > 0; got True"),
        ({"keep": 0}, "prune.keep must be a whole number >= 1; got 0"),
        ({"keep": -4}, "prune.keep must be a whole number >= 1; got -4"),
        ({"keep": 2.5}, "prune.keep must be a whole number >= 1; got 2.5"),
    ],
)
def test_wrong_rules(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(SettingError) as caught:
        Rule(**wrong)  # type: ignore[arg-type]
    assert str(caught.value) == said


WEIGHTS = {0: -5.25, 3: 0.5, 64: -0.125, 65: 0.25, 900: 2.0}
MANIFEST = Manifest(
    version=7, model="clicks", spec=SPEC, metrics={"auc": 0.7}, sections={"calibration": [1.0]}
)


@pytest.mark.parametrize("encoding", ["q2.13", "float32"])
def test_through_a_file(tmp_path, encoding: str) -> None:
    """Also for a reader that knows nothing of it: one made from the specification alone."""
    once = prune(of(MANIFEST, WEIGHTS), Rule(below=0.3))
    twice = prune(once, Rule(keep=2, exempt=(0, 3)))
    path = tmp_path / "pruned.model"
    write(path, replace(twice.manifest, encoding=encoding), twice.model)
    manifest, model = read(path)
    left = {0: -5.25, 3: 0.5}
    assert listed_in(model.pages()) == left
    assert manifest.sections == {
        "calibration": [1.0],
        SECTION: [
            {"below": 0.3, "exempt": [0], "dropped": 2, "largest_dropped": 0.25},
            {"keep": 2, "exempt": [0, 3], "dropped": 1, "largest_dropped": 2.0},
        ],
    }
    assert (manifest.version, manifest.requires, manifest.metrics) == (7, [], {"auc": 0.7})
    assert manifest.nonzero == 2
    said, weights = reader.read_snapshot(path.read_bytes())
    assert (said["sections"], weights) == (manifest.sections, left)


def test_a_rule_that_drops_nothing_is_written_down_too() -> None:
    after = prune(of(MANIFEST, WEIGHTS), Rule(keep=99))
    assert after.manifest.sections[SECTION] == [
        {"keep": 99, "exempt": [0], "dropped": 0, "largest_dropped": None}
    ]
    assert listed_in(after.model.pages()) == WEIGHTS
    # the sections of the manifest that came in are not changed in place
    assert SECTION not in MANIFEST.sections


def test_which_snapshot_is_meant(tmp_path) -> None:
    store = SnapshotStore(tmp_path / "snapshots", clock=lambda: 1.7e9)
    for version in (9, 10):
        newest = store.write(Manifest(version=version, spec=SPEC), model_of(WEIGHTS))
    assert find(tmp_path / "snapshots") == find(newest) == find(str(newest)) == newest
    with pytest.raises(SettingError, match="MODEL must be a snapshot file or a directory of them"):
        find(tmp_path / "none")
    with pytest.raises(SettingError, match="MODEL must be a directory with snapshots in it"):
        find(tmp_path)


def test_a_pruned_file_in_a_directory_is_not_followed(tmp_path) -> None:
    """Beside the snapshots it is nobody's next version, and retention leaves it alone."""
    store = SnapshotStore(tmp_path, clock=lambda: 1.7e9)
    whole = store.write(MANIFEST, model_of(WEIGHTS))
    beside = whole.with_name(f"{whole.stem}.pruned.model")
    write(beside, *prune(read(whole), Rule(keep=1)))
    assert [stored.path for stored in store.stored()] == [whole]
    store.retain(last=1, hourly=0, daily=0)
    assert beside.exists()
