"""Snapshot files and the directory that keeps them."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from ctr import files
from ctr.errors import DamagedFileError, IncompatibleError, SettingError
from ctr.model import snapshot
from ctr.model.manifest import Manifest
from ctr.model.snapshot import HOLD, MAGIC, SnapshotStore, read, write
from ctr.model.sparse import SparseModel
from ctr.settings import Features

from .twins import listed_in, pages_from

SPEC = Features(bits=10)
WEIGHTS = {0: -5.25, 17: 0.5, 900: 3.14159}
HOUR, DAY = 3600.0, 86_400.0


def model_of(weights=None) -> SparseModel:
    model = SparseModel(10)
    weights = WEIGHTS if weights is None else weights
    model.patch(pages_from({c: float(np.float32(v)) for c, v in weights.items()}))
    return model


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("encoding", ["q2.13", "float32"])
def test_a_snapshot_comes_back(tmp_path, encoding):
    manifest = Manifest(version=4, spec=SPEC, encoding=encoding, metrics={"auc": float("nan")})
    size = write(tmp_path / "m", manifest, model_of())
    assert size == (tmp_path / "m").stat().st_size
    again, model = read(tmp_path / "m")
    assert listed_in(model.pages()) == listed_in(model_of().pages())
    assert (again.version, again.nonzero, again.metrics) == (4, 3, {"auc": None})


def test_an_empty_model_is_a_model(tmp_path):
    write(tmp_path / "m", Manifest(version=1, spec=SPEC), SparseModel(10))
    assert read(tmp_path / "m").model.nonzero == 0


def test_any_changed_or_missing_byte_is_noticed(tmp_path):
    path = tmp_path / "m"
    write(path, Manifest(version=4, spec=SPEC), model_of())
    content = path.read_bytes()
    rng = random.Random(1)
    for _ in range(100):
        bad = bytearray(content)
        at = rng.randrange(len(bad))
        bad[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        with pytest.raises((DamagedFileError, IncompatibleError)):
            read(path)
        path.write_bytes(content[:at])
        with pytest.raises(DamagedFileError):
            read(path)


def test_every_flipped_bit_of_a_small_file_and_every_length_is_noticed(tmp_path):
    path = tmp_path / "m"
    write(path, Manifest(version=4, spec=SPEC), model_of())
    content = path.read_bytes()
    for at in range(len(content)):
        bad = bytearray(content)
        bad[at] ^= 1 << at % 8
        path.write_bytes(bad)
        with pytest.raises((DamagedFileError, IncompatibleError)) as refused:
            read(path)
        assert str(path) in str(refused.value)
        path.write_bytes(content[:at])
        with pytest.raises(DamagedFileError, match=r"cut short|SHA-256"):
            read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(DamagedFileError, match="SHA-256"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04\x95", b"PK\x03\x04" + bytes(100), b"CTRCKPT1" + bytes(200), bytes(5000)],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "m"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"is not a file of kind 'CTRMODL', or cut short"):
        read(path)


def framed(header: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    """A file with any header whose SHA-256 is right: what only a hand can make."""
    size = len(header) if length is None else length
    content = MAGIC + size.to_bytes(4, "little") + header + body
    content += bytes(-len(content) % 64)
    return content + hashlib.sha256(content).digest()


def pages_header(**changes) -> bytes:
    """The beginning of encoded pages that claim whatever ``changes`` says."""
    column = {"name": "w", "encoding": "q2.13", "bytes": changes.pop("bytes", 2)}
    said = {"version": 4, "pages": 1, "entries": 1, "structure": 3, "columns": [column]}
    header = json.dumps(said | changes).encode()
    return len(header).to_bytes(4, "little") + header + bytes(5)


HUGE = 2**60


@pytest.mark.parametrize(
    ("shape", "data", "said"),
    [
        ([HUGE], b"", "bytes in section 'pages'"),
        ([-1], b"", "bytes in section 'pages'"),
        ([2**40, 2**40], b"", "bytes in section 'pages'"),
        (None, pages_header(entries=HUGE), "fewer weights than coordinates"),
        (None, pages_header(pages=HUGE), "the header and the length differ"),
        (None, pages_header(structure=HUGE), "the header and the length differ"),
        (None, pages_header(bytes=HUGE), "the header and the length differ"),
        (None, b"\xff\xff\xff\xff", "hold no header"),
    ],
)
def test_sizes_are_checked_before_memory_is_asked_for(tmp_path, shape, data, said):
    """With 2^60 of anything: whoever believed it would not come back."""
    path = tmp_path / "m"
    section = {"name": "pages", "dtype": "|u1", "required": True}
    sections = [section | {"shape": [len(data)] if shape is None else shape}]
    meta = json.loads(Manifest(version=4, spec=SPEC).to_bytes())
    header = json.dumps({"meta": meta, "sections": sections}).encode()
    header += b" " * (-(len(header) + 12) % 64)
    path.write_bytes(framed(header, body=data))
    with pytest.raises(DamagedFileError, match=said) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    path = tmp_path / "m"
    for length in (10**6, 2**32 - 1):
        path.write_bytes(framed(b"{}", length))
        with pytest.raises(DamagedFileError, match="its header is wrong"):
            read(path)


@pytest.mark.parametrize("encoding", ["q2.13", "float32"])
def test_read_in_many_parts(tmp_path, monkeypatch, encoding):
    """As a large one is: wrong numbers in the last part are found too."""
    path = tmp_path / "m"
    weights = {c: (-4.5 if c % 7 else 0.25) + c / 8192 for c in range(0, 1024, 3)}
    manifest = Manifest(version=4, spec=SPEC, encoding=encoding)
    write(path, manifest, model_of(weights))
    whole = read(path).model
    monkeypatch.setattr(snapshot, "_PART", 3)
    parts = read(path).model
    assert (
        listed_in(parts.pages()) == listed_in(whole.pages()) == listed_in(model_of(weights).pages())
    )
    assert (parts.nonzero, parts.digest) == (whole.nonzero, whole.digest)

    def last_weight(_, sections) -> None:
        sections["pages"][-4:] = np.frombuffer(np.float32(np.nan).tobytes(), np.uint8)

    rewrite(path, last_weight)
    with pytest.raises(DamagedFileError, match="weights that no encoder wrote"):
        read(path)


def test_a_table_of_an_impossible_size_is_refused(tmp_path):
    path = tmp_path / "m"
    write(path, Manifest(version=4, spec=SPEC), model_of())
    for bits in (0, 3, 33, 1000):
        rewrite(path, lambda meta, _, bits=bits: meta["spec"].update(bits=bits))
        with pytest.raises(IncompatibleError, match="bits"):
            read(path)


def test_the_file_is_not_held_open(tmp_path):
    """A model that has been read does not keep its file's disk space, or its pages in memory."""
    path = tmp_path / "m"
    write(path, Manifest(version=4, spec=SPEC), model_of())
    model = read(path).model
    path.unlink()
    assert model.nonzero == 3
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(path) not in maps.read_text()


