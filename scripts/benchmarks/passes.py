"""Passes over events, from a file and from Kafka: ctr beside other programs."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.environments import WITH_DATATABLE, has_datatable, others
from benchmarks.kinds import columns_of
from benchmarks.measured import Contestant, compare, run
from benchmarks.parts import BITS, DRIVERS, FULL, SAME, Rows, Sizes, derived, ours, stream_files
from benchmarks.parts import theirs as in_others
from benchmarks.processes import CTR, broker, say

VW = "Vowpal Wabbit"
_TABLE = str(WITH_DATATABLE / "bin" / "python"), str(DRIVERS / "with_datatable.py")
_DATATABLE = {
    f"datatable, {of}, {threads}": (of, str(number))
    for of in ("text", "numbers")
    for threads, number in (("one thread", 1), ("all threads", 0))
}
"""What is learned and the threads, by the name of the row."""


def from_file(sizes: Sizes) -> Rows:
    """File -> model."""
    others()
    rows: Rows = []
    for kind, count in sizes.streams.items():
        events, one = stream_files(sizes, kind, count), stream_files(sizes, kind, 1)
        evaluate = [*CTR, "evaluate", "--json", *SAME]
        pinned = [*ours("pinned"), "first", *evaluate]
        slow = str(min(count, sizes.slow // columns_of(kind)))
        river = in_others("with_river")
        contestants = [
            Contestant("ctr evaluate", count, [*evaluate, events[0]], [*evaluate, one[0]]),
            Contestant("ctr evaluate, one core", count, [*pinned, events[0]], [*pinned, one[0]]),
            vowpal_wabbit(events[1], one[1], count),
            _from_cache(events[1], one[1], count),
            *(_datatable(events[1], one[1], count) if kind != "simulated" else ()),
            Contestant("River", int(slow), [*river, events[0], slow], [*river, one[0], "1"]),
        ]
        rows += compare("file", kind, contestants, sizes.repeats, reference=VW)
        if kind != "simulated" and not has_datatable():
            missing = "no wheel of datatable for the Pythons of this machine"
            rows.append({"part": "file", "stream": kind, "who": "datatable", "missing": missing})
    return rows


def vowpal_wabbit(file: str, one: str, count: int) -> Contestant:
    """From its text."""
    vw = in_others("with_vw")
    return Contestant(VW, count, [*vw, file, BITS], [*vw, one, BITS])


def _from_cache(file: str, one: str, count: int) -> Contestant:
    vw = in_others("with_vw")
    commands = [[*vw, name, BITS] for name in (file, one)]
    caches = [derived(c[-2], f"cache-{BITS}", *c) for c in commands]
    ready, start = ([*c, cache] for c, cache in zip(commands, caches, strict=True))
    return Contestant(f"{VW}, its cache", count, ready, start)


def _datatable(file: str, one: str, count: int) -> Iterator[Contestant]:
    """A mixture of numbers, arrays and gaps, as the simulator's, is nothing for its columns."""
    if not has_datatable():
        return
    frame, small = (derived(name, "jay", *_TABLE, "make", name) for name in (file, one))
    for name, how in _DATATABLE.items():
        fit, start = ([*_TABLE, "fit", of, BITS, *how] for of in (frame, small))
        yield Contestant(name, count, fit, start)


def from_kafka(sizes: Sizes) -> Rows:
    """Kafka -> model; the broker runs on the same cores."""
    others()
    rows: Rows = []
    if not sizes.kafka:
        say("kafka: only of " + ", ".join(FULL.kafka))
        return rows
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as name, broker(Path(name)) as servers:
        for (kind, count), codec in itertools.product(sizes.kafka.items(), ("none", "lz4")):
            events, one = stream_files(sizes, kind, count), stream_files(sizes, kind, 1)
            topic, few = filled(servers, f"{kind}-{codec}", events[0], count, codec=codec)
            slow = str(min(count, 2 * sizes.slow // columns_of(kind)))
            train = [*CTR, "train", "--stop-at-end", "--bootstrap-servers", servers, *SAME]
            train += ["--set", "metrics.port=-1", "--topic"]
            contestants = [
                trainer(servers, topic, few, count),
                Contestant("ctr train, start to end", count, [*train, topic], [*train, few]),
                vowpal_wabbit(events[1], one[1], count),
                *(
                    Contestant(
                        name,
                        int(slow),
                        [*loop, servers, topic, slow],
                        [*loop, servers, few, "1"],
                    )
                    for name, loop in (
                        ("poll(), json, dict", ours("plain_loop")),
                        ("confluent-kafka, json, dict", in_others("confluent_loop")),
                    )
                ),
            ]
            stream = f"{kind}, {'uncompressed' if codec == 'none' else codec}"
            with folders() as fresh:
                rows += compare("kafka", stream, contestants, sizes.repeats, fresh, VW)
    return rows


def trainer(servers: str, topic: str, few: str, count: int) -> Contestant:
    """The loop of ctr train."""
    parts = ours("from_kafka")
    commands = ([*parts, servers, name, BITS] for name in (topic, few))
    return Contestant("source, parser, learner", count, *commands)


def filled(
    servers: str, topic: str, file: str, count: int, partitions: int = 4, codec: str = "none"
) -> tuple[str, str]:
    """A topic of ``count`` events, and one of an event a partition."""
    few = f"{topic}-few"
    say(f"filling the topic {topic}")
    for name, size in ((topic, count), (few, partitions)):
        how = [servers, name, str(partitions), codec, file, str(size)]
        run([*ours("fill_topic"), *how])
    return topic, few


@contextmanager
def folders() -> Iterator[Any]:
    """Makes an empty folder at every call, so that ``ctr train`` begins anew."""
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as parent:
        yield lambda: Path(tempfile.mkdtemp(dir=parent))
