"""The framed file: what is written comes back, and nothing else is ever taken for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ctr import files
from ctr.errors import DamagedFileError, IncompatibleError

MAGIC = b"EXAMPLE1"
CELL = np.dtype([("z", "<f8"), ("n", "<f4"), ("d", "<f4"), ("x", "u1", (2,))])
META = {"events": 7, "name": "Zoë"}
SECTIONS = {"z": np.array([0.5, -1.5]), "ids": np.array([[1], [2]], np.uint64)}


def bytes_of(header, arrays, magic=MAGIC):
    """docs/checkpoint-format.md in plain Python: the bytes of a file."""
    text = json.dumps(header).encode()
    content = magic + len(text).to_bytes(4, "little") + text
    for array in arrays:
        content += bytes(-len(content) % 64) + array.tobytes()
    content += bytes(-len(content) % 64)
    return content + hashlib.sha256(content).digest()


def parse(content, known=None):
    return files.parse(np.frombuffer(content, np.uint8).copy(), MAGIC, known, "it")


def same(left, right):
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and (left.tobytes() == right.tobytes())
    )


@contextlib.contextmanager
def file_size_limit(size):
    """Files of this process cannot grow past ``size``, as on a full disk (EFBIG for ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# ---- there and back

ARRAYS = hnp.arrays(
    st.sampled_from(["bool", "i1", "u8", "<i4", ">f4", "f8", "S3"]).map(np.dtype) | st.just(CELL),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False, width=64)),
    st.dictionaries(st.text(min_size=1, max_size=8), ARRAYS, max_size=4),
)
def test_there_and_back(tmp_path_factory, meta, sections):
    path = tmp_path_factory.mktemp("files") / "file"
    meta = {key: value for key, value in meta.items() if abs(value) != float("inf")}
    size = files.write(path, MAGIC, meta, sections)
    assert size == path.stat().st_size
    got_meta, got = files.read(path, MAGIC, frozenset(sections))
    assert got_meta == meta
    assert list(got) == list(sections)
    for name, array in sections.items():
        assert same(got[name], array)
        got[name][...] = 0  # may be written to


def test_the_bytes_are_those_of_the_specification(tmp_path):
    files.write(tmp_path / "file", MAGIC, META, SECTIONS, frozenset({"ids"}))
    header = {
        "meta": META,
        "sections": [
            {"name": "z", "dtype": "<f8", "shape": [2], "required": True},
            {"name": "ids", "dtype": "<u8", "shape": [2, 1], "required": False},
        ],
    }
    assert (tmp_path / "file").read_bytes() == bytes_of(header, SECTIONS.values())


def test_arrays_in_any_memory_order(tmp_path):
    table = np.arange(12.0).reshape(3, 4)
    files.write(tmp_path / "file", MAGIC, {}, {"t": table.T, "s": table[::2, ::2]})
    _, got = files.read(tmp_path / "file", MAGIC)
    assert (got["t"] == table.T).all()
    assert (got["s"] == table[::2, ::2]).all()


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], object),
        np.array(["text"]),
        np.array([b""], "S0"),
        np.array(["2026-01-01"], "M8[D]"),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        np.zeros(2, np.dtype([("a", object)])),
    ],
    ids=str,
)
def test_arrays_that_would_not_come_back_are_refused(tmp_path, array):
    if array.dtype.kind == "S":
        array = np.zeros(1, np.dtype([("a", "S0")]))["a"]
    with pytest.raises(TypeError):
        files.write(tmp_path / "file", MAGIC, {}, {"array": array})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("meta", [{"x": float("nan")}, {"x": float("inf")}, {"x": b""}])
def test_meta_that_is_not_json_is_refused(tmp_path, meta):
    with pytest.raises((TypeError, ValueError)):
        files.write(tmp_path / "file", MAGIC, meta, {})
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_no_reader_would_take_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_HEADER_LIMIT", 100)
    with pytest.raises(ValueError, match="over the limit of 100"):
        files.write(tmp_path / "file", MAGIC, {"x": "y" * 100}, {})


# ---- damage


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("content") / "file"
    files.write(path, MAGIC, META, SECTIONS)
    return path.read_bytes()


def test_cut_short_at_every_byte(content):
    assert parse(content)[0] == META
    for length in range(len(content)):
        with pytest.raises(DamagedFileError):
            parse(content[:length])


