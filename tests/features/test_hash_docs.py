"""docs/hashing.md: its vectors, and its code, against the compiled parser and the oracle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from ctr.features.parser import Parser
from ctr.features.spec import HASH_ALGORITHM, padded
from ctr.features.vw import VWParser
from ctr.kernels import buckets, hashing, table
from ctr.settings import Features
from ctr.types import Records
from tests import oracle, vw_oracle

PAGE = (Path(__file__).parents[2] / "docs" / "hashing.md").read_text("utf-8")


def rows(header: str) -> list[list[str]]:
    """The cells of the table with this header, without the marks of code."""
    _, _, rest = PAGE.partition(f"\n| {header} |\n")
    assert rest, f"there is no table with the header {header}"
    found = []
    for line in rest.splitlines()[1:]:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        found.append([cell.strip().strip("`").replace("\\|", "|") for cell in cells])
    assert found
    return found


def code() -> dict[str, Any]:
    """What the page's Python defines."""
    defined: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.S)[1], defined)  # type: ignore[index]
    return defined


BYTES = rows("seed | text (as JSON) | hash")
BUCKETS = rows("x | bucket")
EVENTS = rows("what | event | settings | key | x")
LINES = rows("what | line | settings | key | x")
COORDINATES = rows("key | bits | coordinate")


@numba.njit
def _hash(buffer: Any, length: int, seed: Any) -> Any:
    return hashing.hash_bytes(buffer, 0, length, seed)


@pytest.mark.parametrize(("seed", "text", "wanted"), BYTES)
def test_bytes(seed: str, text: str, wanted: str) -> None:
    content = json.loads(text).encode()
    ours = int(_hash(padded(content), len(content), np.uint64(int(seed))))
    theirs = oracle.hash_bytes(content, int(seed))
    written = code()["hash_bytes"](content, int(seed))
    assert [f"{h:016x}" for h in (ours, theirs, written)] == [wanted] * 3


@pytest.mark.parametrize(("x", "wanted"), BUCKETS)
def test_buckets(x: str, wanted: str) -> None:
    rounded = float(np.float32(float(x)))
    assert buckets.log_bucket(rounded) == oracle.bucket(rounded) == int(wanted)


@pytest.mark.parametrize(("what", "event", "settings", "key", "x"), EVENTS)
def test_features(what: str, event: str, settings: str, key: str, x: str) -> None:
    spec = Features(**json.loads(settings or "{}"))
    (row,) = oracle.read_record(event.encode(), spec, 0, True)
    batch = Parser(spec, predicting=True).parse(Records.of([event.encode()])).batch
    check(row, batch, key, x)


@pytest.mark.parametrize(("what", "line", "settings", "key", "x"), LINES)
def test_lines_of_vowpal_wabbit(what: str, line: str, settings: str, key: str, x: str) -> None:
    spec = Features(**json.loads(settings or "{}"))
    (row,) = vw_oracle.read_record(line.encode(), spec, 0, True)
    batch = VWParser(spec, predicting=True).parse(Records.of([line.encode()])).batch
    check(row, batch, key, x)


def check(row: Any, batch: Any, key: str, x: str) -> None:
    assert batch.keys.tolist() == row.keys
    assert batch.values.tolist() == row.values
    assert (batch.keys[0], batch.values[0]) == (0, 1.0)
    assert f"{batch.keys[-1]:016x}" == key
    assert batch.values[-1] == float(x)


@numba.njit
def _coordinate(key: Any, mask: Any) -> Any:
    return table.coordinate(key, mask)


@pytest.mark.parametrize(("key", "bits", "wanted"), COORDINATES)
def test_coordinates(key: str, bits: str, wanted: str) -> None:
    mask = np.uint64((1 << int(bits)) - 1)
    assert _coordinate(np.uint64(int(key, 16)), mask) == int(wanted)
    assert code()["coordinate"](int(key, 16), int(bits)) == int(wanted)


def names_of(event: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from names_of(value, (*above, name))
        else:
            yield (*above, name)


def test_the_code_of_the_page_makes_the_keys_of_its_table() -> None:
    page = code()
    by_what = {what: (json.loads(event), key) for what, event, _, key, _ in EVENTS}
    for what in ("a string", "not ASCII", "the empty string", "a name with a dot in it"):
        event, key = by_what[what]
        ((name, value),) = event.get("features", event).items()
        assert f"{page['category'](name, value):016x}" == key

    event, key = by_what["a path of three names"]
    parts = [page["hash_bytes"](part.encode(), 0) for part in next(names_of(event))]
    name = page["nested"](page["nested"](parts[0], parts[1]), parts[2])
    city = page["hash_bytes"](b"Paris", 0)
    assert f"{page['feature_key'](name, page['TEXT'], city):016x}" == key

    pair = [page["category"]("user", "u17"), page["category"]("ad", "a9")]
    assert f"{page['cross_key'](pair, 0):016x}" == by_what["a cross"][1]
    assert f"{page['cross_key'](pair[::-1], 0):016x}" == by_what["the other way round"][1]


def test_the_page_names_the_algorithm_and_its_constants() -> None:
    assert f"`{HASH_ALGORITHM}`" in PAGE
    for constant in (hashing.K0, hashing.K1, hashing.K2):
        assert f"{constant:016x}" in PAGE
