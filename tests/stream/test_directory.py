"""A log directory that is tailed: where it starts, where it ends, and what is lost."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from ctr.errors import OffsetsLostError, SettingError, SourceError
from ctr.log import LogWriter
from ctr.stream.directory import DirectorySource
from ctr.types import Position

from .worlds import by_source, positions_after, read_all, values_of


def write(folder: Path, **segments: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in segments.items():
        (folder / f"{name}.jsonl").write_bytes(content)


def read_now(source: DirectorySource) -> list[bytes]:
    found = []
    while (records := source.next_batch(0)) is not None:
        found += values_of(records)
    return found


def test_it_tails_what_another_thread_writes(tmp_path: Path) -> None:
    expected = [b"%d" % i for i in range(2000)]

    def produce() -> None:
        with LogWriter(tmp_path, segment_bytes=500, sync="never") as log:
            for i in range(0, len(expected), 10):
                log.append(b"".join(line + b"\n" for line in expected[i : i + 10]))
                if i % 500 == 0:
                    time.sleep(0.005)

    thread = threading.Thread(target=produce)
    thread.start()
    source, found = DirectorySource(tmp_path), []
    while len(found) < len(expected):
        records = source.next_batch(10)
        assert records is not None
        found += values_of(records)
    thread.join()
    assert found == expected
    assert source.next_batch(0) is None
    assert not source.ended()
    assert source.lag() == {f"log:{tmp_path}": 0}


def test_a_place_is_segment_and_byte(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n\ntwo\n", b=b"three\n")
    found = read_all(DirectorySource(tmp_path, stop_at_end=True))
    assert [r.offsets.tolist() for r in found] == [[0, 5], [0]]
    assert [r.after for r in found] == [Position("a.jsonl", 9), Position("b.jsonl", 6)]
    stamp = int((tmp_path / "a.jsonl").stat().st_mtime * 1000)
    assert set(found[0].timestamps.tolist()) == {stamp}


def test_a_slash_at_the_end_is_no_other_log(tmp_path: Path) -> None:
    assert DirectorySource(f"{tmp_path}/").uri == DirectorySource(tmp_path).uri == f"log:{tmp_path}"


def test_latest_starts_after_the_last_whole_line(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n", b=b"two\nhal")
    source = DirectorySource(tmp_path, start="latest")
    assert source.start() == {f"log:{tmp_path}": Position("b.jsonl", 4)}
    assert read_now(source) == []
    with open(tmp_path / "b.jsonl", "ab") as file:
        file.write(b"f\nthree\n")
    assert read_now(source) == [b"half", b"three"]


def test_the_start_of_an_empty_log_is_kept(tmp_path: Path) -> None:
    """What comes between a first start at the end and a restart is read after the restart."""
    start = DirectorySource(tmp_path, start="latest").start()
    write(tmp_path, a=b"one\n")
    assert read_now(DirectorySource(tmp_path, start="latest", resume=start)) == [b"one"]


def test_a_start_by_time_is_a_segment(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n", b=b"two\n", c=b"three\n")
    for i, name in enumerate("abc"):
        os.utime(tmp_path / f"{name}.jsonl", (1000 + i, 1000 + i))
    assert read_now(DirectorySource(tmp_path, start="1001000")) == [b"two", b"three"]
    assert read_now(DirectorySource(tmp_path, start="1970-01-01T00:16:42")) == [b"three"]
    assert read_now(DirectorySource(tmp_path, start="2000-01-01")) == []
    with pytest.raises(SettingError, match=r"events\.start must be 'earliest', 'latest' or a time"):
        DirectorySource(tmp_path, start="yesterday")


def test_it_stops_at_what_was_there(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\ntwo\nhal")
    source = DirectorySource(tmp_path, stop_at_end=True)
    with open(tmp_path / "a.jsonl", "ab") as file:
        file.write(b"f\nthree\n")
    found = read_all(source)
    assert by_source(found) == {source.uri: [b"one", b"two"]}
    rest = DirectorySource(tmp_path, resume=positions_after({}, found), stop_at_end=True)
    assert by_source(read_all(rest)) == {source.uri: [b"half", b"three"]}


def test_a_log_that_does_not_exist(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        DirectorySource(tmp_path / "none", stop_at_end=True)
    with caplog.at_level(logging.WARNING):
        source = DirectorySource(tmp_path / "none")
    assert "waiting for it" in caplog.text
    assert source.next_batch(0.01) is None
    write(tmp_path / "none", a=b"one\n")
    assert read_now(source) == [b"one"]


def test_it_waits_no_longer_than_asked(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path)
    began = time.monotonic()
    assert source.next_batch(0.2) is None
    assert time.monotonic() - began >= 0.2


def test_lost_segments_are_an_error_or_counted(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n", c=b"three\n")
    resume = {f"log:{tmp_path}": Position("b.jsonl", 7)}
    with pytest.raises(OffsetsLostError, match=r"b\.jsonl, byte 7.* c\.jsonl, byte 0"):
        DirectorySource(tmp_path, resume=resume).next_batch(0)
    source = DirectorySource(tmp_path, resume=resume, go_on=True)
    assert source.counters() == {"offsets_lost": 0}
    assert read_now(source) == [b"three"]
    assert source.counters() == {"offsets_lost": 1}


def test_ranges_to_skip_name_the_segment(tmp_path: Path) -> None:
    write(tmp_path, a=b"1\n2\n3\n", b=b"1\n2\n3\n")
    source = DirectorySource(tmp_path, skip=[f"log:{tmp_path}/b.jsonl:2-4"])
    assert read_now(source) == [b"1", b"2", b"3", b"1"]
    for bad in ("a:b", "a:5-3", "a", ":1-2", "a:1-"):
        with pytest.raises(SettingError, match=r"events\.skip must be source:first-last"):
            DirectorySource(tmp_path, skip=[bad])
