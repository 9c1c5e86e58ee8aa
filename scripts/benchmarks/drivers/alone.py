"""Parts alone, in one thread, over events in memory: alone.py parser|kernel|stages FILE EVENTS.

Seconds are the thread's own processor time, which other processes of the machine change least.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ctr import memory
from ctr.features.parser import Parser
from ctr.learn.ftrl import FTRLProximal
from ctr.metrics.coverage import Coverage
from ctr.metrics.progressive import Progressive
from ctr.settings import Config, Features, Learner
from ctr.stream.files import FileSource
from ctr.train.gate import Gate
from ctr.types import Events, Records

BITS = 18, 22, 24
BATCH_BYTES = Config().events.batch_bytes


def seconds(work: Callable[[], object]) -> float:
    """What ``work`` takes, on this thread alone."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def each(work: Callable[[Any], object], batches: list[Any]) -> None:
    """``work`` on each, whose result is let go, as in the real loop."""
    for batch in batches:
        work(batch)


def read(file: Path, most: int) -> list[Records]:
    """The first ``most`` events, in batches as ctr reads them, or a few more."""
    source, batches, count = FileSource([file], batch_bytes=BATCH_BYTES), [], 0
    while not source.ended() and count < most:
        records = source.next_batch(0.1)
        if records is not None:
            batches.append(records)
            count += len(records)
    source.close()
    return batches


def parser(file: Path, most: int) -> dict[str, Any]:
    """JSON bytes to hashed features, every check included."""
    batches = read(file, most)
    ours = Parser(Features())
    taken = seconds(lambda: each(ours.parse, batches))
    size = sum(len(records.buffer) for records in batches)
    lines = batches[0].buffer.tobytes().split(b"\n")[: len(batches[0])]
    decoding = seconds(lambda: each(msgspec.json.Decoder().decode, lines))
    return {
        "bytes_per_second": size / taken,
        "events_per_second": sum(map(len, batches)) / taken,
        "bytes per second, msgspec to objects": sum(map(len, lines)) / decoding,
    }


def kernel(file: Path, most: int) -> dict[str, Any]:
    """FTRL-Proximal on hashed features, by table size; learning, and predicting after it."""
    ours = Parser(Features())
    batches = [ours.parse(records).batch for records in read(file, most)]
    events, found = sum(map(len, batches)), {}
    for bits in BITS:
        learner = FTRLProximal(bits=bits, unpenalised=[0], schedule=Learner().schedule)
        each(learner.learn, batches)  # brings the table into memory
        for name, work in (("learn", learner.learn), ("predict", learner.predict)):
            found[f"{name}, 2^{bits}"] = events / seconds(lambda: each(work, batches))  # noqa: B023
    return found


def stages(file: Path, most: int) -> dict[str, Any]:
    """Where the time of file -> model goes: microseconds of each stage per event."""
    ours, learner = Parser(Features()), FTRLProximal(bits=22, unpenalised=[0])
    progressive, gate = Progressive(100_000), Gate(Config().gate)
    coverage = Coverage(64)
    spent = dict.fromkeys(["read, split", "parse", "learn", "metrics", "gate", "coverage"], 0.0)

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        start = time.thread_time()
        result = work()
        spent[stage] += time.thread_time() - start
        return result

    source, count = FileSource([file], batch_bytes=BATCH_BYTES), 0
    while not source.ended() and count < most:
        records = timed("read, split", lambda: source.next_batch(0.1))
        events: Events = timed("parse", lambda: ours.parse(records))  # noqa: B023
        batch = events.batch
        p = timed("learn", lambda: learner.learn(batch))  # noqa: B023
        rest = (batch.labels, batch.weights)
        timed("metrics", lambda: progressive.update(p, *rest))  # noqa: B023
        timed("gate", lambda: gate.observe(p, *rest, events.ts))  # noqa: B023
        timed("coverage", lambda: coverage.update(events.name_ids, batch.indptr, ours.names))  # noqa: B023
        count += len(events)
    return {stage: 1e6 * taken / count for stage, taken in spent.items()}


if __name__ == "__main__":
    what, file, most = sys.argv[1:]
    part = {"parser": parser, "kernel": kernel, "stages": stages}[what]
    memory.keep_freed()  # as the loops of evaluate and train do
    part(Path(file), 1)  # compiled code is loaded then
    print(json.dumps(part(Path(file), int(most))))
