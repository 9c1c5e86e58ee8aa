"""A pruned snapshot is served: the answer is the logistic function of the weights that are left."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ctr.features.parser import Parser
from ctr.model.follow_files import FileFollower
from ctr.model.prune import Rule, prune
from ctr.model.snapshot import Snapshot, read, write
from ctr.types import Records
from tests import naive

from .running import SPEC, manifest, random_model, running


@pytest.mark.parametrize("rule", [Rule(keep=300), Rule(below=1.0)])
def test_a_pruned_snapshot_is_served(tmp_path: Path, rule: Rule) -> None:
    whole = Snapshot(manifest(7), random_model(density=1))
    pruned = prune(whole, rule)
    path = tmp_path / "clicks.pruned.model"
    write(path, *pruned)
    coordinates, values = read(path).model.weights()
    left = dict(zip(coordinates.tolist(), values.tolist(), strict=True))
    assert 0 < len(left) < whole.model.nonzero
    events = [{"features": {"user": f"u{i}", "ad": f"a{i % 3}"}} for i in range(20)]
    with running(FileFollower(path)) as server:
        server.wait_for_version(7)
        answer = server.predict({"events": events}).json()
    used = set()
    for event, p in zip(events, answer["probabilities"], strict=True):
        line = json.dumps(event).encode()
        batch = Parser(SPEC, predicting=True).parse(Records.of([line])).batch
        there = [naive.coordinate(int(key), SPEC.bits) for key in batch.keys]
        used |= {c in left for c in there}
        logit = sum(left.get(c, 0.0) for c in there)
        assert p == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-6)
    assert used == {True, False}
