"""Manifests as JSON, across versions of ctr."""

from __future__ import annotations

import json
import math

import pytest

from ctr.errors import DamagedFileError, IncompatibleError
from ctr.model.manifest import Manifest
from ctr.model.sparse import SparseModel
from ctr.settings import Features, Learner
from ctr.types import Position

from .twins import pages_from

FULL = Manifest(
    version=12,
    model="clicks",
    event_time=1_700_000_000_000,
    events_learned=10**12,
    positions={"kafka:events/0": Position("", 17).to_json()},
    spec=Features(bits=10, crosses=[["user", "ad"]], columns={"price": "linear"}),
    learner=Learner(alpha=0.05),
    metrics={"log_loss": 0.25, "auc": math.nan},
    sections={"calibration": {"a": 1.0}},
    session="5f0c",
)


def test_all_comes_back():
    again = Manifest.from_bytes(FULL.to_bytes())
    assert again.metrics == {"log_loss": 0.25, "auc": None}
    assert again.spec == FULL.spec
    assert again.learner == FULL.learner
    assert again.source_positions() == {"kafka:events/0": Position("", 17)}
    assert again.to_bytes() == FULL.to_bytes()


def test_describing_a_model():
    model = SparseModel(10)
    model.patch(pages_from({0: -5.3, 3: 0.5}))
    described = FULL.describing(model, version=13)
    assert (described.version, described.nonzero) == (13, 2)
    assert int(described.digest, 16) == model.digest
    assert len(described.digest) == 16


def test_an_earlier_writer_knew_less_and_a_later_one_knows_more():
    assert Manifest.from_bytes(b'{"version":3}') == Manifest(version=3)
    later = json.loads(FULL.to_bytes()) | {"weather": "fine", "sections": {"new": [1]}}
    assert Manifest.from_bytes(json.dumps(later).encode()).version == 12


def test_an_unknown_feature_setting_is_refused():
    later = json.loads(FULL.to_bytes())
    later["spec"]["stemming"] = True
    with pytest.raises(IncompatibleError, match=r"version 12 has settings .* `stemming`"):
        Manifest.from_bytes(json.dumps(later).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"version":"x"}', b"\xff", b"null"])
def test_damage(data):
    with pytest.raises(DamagedFileError, match="manifest is damaged"):
        Manifest.from_bytes(data)
