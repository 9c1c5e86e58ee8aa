"""The segment log: what a writer leaves behind in any state is what a reader reads."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.errors import LockedError, OffsetsLostError, SettingError, SourceError
from ctr.log import LogReader, LogWriter, next_name, segments
from ctr.types import Position


def lines_left(reader: LogReader, end: Position | None = None) -> list[bytes]:
    """What there is to read now."""
    found = []
    while (lines := reader.read(end)) is not None:
        pairs = zip(lines.starts.tolist(), lines.ends.tolist(), strict=True)
        found += [lines.buffer[a:b].tobytes() for a, b in pairs]
    return found


def write(folder: Path, **segments: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in segments.items():
        (folder / f"{name}.jsonl").write_bytes(content)


# ---- the writer


def test_segments_rotate_by_size_and_sort(tmp_path: Path) -> None:
    with LogWriter(tmp_path, segment_bytes=100) as log:
        for i in range(30):
            log.append(b"%030d\n" % i)
    names = segments(tmp_path)
    assert len(names) == 10
    assert names == sorted(names)
    assert all((tmp_path / name).stat().st_size <= 100 for name in names)
    assert lines_left(LogReader(tmp_path)) == [b"%030d" % i for i in range(30)]


def test_what_is_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    with LogWriter(tmp_path, segment_bytes=10) as log:
        log.append(b"a\n")
        log.append(b"x" * 50 + b"\n")
        log.append(b"b\n")
        assert log.position == Position("000000000003.jsonl", 2)
    assert [(tmp_path / name).stat().st_size for name in segments(tmp_path)] == [2, 51, 2]


def test_half_a_line_is_refused(tmp_path: Path) -> None:
    with LogWriter(tmp_path) as log, pytest.raises(SettingError, match="whole lines"):
        log.append(b"a\nb")
    assert segments(tmp_path) == []


def test_only_one_process_writes(tmp_path: Path) -> None:
    with LogWriter(tmp_path), pytest.raises(LockedError, match="another process"):
        LogWriter(tmp_path)
    LogWriter(tmp_path).close()


def test_names_go_on_after_those_of_other_programs(tmp_path: Path) -> None:
    write(tmp_path, clicks=b"theirs\n")
    with LogWriter(tmp_path, segment_bytes=3) as log:
        log.append(b"ours\n")
        log.append(b"more\n")
    names = segments(tmp_path)
    assert names == ["clicks.jsonl", "clicks_000000000001.jsonl", "clicks_000000000002.jsonl"]
    assert lines_left(LogReader(tmp_path)) == [b"theirs", b"ours", b"more"]


@given(st.text("az09._-", max_size=12))
@settings(deadline=None)
def test_the_next_name_sorts_after_the_last(stem: str) -> None:
    last = f"{stem}.jsonl"
    assert next_name(last) > last
    assert next_name(next_name(last)) > next_name(last)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """The disk is a limit on the size of files, in a process of its own."""
    program = f"""
import resource, signal
from pathlib import Path
from ctr.log import LogWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
log = LogWriter(Path({str(tmp_path)!r}))
log.append(b"one\\n")
try:
    log.append(b"two\\n" + b"three is written in part\\n")
except OSError:
    assert log.position.offset == 8, log.position
log.append(b"four\\n")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert lines_left(LogReader(tmp_path)) == [b"one", b"two", b"four"]


