"""Tuples that a kernel makes of a table of addresses, compiled and as plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from ctr.kernels.addresses import Table, readers
from ctr.kernels.options import JIT_DISABLED, jit

Point = namedtuple("Point", ["x", "flag", "count", "hash", "records"])
RECORD = np.dtype([("a", np.int64), ("b", np.float32), ("c", np.uint8)], align=True)
EXAMPLES = (
    (np.zeros(0, np.uint8), 0),
    Point(0.0, False, 0, np.uint64(0), np.zeros(0, RECORD)),
)
pair_at, point_at = readers(*EXAMPLES)


@jit
def sums(address: int) -> tuple[float, float, int]:
    octets, number = pair_at(address)
    point = point_at(address)
    total = 0
    for k in range(len(octets)):
        total += octets[k]
    last = point.records[len(point.records) - 1]
    point.records[0]["a"] = 99
    return (
        point.x if point.flag else 0.0,
        float(last["a"]) + float(last["b"]) + float(last["c"]),
        total + number + point.count + int(point.hash >> np.uint64(60)),
    )


def filled() -> tuple[Table, Point]:
    table = Table(*EXAMPLES)
    records = np.array([(1, 0.5, 3), (-7, 0.25, 200)], RECORD)
    point = Point(-1.5, True, -3, np.uint64(15 << 60), records)
    table.put(1, point)
    table.put(0, (np.arange(10, dtype=np.uint8), 1000))
    return table, point


def test_a_kernel_reads_and_writes_the_arrays_of_a_table() -> None:
    table, point = filled()
    assert sums(table.address) == (-1.5, -7 + 0.25 + 200, 45 + 1000 - 3 + 15)
    assert point.records["a"].tolist() == [99, -7]


def test_what_is_put_later_is_what_is_read() -> None:
    table, point = filled()
    sums(table.address)
    table.put(0, (np.zeros(0, np.uint8), 0))
    table.put(1, point._replace(flag=False, count=2))
    assert sums(table.address) == (0.0, -7 + 0.25 + 200, 17)


def test_arrays_may_be_read_only() -> None:
    table, _ = filled()
    octets = np.frombuffer(b"\x01\x02", np.uint8)
    table.put(0, (octets, 0))
    assert sums(table.address)[2] == 3 - 3 + 15


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, np.int8), np.zeros((2, 2), np.uint8), np.zeros(8, np.uint8)[::2]],
    ids=["kind", "shape", "gaps"],
)
def test_an_array_of_another_kind_is_refused(array: np.ndarray) -> None:
    table, _ = filled()
    with pytest.raises(TypeError, match="uint8"):
        table.put(0, (array, 0))
    with pytest.raises(ValueError, match="zip"):
        table.put(0, (np.zeros(0, np.uint8),))


def test_the_plain_twin_says_the_same() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "from tests.kernels.test_addresses import *; check()"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert run.stdout == "plain\n", run.stderr


def check() -> None:
    """What the run without the JIT does."""
    test_a_kernel_reads_and_writes_the_arrays_of_a_table()
    test_what_is_put_later_is_what_is_read()
    print("plain" if JIT_DISABLED else "compiled")
