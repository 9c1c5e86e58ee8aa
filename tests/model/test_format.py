"""The written specification: its example, a reader made from it, and files of earlier versions.

``golden`` holds what ctr 0.1.0 wrote; these files are never changed, only added to.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from ctr.model.assembler import Assembler
from ctr.model.encoding import decode, encode
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.records import Record, publish_records
from ctr.model.snapshot import read, write
from ctr.settings import Features

from . import reader, twins
from .twins import listed_in, pages_from

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[2] / "docs" / "model-format.md"


def golden_records() -> list[Record]:
    lines = (GOLDEN / "format-1.topic.jsonl").read_text().splitlines()
    pairs = map(json.loads, lines)
    return [(key.encode(), base64.b64decode(value)) for key, value in pairs]


def golden_weights(name: str) -> twins.Weights:
    """The weights that belong to a golden file, written as plain JSON beside it."""
    weights = json.loads((GOLDEN / name).read_text())
    return {int(c): value for c, value in weights.items()}


def random_image(encoding: str) -> Image:
    rng = np.random.default_rng(5)
    image = Image(twins.BITS, encoding, seed=1, exact=[0])
    dense = rng.normal(0, 2, (16, 64)) * (rng.random((16, 64)) < 0.3)
    dense[0, 0] = -5.3
    image.update(range(16), dense.astype(np.float32))
    return image


def test_the_example_of_the_specification():
    listed = {1: 0.5, 3: -6.0, 130: 2.0**-13}
    example = re.search(r"```hex\n(.*?)```", DOCS.read_text(), re.DOTALL)
    data = bytes.fromhex(example[1])
    assert encode(pages_from(listed), "q2.13", 7) == data
    assert listed_in(decode(data, 16)[1]) == listed
    assert reader.read_pages(data)[1] == listed


@pytest.mark.parametrize("encoding", ["q2.13", "float32"])
def test_the_plain_reader_reads_what_is_written_today(tmp_path, encoding):
    image = random_image(encoding)
    manifest = Manifest(version=3, spec=Features(bits=twins.BITS), encoding=encoding)
    write(tmp_path / "m", manifest, image.model)
    described, weights = reader.read_snapshot((tmp_path / "m").read_bytes())
    assert described["version"] == 3
    assert weights == listed_in(image.model.pages())

    records: list[Record] = []
    for version in range(3, 9):
        image.update([version], np.full((1, 64), version / 16, np.float32))
        image.update([2], np.zeros((1, 64), np.float32))
        whole = version == 3
        complete = manifest.describing(image.model, version=version, whole=whole, blocks=4, ring=3)
        records += publish_records(complete, image.model, image.take_changes(), 700)
        described, weights = reader.read_topic(records)
        assert described["version"] == version
        assert weights == listed_in(image.model.pages())


def test_a_golden_snapshot_is_read():
    wanted = golden_weights("format-1.snapshot.json")
    manifest, model = read(GOLDEN / "format-1.model")
    assert (manifest.version, manifest.spec.crosses) == (42, [["user", "ad"]])
    assert listed_in(model.pages()) == wanted
    described, weights = reader.read_snapshot((GOLDEN / "format-1.model").read_bytes())
    assert (described["version"], weights) == (42, wanted)


def test_a_golden_topic_is_followed():
    wanted = golden_weights("format-1.topic.json")
    assembler = Assembler()
    for record in golden_records():
        assembler.feed(*record)
    update = assembler.update()
    assert listed_in(update.commit().pages()) == wanted
    described, weights = reader.read_topic(golden_records())
    assert (described["version"], weights) == (update.manifest.version, wanted)