def test_a_writer_killed_in_the_middle_of_a_line(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from ctr.log import LogWriter
log = LogWriter(Path({str(tmp_path)!r}))
log.append(b"whole\\n")
os.write(log._file, b"half a li")
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", program], check=False)
    assert died.returncode == -signal.SIGKILL
    reader = LogReader(tmp_path)
    assert lines_left(reader) == [b"whole"]
    with LogWriter(tmp_path) as log:  # its lock died with it
        assert lines_left(reader) == []
        log.append(b"next\n")
    # nobody can finish that line any more: it is one bad event, and the next is whole
    assert lines_left(reader) == [b"half a li", b"next"]


# ---- the reader


def test_a_line_counts_once_its_newline_is_there(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\ntw")
    reader = LogReader(tmp_path)
    assert lines_left(reader) == [b"one"]
    with open(tmp_path / "a.jsonl", "ab") as file:
        file.write(b"o")
        file.flush()
        assert lines_left(reader) == []
        assert reader.position == Position("a.jsonl", 4)
        file.write(b"\nthree\n")
    assert lines_left(reader) == [b"two", b"three"]


def test_the_last_line_of_a_segment_counts_when_a_later_one_exists(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\ntwo")
    reader = LogReader(tmp_path)
    assert lines_left(reader) == [b"one"]
    write(tmp_path, b=b"")
    assert lines_left(reader) == [b"two"]
    assert reader.position == Position("b.jsonl", 0)


def test_what_was_added_before_the_next_segment_came_is_read(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n")
    reader = LogReader(tmp_path)
    assert lines_left(reader) == [b"one"]
    with open(tmp_path / "a.jsonl", "ab") as file:
        file.write(b"two\n")
    write(tmp_path, b=b"three\n")
    assert lines_left(reader) == [b"two", b"three"]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n")
    (tmp_path / ".hidden.jsonl").write_bytes(b"no\n")
    (tmp_path / "notes.txt").write_bytes(b"no\n")
    assert lines_left(LogReader(tmp_path)) == [b"one"]


def test_an_empty_log_is_waited_for(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "later")
    assert reader.read() is None
    write(tmp_path / "later", a=b"one\n")
    assert lines_left(reader) == [b"one"]


@given(st.lists(st.binary(max_size=30), max_size=12), st.integers(4, 40), st.data())
@settings(deadline=None, max_examples=50)
def test_any_content_in_any_blocks_from_any_position(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], block: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    for i, part in enumerate(parts):
        (folder / f"{i:03d}.jsonl").write_bytes(part)
    (folder / "999.jsonl").write_bytes(b"end\n")
    expected = [v for part in parts for v in part.split(b"\n") if v.strip(b" \t\r")] + [b"end"]
    reader = LogReader(folder, block_bytes=block)
    found, positions = [], [reader.position]
    while (lines := reader.read()) is not None:
        pairs = zip(lines.starts.tolist(), lines.ends.tolist(), strict=True)
        found.append([lines.buffer[a:b].tobytes() for a, b in pairs])
        positions.append(reader.position)
    reader.close()
    assert list(chain(*found)) == expected
    cut = data.draw(st.integers(0, len(found)))
    rest = LogReader(folder, positions[cut], block)
    assert lines_left(rest) == list(chain(*found[cut:]))
    rest.close()


def test_it_stops_at_an_end(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n", b=b"two\nthree\n", c=b"four\n")
    reader = LogReader(tmp_path)
    assert lines_left(reader, Position("b.jsonl", 4)) == [b"one", b"two"]
    assert reader.position == Position("b.jsonl", 4)
    assert lines_left(reader) == [b"three", b"four"]


def test_a_line_larger_than_the_block_comes_whole(tmp_path: Path) -> None:
    write(tmp_path, a=b"s\n" + b"x" * 1000 + b"\nt\n")
    assert lines_left(LogReader(tmp_path, block_bytes=16)) == [b"s", b"x" * 1000, b"t"]


def test_a_file_without_lines_is_an_error_and_not_all_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr.log.MAX_LINE_BYTES", 1 << 12)
    write(tmp_path, a=b"one\n" + bytes(1 << 14))
    reader = LogReader(tmp_path, block_bytes=64)
    assert reader.read() is not None
    with pytest.raises(SourceError, match=r"a\.jsonl, byte 4: a line of more than 4096 bytes"):
        reader.read()


def test_behind_counts_the_bytes_to_read(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n", b=b"two\nthree\n")
    reader = LogReader(tmp_path, Position("b.jsonl", 4))
    assert reader.behind() == 6
    assert LogReader(tmp_path).behind() == 14


# ---- what is lost


def test_a_segment_that_vanished_before_it_was_read(tmp_path: Path) -> None:
    write(tmp_path, c=b"four\n")
    both = r"b\.jsonl, byte 4, .* goes on at c\.jsonl, byte 0"
    with pytest.raises(OffsetsLostError, match=both):
        LogReader(tmp_path, Position("b.jsonl", 4)).read()
    reader = LogReader(tmp_path, Position("b.jsonl", 4), go_on=True)
    assert lines_left(reader) == [b"four"]
    assert reader.lost == 1


def test_it_vanished_and_nothing_came_after(tmp_path: Path) -> None:
    reader = LogReader(tmp_path, Position("b.jsonl", 4), go_on=True)
    assert [reader.read() for _ in range(3)] == [None] * 3
    write(tmp_path, c=b"four\n")
    assert lines_left(reader) == [b"four"]
    assert reader.lost == 1


def test_a_later_segment_that_was_seen_and_vanished(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\n", b=b"two\n", c=b"three\n")
    for go_on in (False, True):
        write(tmp_path, b=b"two\n")
        reader = LogReader(tmp_path, go_on=go_on)
        assert reader.read() is not None
        (tmp_path / "b.jsonl").unlink()
        if go_on:
            assert lines_left(reader) == [b"three"]
            assert reader.lost == 1
        else:
            with pytest.raises(OffsetsLostError, match=r"b\.jsonl, byte 0, .* at c\.jsonl, byte 0"):
                reader.read()


def test_a_segment_that_shrank(tmp_path: Path) -> None:
    write(tmp_path, a=b"one\ntwo\n")
    reader = LogReader(tmp_path, go_on=True)
    assert lines_left(reader) == [b"one", b"two"]
    os.truncate(tmp_path / "a.jsonl", 0)
    write(tmp_path, a=b"new\n")
    assert lines_left(reader) == [b"new"]
    assert reader.lost == 1
    with pytest.raises(OffsetsLostError, match=r"a\.jsonl, byte 9, .* at a\.jsonl, byte 0"):
        LogReader(tmp_path, Position("a.jsonl", 9)).read()


def test_a_segment_deleted_while_it_is_read_is_still_read(tmp_path: Path) -> None:
    write(tmp_path, a=b"x\n" * 100, b=b"end\n")
    reader = LogReader(tmp_path, block_bytes=50)
    assert reader.read() is not None
    (tmp_path / "a.jsonl").unlink()
    assert lines_left(reader) == [b"x"] * 75 + [b"end"]


def test_a_segment_that_came_too_late_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, b=b"one\n")
    reader = LogReader(tmp_path)
    assert lines_left(reader) == [b"one"]
    write(tmp_path, a=b"late\n")
    with caplog.at_level(logging.WARNING):
        assert lines_left(reader) == []
        assert lines_left(reader) == []
    (message,) = caplog.messages
    assert "a.jsonl sorts before b.jsonl and is not read" in message


@pytest.mark.parametrize("sync", ["append", "segment", "never"])
def test_every_sync_writes_the_same(tmp_path: Path, sync: str) -> None:
    with LogWriter(tmp_path, 20, sync) as log:
        for i in range(9):
            log.append(b"%08d\n" % i)
    assert lines_left(LogReader(tmp_path)) == [b"%08d" % i for i in range(9)]
