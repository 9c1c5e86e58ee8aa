"""What every source promises, run over all of them."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from pathlib import Path

import pytest

from ctr.stream.pipeline import Pipeline
from ctr.types import PADDING

from .worlds import (
    Directory,
    Files,
    Memory,
    Topic,
    World,
    by_source,
    positions_after,
    read_all,
    values_of,
)

LOCAL = ["memory", "file plain", "file gzip", "file zstd", "directory"]
KAFKA = ["kafka fast", "kafka poll", "kafka fast lz4"]


@pytest.fixture(params=LOCAL + KAFKA)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    kind, *rest = request.param.split()
    if kind == "memory":
        return Memory()
    if kind == "file":
        return Files(tmp_path, rest[0])
    if kind == "directory":
        return Directory(tmp_path)
    kafka = request.getfixturevalue("kafka")
    topic = request.getfixturevalue("topic_name")
    codec = rest[1] if len(rest) > 1 else None
    return Topic(kafka.bootstrap, topic, fast=rest[0] == "fast", codec=codec)


def lines(count: int, seed: int = 0) -> list[bytes | None]:
    chance = random.Random(seed)
    return [b'{"n":%d,"x":"%s"}' % (i, b"x" * chance.randrange(300)) for i in range(count)]


def test_every_record_once_and_in_order(world: World) -> None:
    expected = world.put(lines(500))
    assert by_source(read_all(world.open())) == expected


def test_the_arrays_are_as_promised(world: World) -> None:
    world.put(lines(300))
    last = defaultdict(lambda: -1)
    for records in read_all(world.open()):
        # one type for all sources: kernels are compiled for it once
        assert records.buffer.dtype == "uint8"
        assert records.buffer.flags.writeable
        assert records.buffer.flags.c_contiguous
        assert len(records.buffer) >= records.ends.max(initial=0) + PADDING
        assert not records.buffer[-PADDING:].any()
        for array in (records.starts, records.ends, records.offsets, records.timestamps):
            assert (array.dtype, len(array)) == ("int64", len(records))
            assert array.flags.c_contiguous
        place = (records.source, records.after.segment)
        for offset in records.offsets.tolist():
            assert offset > last[place]
            last[place] = offset
        assert records.after.offset > last[place]


@pytest.mark.parametrize("at", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_after_any_records_it_resumes_with_exactly_the_rest(world: World, at: float) -> None:
    expected = world.put(lines(300))
    source = world.open()
    found = read_all(source)
    cut = round(at * len(found))
    positions = positions_after(source.start(), found[:cut])
    resumed = world.open(positions)
    rest = by_source(read_all(resumed))
    before = by_source(found[:cut])
    assert {uri: before.get(uri, []) + rest.get(uri, []) for uri in expected} == expected
    assert not resumed.counters().get("offsets_lost")


def test_resuming_from_where_it_started_gives_all(world: World) -> None:
    expected = world.put(lines(40))
    source = world.open()
    source.next_batch(20)
    start = source.start()
    source.close()
    assert by_source(read_all(world.open(start))) == expected


def test_lag_ends_at_nothing(world: World) -> None:
    world.put(lines(300))
    source = world.open()
    source.next_batch(20)
    first = sum(source.lag().values())
    read_all(source)
    assert first > 0
    assert not any(source.lag().values())


def test_nothing_at_all_is_the_end_at_once(world: World) -> None:
    if isinstance(world, Files | Directory):
        world.put([])
        if isinstance(world, Directory):
            world.folder.mkdir(exist_ok=True)
    assert by_source(read_all(world.open())) == {}


def test_empty_values_are_records_and_blank_lines_are_not(world: World) -> None:
    values = [b"a", None, b"", b"   ", b"b", None, b"", b"c\r", b"\t"]
    expected = world.put(values)
    if not world.holds_nothing:
        expected = {uri: [v for v in those if v.strip()] for uri, those in expected.items()}
    assert by_source(read_all(world.open())) == expected


def test_values_larger_than_a_block_come_whole(world: World) -> None:
    chance = random.Random(1)
    large = [chance.randbytes(size).replace(b"\n", b"n") for size in (5_000, 70_000, 10_000_000)]
    values = [b"small", large[0], b"small", large[1], large[2], b"small", b"", b"last"]
    expected = world.put(values)
    if not world.holds_nothing:
        expected = {uri: [v for v in those if v] for uri, those in expected.items()}
    assert by_source(read_all(world.open())) == expected


def test_what_is_skipped_is_left_out(world: World) -> None:
    expected = world.put(lines(200))
    found = read_all(world.open())
    uri = found[-1].source
    own = [records for records in found if records.source == uri]
    segment = own[-1].after.segment
    offsets = [o for r in own if r.after.segment == segment for o in r.offsets.tolist()]
    values = [v for r in own if r.after.segment == segment for v in values_of(r)]
    first, last = offsets[1], offsets[-2]
    name = f"{uri}/{segment}" if segment else uri
    rest = read_all(world.open(skip=[f"{name}:{first}-{last}", "kafka:other/0:0-9"]))
    kept = by_source(rest)
    for value in values[1:-1]:
        expected[uri].remove(value)
    assert kept == expected
    assert positions_after({}, rest) == positions_after({}, found)


def test_read_ahead_it_is_the_same(world: World) -> None:
    expected = world.put(lines(500))
    source = world.open()
    with Pipeline(source, [lambda records: records] * 2) as pipeline:
        found = []
        for records in pipeline:
            found.append(records)
            time.sleep(0.002)  # so that there is no room for more now and then
    source.close()
    assert by_source(found) == expected
    assert positions_after({}, found) == positions_after({}, read_all(world.open()))
