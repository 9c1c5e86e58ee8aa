"""How the cost of an event grows: with events, with features of each, with the table, with
partitions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measured import Contestant, compare
from benchmarks.parts import BITS, Rows, Sizes, json_file, ours
from benchmarks.passes import filled, trainer
from benchmarks.processes import broker

FEATURES = 1, 10, 39, 100, 200
TABLES = 18, 20, 22, 24, 26
PARTITIONS = 1, 4, 16


def by_events(sizes: Sizes) -> Rows:
    """More and more events of one kind, at one table."""
    files = {count: json_file(sizes, "narrow", count) for count in sizes.growing}
    warm = files[min(files)]
    contestants = [_grown(f"{n:,}", n, warm, file) for n, file in files.items()]
    return _compared("scale-events", "narrow", contestants, sizes)


def by_features(sizes: Sizes) -> Rows:
    """More and more features an event, of as many features in all (of a million events at most)."""
    contestants = []
    for columns in FEATURES:
        count = min(sizes.features // 20, sizes.features // columns)
        kind = f"features-{columns}"
        warm, file = (json_file(sizes, kind, n) for n in (max(count // 20, 1), count))
        contestants.append(_grown(str(columns), count, warm, file))
    return _compared("scale-features", "features", contestants, sizes)


def by_table(sizes: Sizes) -> Rows:
    """Larger and larger tables, the same events."""
    count = sizes.streams.get("wide", sizes.features // 20)
    file = json_file(sizes, "wide", count)
    contestants = [_grown(f"2^{bits}", count, file, file, str(bits)) for bits in TABLES]
    return _compared("scale-table", "wide", contestants, sizes)


def by_partitions(sizes: Sizes) -> Rows:
    """More and more partitions of a topic, the same events."""
    count = sizes.kafka.get("narrow", sizes.features // 20)
    file = json_file(sizes, "narrow", count)
    contestants = []
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as name, broker(Path(name)) as servers:
        for partitions in PARTITIONS:
            topic, few = filled(servers, f"narrow-{partitions}", file, count, partitions)
            ready = trainer(servers, topic, few, count)
            contestants.append(Contestant(str(partitions), count, ready.command, ready.start))
        return _compared("scale-partitions", "narrow", contestants, sizes)


def _grown(name: str, count: int, warm: str, file: str, bits: str = BITS) -> Contestant:
    command = [*ours("grows"), warm, file, bits]
    return Contestant(name, count, command, [*ours("grows"), warm, warm, bits])


def _compared(part: str, stream: str, contestants: Sequence[Contestant], sizes: Sizes) -> Rows:
    """Beside the first of them."""
    first = contestants[0].name
    return compare(part, stream, contestants, sizes.repeats, reference=first)
