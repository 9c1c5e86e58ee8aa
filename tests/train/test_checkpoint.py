"""The checkpoint store: crashes are its test data."""

from __future__ import annotations

import contextlib
import doctest
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ctr import files
from ctr.errors import (
    DamagedFileError,
    FencedError,
    IncompatibleError,
    LockedError,
    SettingError,
)
from ctr.train import checkpoint
from ctr.train.checkpoint import CheckpointStore
from ctr.types import Position

from .states import events_of, letters, state

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


def save(store, events, **more):
    parts, positions = state(events)
    return store.save(parts, positions, letters(events), {"model": {"name": "clicks"}}, **more)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@contextlib.contextmanager
def full_disk():
    """No file of this process can grow past 64 KiB (EFBIG in place of ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# ---- there and back


def test_nothing_yet(tmp_path):
    with CheckpointStore(tmp_path / "state" / "clicks") as store:
        assert store.load() is None
        assert store.damaged == []


def test_what_is_saved_is_loaded(tmp_path):
    with CheckpointStore(tmp_path, clock=lambda: 1700.5) as store:
        path = save(store, 7)
        found = store.load()
    assert events_of(found) == 7
    assert found.parts["learner"][1]["z"].dtype == np.float64
    assert found.settings == {"model": {"name": "clicks"}}
    assert (found.created_ms, found.epoch, found.sequence) == (1_700_500, 1, 1)
    assert (found.started_from, found.path) == ("", path)


def test_the_last_few_are_kept(tmp_path):
    with CheckpointStore(tmp_path, keep=2) as store:
        for events in range(5):
            save(store, events)
        assert [path.name for path in store.paths()] == [
            "checkpoint-00000001-00000005.ctr",
            "checkpoint-00000001-00000004.ctr",
        ]
        assert events_of(store.load()) == 4


def test_every_start_has_a_higher_epoch(tmp_path):
    for epoch in (1, 2, 3):  # also when the one before never saved
        with CheckpointStore(tmp_path) as store:
            assert store.epoch == epoch
    with CheckpointStore(tmp_path) as store:
        save(store, 1)
    (tmp_path / "lock").unlink()
    with CheckpointStore(tmp_path) as store:
        assert store.epoch == 5


def test_a_later_epoch_wins_over_a_longer_one(tmp_path):
    with CheckpointStore(tmp_path) as store:
        for events in (10, 11, 12):
            save(store, events)
    with CheckpointStore(tmp_path) as store:
        save(store, 5)
        assert events_of(store.load()) == 5


def test_numbers_are_compared_as_numbers(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.sequence = 99_999_998
        save(store, 1)
        save(store, 2)
        assert events_of(store.load()) == 2


def test_saving_from_many_threads(tmp_path):
    def clock():
        time.sleep(0.002)  # the others get their turn in the middle of a save
        return 1.0

    with CheckpointStore(tmp_path, keep=100, clock=clock) as store:
        threads = [threading.Thread(target=save, args=(store, n)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(events_of(checkpoint.read(path)) for path in store.paths()) == list(range(20))


def test_other_files_in_the_directory_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoint-1-1.ctr.bak").write_text("mine too")
    (tmp_path / "snapshots").mkdir()
    with CheckpointStore(tmp_path, keep=1) as store:
        assert store.load() is None
        save(store, 1)
        save(store, 2)
    assert {"notes.txt", "checkpoint-1-1.ctr.bak", "snapshots"} < set(names(tmp_path))


def test_part_names_have_no_slash(tmp_path):
    with CheckpointStore(tmp_path) as store, pytest.raises(ValueError, match="no '/'"):
        store.save({"a/b": ({}, {})}, {})


# ---- damage


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def unreadable(path):
    path.unlink()
    path.mkdir()


DAMAGES = pytest.mark.parametrize("damage", [cut, flip, empty, unreadable])


@DAMAGES
def test_the_one_before_a_damaged_one_is_used(tmp_path, damage, caplog):
    with CheckpointStore(tmp_path) as store:
        for events in (1, 2, 3):
            save(store, events)
        newest = store.paths()[0]
        damage(newest)
    with CheckpointStore(tmp_path) as store:
        assert events_of(store.load()) == 2
        assert len(store.damaged) == 1
        assert newest.name in store.damaged[0]
        assert f"checkpoint passed over: {store.damaged[0]}" in caplog.text
        save(store, 4)
        assert events_of(store.load()) == 4
        assert store.damaged == []


@DAMAGES
def test_all_damaged_is_an_error_and_never_a_fresh_start(tmp_path, damage):
    with CheckpointStore(tmp_path) as store:
        for events in (1, 2, 3):
            save(store, events)
        paths = store.paths()
        for path in paths:
            damage(path)
    with CheckpointStore(tmp_path) as store:
        with pytest.raises(DamagedFileError) as caught:
            store.load()
        assert all(path.name in str(caught.value) for path in paths)
        assert str(tmp_path) in str(caught.value)
        assert store.paths() == paths


def test_cut_short_at_every_byte(tmp_path):
    with CheckpointStore(tmp_path) as store:
        save(store, 1)
        save(store, 2)
        path = store.paths()[0]
        content = path.read_bytes()
        for length in range(0, len(content), 7):
            path.write_bytes(content[:length])
            assert events_of(store.load()) == 1
        path.write_bytes(content)
        assert events_of(store.load()) == 2


@pytest.mark.parametrize("lost", ["positions", "letters", "parts", "epoch", "created_ms"])
def test_a_file_that_is_no_checkpoint_inside(tmp_path, lost):
    with CheckpointStore(tmp_path) as store:
        meta, sections = files.read(save(store, 1), checkpoint.MAGIC)
    del meta[lost]
    files.write(tmp_path / "other", checkpoint.MAGIC, meta, sections)
    with pytest.raises(DamagedFileError, match=f"not a checkpoint's content .'{lost}'."):
        checkpoint.read(tmp_path / "other")


# ---- other versions


def test_parts_that_a_reader_does_not_know(tmp_path):
    with CheckpointStore(tmp_path) as store:
        save(store, 1, optional=("gate",))
        assert list(store.load(known={"learner"}).parts) == ["learner"]
        save(store, 2)
        with pytest.raises(IncompatibleError, match="the part 'gate', which this version does not"):
            store.load(known={"learner"})


def test_a_later_version_is_never_passed_over(tmp_path):
    """Going on from the one before would undo what the later version learned."""
    with CheckpointStore(tmp_path) as store:
        save(store, 1)
        files.write(tmp_path / "checkpoint-00000001-00000009.ctr", b"CTRCKPT2", {}, {})
        with pytest.raises(IncompatibleError, match="another version"):
            store.load()


def test_the_checkpoint_of_version_1():
    """Written once by this project's first release; never write it again."""
    found = checkpoint.read(GOLDEN / "checkpoint-1.ctr")
    assert found.positions == {
        "kafka:events/0": Position("", 1200),
        "log:events": Position("00000002.jsonl", 77),
    }
    meta, arrays = found.parts["learner"]
    assert meta == {"events": 1277}
    assert arrays["z"].tolist() == [0.0, 1.5, -2.5]
    assert arrays["cells"].dtype.names == ("n", "d")
    assert arrays["cells"].tolist() == [(1.0, 2.0)]
    assert found.parts["gate"] == ({"events": 1277}, {})
    assert found.letters == [
        ("kafka:events/0/17/0", "syntax", b"{\xff"),
        ("log:events", "empty", b""),
    ]
    assert found.settings == {"learner": {"alpha": 0.1}}
    assert (found.created_ms, found.epoch, found.sequence) == (1_700_000_000_000, 1, 1)
    assert found.started_from == ""