def rewrite(path, change) -> None:
    """The file with another meta or other sections, its SHA-256 right again."""
    meta, sections = files.read(path, MAGIC)
    sections = {name: array.copy() for name, array in sections.items()}
    change(meta, sections)
    files.write(path, MAGIC, meta, sections)


def test_a_file_whose_sum_is_wrong_is_damaged(tmp_path):
    path = tmp_path / "m"
    write(path, Manifest(version=4, spec=SPEC), model_of())
    rewrite(path, lambda meta, _: meta.update(nonzero=4))
    with pytest.raises(DamagedFileError, match="version 4 should have 4 weights"):
        read(path)
    rewrite(path, lambda _, sections: sections.update(pages=sections["pages"][:-1]))
    with pytest.raises(DamagedFileError, match="encoded pages are damaged"):
        read(path)
    rewrite(path, lambda _, sections: sections.pop("pages"))
    with pytest.raises(DamagedFileError, match="holds no weights"):
        read(path)


def test_what_a_later_ctr_wrote_is_refused_by_name(tmp_path):
    path = tmp_path / "m"
    write(path, Manifest(version=4, spec=SPEC), model_of())
    rewrite(path, lambda meta, _: meta.update(format=9))
    with pytest.raises(IncompatibleError, match="version 4 is of format 9"):
        read(path)
    write(path, Manifest(version=4, spec=SPEC), model_of())
    rewrite(path, lambda _, sections: sections.update(experts=np.zeros(3)))
    with pytest.raises(IncompatibleError, match="'experts'"):
        read(path)
    path.write_bytes(json.dumps({"version": 4}).encode())
    with pytest.raises(DamagedFileError, match="is not a file of kind"):
        read(path)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    store = SnapshotStore(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(Manifest(version=1, spec=SPEC), model_of())
    assert list(tmp_path.iterdir()) == []


def fill(store: SnapshotStore, clock: Clock, times: list[float]) -> None:
    for version, time in enumerate(times, 1):
        clock.now = time
        store.write(Manifest(version=version, spec=SPEC), model_of({1: 0.5}))


def test_retention_in_tiers(tmp_path):
    clock = Clock()
    store = SnapshotStore(tmp_path, clock)
    start = 20_000 * DAY
    # every 20 minutes over ten days
    times = [start + 1200.0 * i for i in range(10 * 72)]
    fill(store, clock, times)
    clock.now = times[-1]
    (tmp_path / "notes.txt").write_text("mine")
    removed = store.retain(last=4, hourly=6, daily=3)
    kept = [stored.published / 1000 for stored in store.stored()]
    newest_of_hours = {t // HOUR: t for t in times}
    newest_of_days = {t // DAY: t for t in times}
    wanted = set(times[-4:])
    wanted |= {newest_of_hours[h] for h in sorted(newest_of_hours)[-6:]}
    wanted |= {newest_of_days[d] for d in sorted(newest_of_days)[-3:]}
    assert kept == sorted(wanted)
    assert len(removed) == len(times) - len(wanted)
    assert (tmp_path / "notes.txt").exists()
    assert store.retain(last=4, hourly=6, daily=3) == []
    clock.now += 30 * DAY
    store.retain(last=1, hourly=6, daily=3)
    assert [stored.version for stored in store.stored()] == [len(times)]


def test_retention_keeps_what_is_held_and_sweeps_what_a_crash_left(tmp_path):
    clock = Clock()
    store = SnapshotStore(tmp_path, clock)
    fill(store, clock, [1.7e9 + i for i in range(5)])
    store.hold(2)
    stale = tmp_path / ".000000000009-1700000000000.model.77.tmp"
    fresh = tmp_path / ".000000000010-1700000000000.model.77.tmp"
    for path, age in ((stale, 2 * HOUR), (fresh, 60.0)):
        path.write_bytes(b"half")
        os.utime(path, (clock.now - age, clock.now - age))
    store.retain(last=1, hourly=0, daily=0)
    assert [stored.version for stored in store.stored()] == [2, 5]
    assert not stale.exists()
    assert fresh.exists()


def test_hold_and_release(tmp_path):
    store = SnapshotStore(tmp_path, Clock())
    with pytest.raises(SettingError, match=r"version must be one stored in .*: none; got 3"):
        store.hold(3)
    fill(store, Clock(), [1.7e9, 1.7e9 + 1])
    with pytest.raises(SettingError, match="1, 2; got 3"):
        store.hold(3)
    assert store.held() is None
    store.hold(1)
    assert store.held() == 1
    store.release()
    store.release()
    assert store.held() is None
    (tmp_path / HOLD).write_text("yesterday's")
    with pytest.raises(DamagedFileError, match='must hold a version; it has "yesterday\'s"'):
        store.held()


def test_latest_is_the_highest_version(tmp_path):
    store = SnapshotStore(tmp_path / "none", Clock())
    assert store.latest() is None
    assert store.stored() == []
    for version in (9, 10, 2):
        store.write(Manifest(version=version, spec=SPEC), model_of())
    assert store.latest().version == 10
    assert store.read(9).manifest.version == 9
