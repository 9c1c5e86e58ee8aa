"""The kernels of subsampling against plain Python, compiled and not."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.kernels.subsample import PADDING, keep_rows, take_rows
from tests.oracle import finish, hash_bytes, step

ROOT = Path(__file__).resolve().parents[2]
SALT = 0xD6E8FEB86659FD93


class Event(NamedTuple):
    label: int
    id: bytes | None
    record: int
    line: int


def padded(content: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(content + bytes(PADDING)), np.uint8)


def kept_of(
    events: list[Event], place: bytes, offsets: list[int], seed: int, bound: int
) -> list[int]:
    """The kernel's choice."""
    content, spans = bytearray(), []
    for event in events:
        content += b"'" + (event.id or b"")
        end = len(content)
        spans.append((-1, -1) if event.id is None else (end - len(event.id), end))
    starts, ends = np.array(spans, np.int64).reshape(-1, 2).T.copy()
    with np.errstate(over="ignore"):  # without a compiler, hashing overflows audibly
        rows = keep_rows(
            padded(bytes(content)),
            np.array(offsets, np.int64),
            np.array([event.label for event in events], np.float32),
            starts,
            ends,
            np.array([event.record for event in events], np.int32),
            np.array([event.line for event in events], np.int32),
            padded(place),
            np.uint64(seed),
            np.uint64(bound),
        )
    assert rows.dtype == np.int64
    return rows.tolist()


def twin(event: Event, place: bytes, offset: int, seed: int, bound: int) -> bool:
    """Whether the event is kept, from the documentation of ``subsample``."""
    state = finish(step(SALT, seed), 1)
    if event.id:
        bits = hash_bytes(event.id, state)
    else:
        bits = finish(step(step(hash_bytes(place, state), offset), event.line), 2)
    return event.label == 1 or bits < bound


ids = st.none() | st.binary(max_size=20) | st.integers(-99, 10**9).map(lambda n: b"%d" % n)
streams = st.lists(st.builds(Event, st.integers(0, 1), ids, st.integers(0, 4), st.integers(0, 9)))
offsets = st.lists(st.integers(0, 2**62), min_size=5, max_size=5)


@given(streams, st.binary(max_size=30), offsets, st.integers(0, 2**64 - 1), st.floats(1e-6, 0.99))
def test_what_is_kept_is_what_the_twin_keeps(
    events: list[Event], place: bytes, offsets: list[int], seed: int, share: float
) -> None:
    bound = int(share * 2.0**64)
    wanted = [
        i
        for i, event in enumerate(events)
        if twin(event, place, offsets[event.record], seed, bound)
    ]
    assert kept_of(events, place, offsets, seed, bound) == wanted


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5))))
def test_the_taken_rows_are_the_rows(rows: list[tuple[bool, int]]) -> None:
    indptr = np.cumsum([0, *(size for _, size in rows)])
    nnz = int(indptr[-1])
    keys = np.arange(nnz, dtype=np.uint64) << np.uint64(40)
    values, names = np.arange(nnz, dtype=np.float32) / 8, np.arange(nnz, dtype=np.int32) - 1
    taken = [i for i, (chosen, _) in enumerate(rows) if chosen]
    got = take_rows(np.array(taken, np.int64), indptr, keys, values, names)
    assert [array.dtype.name for array in got] == ["int64", "uint64", "float32", "int32"]
    pieces = [slice(indptr[i], indptr[i + 1]) for i in taken]
    assert got[0].tolist() == [0, *np.cumsum([rows[i][1] for i in taken])]
    for array, whole in zip(got[1:], (keys, values, names), strict=True):
        assert array.tolist() == [x for piece in pieces for x in whole[piece].tolist()]


NAMING = {
    "counted": lambda i: b"%d" % i,
    "zero-padded": lambda i: b"%012d" % i,
    "hexadecimal": lambda i: b"%024x" % (i * 0x10001),
    "by the thousand": lambda i: b"%d" % (1000 * i),
    "with a long name in front": lambda i: b"impression-of-eu-west-1-%d" % i,
    "one byte of difference at the front": lambda i: b"%s-the-same-for-all" % i.to_bytes(3, "big"),
    "no id": lambda i: None,
}


@pytest.mark.parametrize("naming", NAMING)
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_the_share_that_is_kept_is_that_of_chance(naming: str, share: float) -> None:
    count = 50_000
    make = NAMING[naming]
    events = [Event(0, make(i), i % 5, i // 5) for i in range(count)]
    places = [10**6 * record for record in range(5)]
    for seed in range(4):
        kept = kept_of(events, b"kafka:events/0/", places, seed, int(share * 2.0**64))
        # five standard deviations of a binomial distribution: one in two million by chance
        assert abs(len(kept) - count * share) < 5 * math.sqrt(count * share * (1 - share))
        # and so in every part: nothing goes with the counter
        parts = np.bincount(np.array(kept) % 7, minlength=7)
        mean = count * share / 7
        assert abs(parts - mean).max() < 5.5 * math.sqrt(mean) + 1


def test_seeds_choose_independently() -> None:
    count, share = 4000, 0.5
    events = [Event(0, b"%d" % i, 0, 0) for i in range(count)]
    chosen = [set(kept_of(events, b"", [0], seed, int(share * 2.0**64))) for seed in range(6)]
    for i in range(6):
        for j in range(i):
            agreed = count - len(chosen[i] ^ chosen[j])
            assert abs(agreed - count / 2) < 5 * math.sqrt(count / 4)


def test_without_the_compiler_the_kernels_do_the_same() -> None:
    this = str(Path(__file__).relative_to(ROOT))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "twin or rows",
            this,
        ],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