def test_the_page_on_the_format_is_true(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = str(ROOT / "docs" / "checkpoint-format.md")
    failed, tried = doctest.testfile(page, False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert (failed, tried > 3) == (0, True)


# ---- going back to a named one


@pytest.fixture
def poisoned(tmp_path):
    """A directory whose last two of four checkpoints should not have been."""
    directory = tmp_path / "state"
    with CheckpointStore(directory) as store:
        paths = [save(store, events) for events in (1, 2)]
    with CheckpointStore(directory, keep=4) as store:
        paths += [save(store, events) for events in (3, 4)]
    return directory, paths


def test_a_named_one_is_loaded(poisoned):
    directory, paths = poisoned
    for named in (str(paths[1]), paths[1].name):
        with CheckpointStore(directory) as store:
            found = store.load(named)
            assert events_of(found) == 2
            assert found.started_from == paths[1].name


def test_a_restart_does_not_go_back_again(poisoned):
    directory, paths = poisoned
    named = paths[1].name
    with CheckpointStore(directory, keep=2) as store:
        store.load(named)
    with CheckpointStore(directory, keep=2) as store:  # died before it saved
        assert events_of(store.load(named)) == 2
        save(store, 20)
        save(store, 21)
    assert not paths[1].exists()
    for events in (22, 23):
        with CheckpointStore(directory, keep=2) as store:
            assert events_of(store.load(named)) == events - 1
            save(store, events)
    with CheckpointStore(directory, keep=2) as store:
        assert events_of(store.load()) == 23
        assert store.started_from == named


def test_a_named_one_from_elsewhere_that_is_damaged_or_missing(poisoned, tmp_path):
    directory, paths = poisoned
    with CheckpointStore(directory) as store:
        with pytest.raises(SettingError, match=r"^checkpoint\.load must be a file, here or in .*"):
            store.load("nothing.ctr")
        elsewhere = shutil.copy(paths[0], tmp_path / "before-the-poison.ctr")
        assert events_of(store.load(str(elsewhere))) == 1
        flip(elsewhere)
        with pytest.raises(DamagedFileError, match=r"before-the-poison\.ctr is damaged"):
            store.load(str(elsewhere))


def test_a_named_one_is_loaded_whatever_the_newest_is(poisoned):
    directory, paths = poisoned
    flip(paths[3])
    files.write(paths[2], b"CTRCKPT2", {}, {})
    with CheckpointStore(directory) as store:
        assert events_of(store.load(paths[0].name)) == 1


# ---- disks


def test_a_full_disk_leaves_the_old_ones_and_saving_goes_on_later(tmp_path):
    parts, positions = state(2, size=1 << 16)
    with CheckpointStore(tmp_path, keep=1) as store:
        save(store, 1)
        with full_disk():
            for _ in range(3):
                with pytest.raises(OSError, match="File too large"):
                    store.save(parts, positions)
        assert events_of(store.load()) == 1
        assert names(tmp_path) == ["checkpoint-00000001-00000001.ctr", "lock"]
        store.save(parts, positions, letters(2))
        assert events_of(store.load()) == 2


def test_a_directory_that_cannot_be(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        CheckpointStore(tmp_path / "state")


# ---- two writers


def test_a_second_writer_is_told(tmp_path):
    with CheckpointStore(tmp_path) as store:
        with pytest.raises(LockedError, match="is in use by another process") as caught:
            CheckpointStore(tmp_path)
        assert str(tmp_path) in str(caught.value)
        save(store, 1)
        assert store.epoch == 1
    CheckpointStore(tmp_path).close()


def test_a_writer_that_was_replaced_stops(tmp_path):
    with CheckpointStore(tmp_path / "a", keep=1) as old, CheckpointStore(tmp_path / "b") as new:
        save(old, 1)
        new.epoch = 2
        shutil.copy(save(new, 2), tmp_path / "a")
        before = names(tmp_path / "a")
        with pytest.raises(FencedError, match="its epoch is 2 and this process has 1"):
            save(old, 3)
        assert names(tmp_path / "a") == before


def test_a_writer_replaced_by_one_that_has_not_saved_stops(tmp_path):
    with CheckpointStore(tmp_path) as store:
        save(store, 1)
        (tmp_path / "lock").write_text("00000002\n")
        with pytest.raises(FencedError, match="its epoch is 2 and this process has 1"):
            save(store, 2)


def test_a_writer_whose_directory_was_replaced_stops(tmp_path):
    directory = tmp_path / "state"
    for _ in range(3):
        CheckpointStore(directory).close()
    with CheckpointStore(directory) as old:
        save(old, 1)
        shutil.rmtree(directory)
        with pytest.raises(OSError, match="No such file"):
            save(old, 2)
        with CheckpointStore(directory) as new:
            save(new, 10)
            with pytest.raises(FencedError, match="lock has been replaced"):
                save(old, 2)
            assert events_of(new.load()) == 10


# ---- kill -9

SAVING = """
import sys
from pathlib import Path
from ctr.train.checkpoint import CheckpointStore
from states import letters, state

store = CheckpointStore(Path(sys.argv[1]), keep=2)
found = store.load()
events = found.parts["learner"][0]["events"] if found else 0
print(events, flush=True)
while True:
    events += 1
    parts, positions = state(events, size=1 << 18)
    store.save(parts, positions, letters(events))
    print(events, flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Start Python on a script with arguments; all of them are killed at the end."""
    running = []
    path = f"{Path(__file__).parent}{os.pathsep}{ROOT}"

    def run(script, *arguments):
        child = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(child)
        return child

    yield run
    for child in running:
        child.kill()
        child.wait()
        child.stdout.close()


def test_killed_at_random_moments(tmp_path, start):
    directory, chance = tmp_path / "state", random.Random(1)
    reached, leftovers = 0, 0
    for _ in range(8):
        child = start(SAVING, str(directory))
        assert int(child.stdout.readline()) == reached
        child.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(chance.random() * 0.05)
        child.kill()
        acknowledged = [int(line) for line in child.stdout.read().split()]
        child.wait()
        leftovers += len(list(directory.glob(".*.tmp")))
        with CheckpointStore(directory) as store:
            assert not list(directory.glob(".*.tmp"))
            after = events_of(store.load())
            assert store.damaged == []
        # what was said to be saved is there; at most one more is, whose saying so was cut off
        last = acknowledged[-1] if acknowledged else reached + 1
        assert last <= after <= last + 1
        reached = after
    assert leftovers, "no kill fell into a write: this test has lost its point"


STOPPING = """
import os, sys, time
from pathlib import Path

def stop(*arguments, **options):
    print("here", flush=True)
    time.sleep(600)

from ctr.train.checkpoint import CheckpointStore
from states import letters, state

store = CheckpointStore(Path(sys.argv[1]), keep=1)
parts, positions = state(1)
store.save(parts, positions, letters(1))
{patch}
parts, positions = state(2)
store.save(parts, positions, letters(2))
"""


@pytest.mark.parametrize(
    ("patch", "events"),
    [
        ("os.fsync = stop", 1),
        ("Path.replace = stop", 1),
        ("from ctr import files; files.sync_directory = stop", 2),
        ("Path.unlink = stop", 2),
    ],
    ids=["written", "flushed", "renamed", "durable"],
)
def test_killed_at_every_step(tmp_path, start, patch, events):
    directory = tmp_path / "state"
    child = start(STOPPING.format(patch=patch), str(directory))
    assert child.stdout.readline() == "here\n"
    with pytest.raises(LockedError):
        CheckpointStore(directory)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with CheckpointStore(directory, keep=1) as store:
        assert events_of(store.load()) == events
        save(store, 3)
        assert names(directory) == ["checkpoint-00000002-00000001.ctr", "lock"]
