"""Memory that processes share: told of by a board, passed on, and given back."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ctr.errors import SettingError
from ctr.model import shared
from ctr.model.pages import Pages
from ctr.model.shared import Board, Memory, Posted, StalledError, receive
from ctr.model.sparse import SparseModel

BITS = 10
KEYS = np.arange(1 << BITS, dtype=np.uint64)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def uniform(weight: float) -> Pages:
    pages = (1 << BITS) // 64
    return Pages.from_dense(np.arange(pages), np.full((pages, 64), weight, np.float32))


def mapped() -> int:
    """How many pieces of a model's memory this process has mapped."""
    return Path("/proc/self/maps").read_text().count("memfd:ctr-model")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---- the board


def test_what_is_read_belongs_together() -> None:
    """Every field of every message is the same number, and a reader never sees two."""
    board = Board()
    reader = Board(os.dup(board.fd))
    interval, done = sys.getswitchinterval(), threading.Event()

    def message(number: int) -> Posted:
        text = str(number) * (1 + number % 50)
        return Posted(number, number, number % 2 == 0, number, text.encode(), number, text)

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            with board.changing():
                board.post(message(number))

    writer = threading.Thread(target=write)
    seen = set()
    sys.setswitchinterval(1e-5)
    try:
        writer.start()
        while len(seen) < 50:
            posted = reader.read()
            if posted is not None:
                assert posted == message(posted.update)
                seen.add(posted.update)
    finally:
        sys.setswitchinterval(interval)
        done.set()
        writer.join()


def test_work_is_known_to_be_undone_by_a_change() -> None:
    board = Board()
    sequence = board.steady()
    assert board.unchanged(sequence)
    with board.changing():
        assert not board.unchanged(sequence)
    assert not board.unchanged(sequence)
    assert board.unchanged(board.steady())


def test_nothing_told_yet_is_nothing() -> None:
    assert Board().read() is None


def test_a_change_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is killed in the middle leaves weights of two versions: nobody may read."""
    monkeypatch.setattr(shared, "STALLED_SECONDS", 0.05)
    board = Board()
    reader = Board(os.dup(board.fd))
    change = board.changing()
    change.__enter__()
    with pytest.raises(StalledError):
        reader.steady()
    change.__exit__(None, None, None)
    assert reader.steady() == 2


def test_a_failure_within_a_change_ends_it() -> None:
    board = Board()
    with pytest.raises(ZeroDivisionError), board.changing():
        _ = 1 / 0
    assert board.steady() == 2


def test_a_change_waits_for_who_asked_for_peace_but_not_for_ever() -> None:
    board = Board()
    board.ask_for_peace(0.05)
    asked = time.monotonic()
    with board.changing():
        assert time.monotonic() >= asked + 0.04
    board.ask_for_peace(3600)
    with board.changing():
        pass


def test_a_manifest_that_is_too_long_is_refused() -> None:
    board = Board()
    with board.changing():
        board.post(Posted(update=1))
        with pytest.raises(SettingError, match="the model must be described in"):
            board.post(Posted(update=2, manifest=bytes(17 << 20)))
    assert board.read() == Posted(update=1)


# ---- the memory


def test_a_reader_sees_every_change(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    memory = Memory()
    model = SparseModel(BITS, memory.allocate)
    model.patch(uniform(0.5))
    assert memory.shares(model.arrays)
    memory.describe(BITS, model.arrays).send(ours)
    found = receive(theirs)
    reader = SparseModel.attached(found.bits, found.arrays)
    turn = model.memory_turn
    for weight in (0.25, -3.0, 5.5):
        model.commit(model.stage(uniform(weight), replace=True))
        if model.memory_turn != turn:
            memory.describe(BITS, model.arrays).send(ours)
            reader = SparseModel.attached(BITS, receive(theirs).arrays)
            turn = model.memory_turn
        assert (scores(reader) == weight).all()
    with pytest.raises(BlockingIOError):
        receive(theirs)


def scores(model: SparseModel) -> np.ndarray:
    from ctr.types import Batch

    count = len(KEYS)
    return model.score(
        Batch(np.arange(count + 1), KEYS, np.ones(count, np.float32), np.zeros(count))
    )


def test_arrays_from_elsewhere_are_copied(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    memory = Memory()
    model = SparseModel(BITS)
    model.patch(uniform(0.5))
    assert not memory.shares(model.arrays)
    message = memory.describe(BITS, model.arrays)
    message.send(ours)
    found = receive(theirs)
    del message
    model.patch(uniform(0.25))
    assert (scores(SparseModel.attached(found.bits, found.arrays)) == 0.5).all()


def test_records_strings_of_shape_and_nothing_keep_their_kind(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = sockets
    entries = np.array([(1, 2), (3, 4)], np.dtype([("mask", "<u8"), ("offset", "<u4")]))
    arrays = (entries, np.arange(6, dtype=np.int16).reshape(2, 3), np.empty(0, np.float32))
    message = Memory().describe(BITS, arrays)
    message.send(ours)
    found = receive(theirs).arrays
    for one, other in zip(arrays, found, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert (one == other).all()


def test_the_end_of_the_writer_is_the_end_of_messages(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = sockets
    ours.close()
    with pytest.raises(EOFError):
        receive(theirs)


def test_memory_is_flat_over_a_thousand_updates(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """In place, to new memory when there is no room left, and whole new models now and then."""
    ours, theirs = sockets
    gc.collect()
    before = mapped()
    memory = Memory()
    model = SparseModel(BITS, memory.allocate)
    model.patch(uniform(0.5))
    message = memory.describe(BITS, model.arrays)
    message.send(ours)
    found = receive(theirs)
    turn, changes = model.memory_turn, 0
    sizes = []
    for number in range(1, 1001):
        if number % 100 == 0:
            model, turn = SparseModel(BITS, memory.allocate), -1
        model.commit(model.stage(uniform(number / 1024), replace=True))
        if model.memory_turn != turn:
            turn, changes = model.memory_turn, changes + 1
            message = memory.describe(BITS, model.arrays)
            message.send(ours)
            found = receive(theirs)
        sizes.append((mapped(), descriptors()))
    reader = SparseModel.attached(found.bits, found.arrays)
    assert (scores(reader) == np.float32(1000 / 1024)).all()
    assert changes > 10
    assert max(sizes[500:]) <= max(sizes[:500])
    assert message.generation > 10
    del model, reader, found, message
    assert mapped() == before