def test_any_bit_flipped(content):
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedFileError):
            parse(bytes(damaged))


@pytest.mark.parametrize("more", [b"\0", b"x" * 100])
def test_bytes_after_the_end(content, more):
    with pytest.raises(DamagedFileError, match="SHA-256"):
        parse(content + more)


@given(st.binary(max_size=200))
def test_any_bytes(other):
    with pytest.raises(DamagedFileError, match="not a file of kind 'EXAMPLE'"):
        parse(other)


GOOD = {"name": "z", "dtype": "<f8", "shape": [2], "required": True}


@pytest.mark.parametrize(
    "header",
    [
        {},
        [],
        7,
        {"meta": {}},
        {"sections": []},
        {"meta": {}, "sections": [{}]},
        {"meta": {}, "sections": [GOOD | {"dtype": "O"}]},
        {"meta": {}, "sections": [GOOD | {"dtype": "<U2"}]},
        {"meta": {}, "sections": [GOOD | {"dtype": [["a", "O"]]}]},
        {"meta": {}, "sections": [GOOD | {"dtype": "?!"}]},
        {"meta": {}, "sections": [GOOD | {"shape": [30]}]},
        {"meta": {}, "sections": [GOOD | {"shape": [-1]}]},
        {"meta": {}, "sections": [GOOD | {"shape": [-1, -2]}]},
        {"meta": {}, "sections": [GOOD | {"shape": [2**64]}]},
        {"meta": {}, "sections": [GOOD | {"shape": [1.5]}]},
        {"meta": {}, "sections": [GOOD | {"shape": "ab"}]},
        {"meta": {}, "sections": [GOOD, GOOD]},
    ],
    ids=str,
)
def test_a_wrong_header_under_a_right_digest(header):
    with pytest.raises(DamagedFileError, match="its header is wrong"):
        parse(bytes_of(header, [np.zeros(2)]))


def test_a_section_past_the_end_that_is_passed_over():
    header = {"meta": {}, "sections": [GOOD | {"shape": [30], "required": False}]}
    with pytest.raises(DamagedFileError, match="240 bytes in section 'z'"):
        parse(bytes_of(header, [np.zeros(2)]), known=frozenset())


def test_a_header_longer_than_the_file():
    body = MAGIC + (1 << 30).to_bytes(4, "little") + bytes(100)
    with pytest.raises(DamagedFileError, match="1073741824 bytes of header"):
        parse(body + hashlib.sha256(body).digest())


# ---- other versions


def test_sections_that_a_reader_does_not_know(tmp_path):
    files.write(tmp_path / "file", MAGIC, {}, SECTIONS, optional=frozenset({"ids"}))
    assert list(files.read(tmp_path / "file", MAGIC, frozenset({"z"}))[1]) == ["z"]
    with pytest.raises(IncompatibleError, match="'z', which this version does not know"):
        files.read(tmp_path / "file", MAGIC, frozenset({"ids"}))


def test_another_version_is_not_called_damage(tmp_path):
    files.write(tmp_path / "file", b"EXAMPLE2", {}, SECTIONS)
    with pytest.raises(IncompatibleError, match=r"has version '2' .* reads '1'"):
        files.read(tmp_path / "file", MAGIC)


def test_another_kind_of_file(tmp_path):
    files.write(tmp_path / "file", b"PICTURE1", {}, SECTIONS)
    with pytest.raises(DamagedFileError, match="file is not a file of kind 'EXAMPLE'"):
        files.read(tmp_path / "file", MAGIC)


# ---- what writing leaves behind


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write(path, MAGIC, {"old": True}, {})
    with file_size_limit(1 << 16), pytest.raises(OSError, match="File too large"):
        files.write(path, MAGIC, {"old": False}, {"big": np.zeros(1 << 16)})
    assert files.read(path, MAGIC)[0] == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write(path, MAGIC, {"old": True}, {})

    def interrupt(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            files.write(path, MAGIC, {"old": False}, {})
    assert files.read(path, MAGIC)[0] == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_durable_before_it_has_its_name(tmp_path, monkeypatch):
    """The order of the calls is the promise: content flushed, renamed, directory flushed."""
    calls = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor):
        calls.append("directory" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "content")
        fsync(descriptor)

    def noted_replace(self, target):
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    files.write(tmp_path / "file", MAGIC, META, SECTIONS)
    assert calls == ["content", "rename", "directory"]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "file", MAGIC)
