"""Files and pipes: compression whole and broken, and what progress bars read."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from ctr.errors import OffsetsLostError, SettingError, SourceError
from ctr.stream.files import FileSource
from ctr.types import Position

from .worlds import by_source, positions_after, read_all, values_of

CONTENT = b"".join(b'{"n":%d}\n' % i for i in range(5000))
LINES = CONTENT.splitlines()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESS = {".gz": gzip.compress, ".zst": zstd}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("name", ["events", "events.jsonl", "events.jsonl{}"])
def test_compression_is_known_by_its_content(tmp_path: Path, ending: str, name: str) -> None:
    path = tmp_path / name.format(ending)
    path.write_bytes(COMPRESS[ending](CONTENT))
    assert by_source(read_all(FileSource([path], batch_bytes=5000))) == {f"file:{path}": LINES}


@pytest.mark.parametrize("ending", COMPRESS)
def test_several_members_are_one_content(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"events{ending}"
    half = len(CONTENT) // 2 + 3
    padding = bytes(20) if ending == ".gz" else b"\x50\x2a\x4d\x18\x02\0\0\0hi"
    compress = COMPRESS[ending]
    path.write_bytes(compress(CONTENT[:half]) + compress(b"") + compress(CONTENT[half:]) + padding)
    assert by_source(read_all(FileSource([path]))) == {f"file:{path}": LINES}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("cut", [3, 9, -1, -9])
def test_a_compressed_file_that_ends_too_early(tmp_path: Path, ending: str, cut: int) -> None:
    path = tmp_path / f"events{ending}"
    data = COMPRESS[ending](CONTENT)[:cut]
    path.write_bytes(data)
    source = FileSource([path], batch_bytes=1 << 12)
    with pytest.raises(SourceError) as raised:
        read_all(source)
    message = str(raised.value)
    assert str(path) in message
    assert "byte 0" in message or f"byte {len(data)}: it ends in the middle" in message


@pytest.mark.parametrize("ending", COMPRESS)
def test_broken_compression_names_file_and_byte(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"events{ending}"
    data = bytearray(COMPRESS[ending](os.urandom(300_000).hex().encode()))
    data[200_000] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=rf"{path}: broken \w+ after byte \d+: "):
        read_all(FileSource([path]))


@pytest.mark.parametrize("content", [b"", CONTENT, b"\x1f"])
def test_a_name_that_promises_compression_must_keep_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="not gzip from byte 0 on"):
        read_all(FileSource([path]))


def test_what_follows_a_member_and_is_none(tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(CONTENT) + b"garbage")
    with pytest.raises(SourceError, match="broken gzip"):
        read_all(FileSource([path]))


def test_files_one_after_the_other(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("b", "empty", "a")]
    for path, content in zip(paths, (b"1\n2", b"", b"3\n"), strict=True):
        path.write_bytes(content)
    found = read_all(FileSource(paths))
    assert [values_of(records) for records in found] == [[b"1", b"2"], [b"3"]]


def test_what_is_wrong_with_a_path_shows_at_once(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"1\n")
    with pytest.raises(SourceError, match=r"missing: No such file"):
        FileSource([good, tmp_path / "missing"])
    with pytest.raises(SourceError, match="a directory, not a file"):
        FileSource([tmp_path])
    for paths in ([], [good, good]):
        with pytest.raises(SettingError, match="each named once"):
            FileSource(paths)


def test_progress_is_in_bytes_of_the_disk(tmp_path: Path) -> None:
    plain, small = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(CONTENT)
    small.write_bytes(gzip.compress(CONTENT))
    total = plain.stat().st_size + small.stat().st_size
    source = FileSource([plain, small], batch_bytes=1 << 13)
    seen = [source.progress()]
    while not source.ended():
        source.next_batch(0)
        seen.append(source.progress())
    assert (seen[0], seen[-1]) == ((0, total), (total, total))
    read = [at for at, _ in seen]
    assert read == sorted(read)
    assert len(set(read)) > 5


def test_resuming_counts_as_progress(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(CONTENT)
    source = FileSource([path], resume={f"file:{path}": Position("", 900)}, batch_bytes=1 << 12)
    source.next_batch(0)
    assert source.progress() == (900 + (1 << 12), len(CONTENT))


@pytest.mark.parametrize("ending", ["", *COMPRESS])
def test_a_file_that_ends_before_the_position(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"events{ending}"
    path.write_bytes(COMPRESS.get(ending, bytes)(b"1\n2\n"))
    source = FileSource([path], resume={f"file:{path}": Position("", 5)})
    with pytest.raises(OffsetsLostError, match=r"byte 5, .* ends at byte 4"):
        source.next_batch(0)


def test_a_file_that_grew_since_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"1\n2\n")
    source = FileSource([path])
    after = positions_after(source.start(), read_all(source))
    path.write_bytes(b"1\n2\n3\n")
    assert by_source(read_all(FileSource([path], resume=after))) == {f"file:{path}": [b"3"]}


# ---- pipes


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_lines_of_a_pipe_come_as_they_are_written(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    source = FileSource(["-"], stdin=reading, clock=lambda: 12.5)
    assert source.next_batch(0.01) is None
    os.write(writing, b"one\ntw")
    records = source.next_batch(5)
    assert values_of(records) == [b"one"]
    assert records.timestamps.tolist() == [12_500]
    assert source.next_batch(0.01) is None
    assert not source.ended()
    os.write(writing, b"o\nthree")
    assert values_of(source.next_batch(5)) == [b"two"]
    os.close(writing)
    assert values_of(source.next_batch(5)) == [b"three"]
    assert source.ended()
    assert source.progress() == (13, None)


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_pipe_byte_by_byte(pipe: tuple[int, int], ending: str) -> None:
    reading, writing = pipe
    data = COMPRESS[ending](CONTENT)

    def write() -> None:
        for i in range(8):
            os.write(writing, data[i : i + 1])
        os.write(writing, data[8:])
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    found = []
    source = FileSource(["-"], stdin=reading, batch_bytes=4096)
    while not source.ended():
        if (records := source.next_batch(0.05)) is not None:
            found.append(records)
    thread.join()
    assert by_source(found) == {"file:-": LINES}


def test_a_pipe_is_read_past_what_was_learned(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    source = FileSource(["-"], stdin=reading, resume={"file:-": Position("", 4)})
    os.write(writing, b"on")
    assert source.next_batch(0.01) is None
    os.write(writing, b"e\ntwo\n")
    records = source.next_batch(5)
    assert (values_of(records), records.offsets.tolist()) == ([b"two"], [4])


def test_a_file_without_lines_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctr.stream.files.MAX_LINE_BYTES", 1 << 12)
    path = tmp_path / "zeros"
    path.write_bytes(b"one\n" + bytes(1 << 16))
    source = FileSource([path], batch_bytes=64)
    assert source.next_batch(0) is not None
    with pytest.raises(SourceError, match=r"zeros, byte 4: a line of more than 4096 bytes"):
        source.next_batch(0)
