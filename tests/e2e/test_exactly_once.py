"""Nothing lost and nothing twice, although the trainer is killed again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import cycle

import numpy as np

from ctr.features.parser import Parser
from ctr.kernels.ftrl import CELL
from ctr.learn.ftrl import FTRLProximal
from ctr.learn.table import PAGE
from ctr.metrics.coverage import Coverage
from ctr.metrics.progressive import Progressive
from ctr.model.follow import TopicFollower
from ctr.settings import Features, Kafka
from ctr.stream.dead_letters import Letter
from ctr.train.checkpoint import Checkpoint
from ctr.types import Records

from .killing import kill_often
from .processes import Process, Processes, Settings
from .states import differences, learned, newest
from .streams import FILE_KINDS, LIMITS, Content, LogStream, Stream, TopicStream

BITS = 16
OFTEN = {
    "features.bits": BITS,
    "checkpoint.interval_seconds": 0.3,
    "publish.interval_seconds": 0.3,
    "metrics.port": -1,
    "gate.enabled": "false",
}
CROSSES = {"features.crosses": '[["user", "ad"]]', "features.time_features": '["hour"]'}

SUMS = {"learner.alpha": 1e-25, "learner.l1": 1e6, "learner.schedule": "constant"}
"""With these every weight is zero or next to it and every p is exactly 1/2, so that the order of
the events does not matter: a coordinate's z is the exact sum of (1/2 - y)·weight over the events
that have it, and n that of its squares. An event lost or learned twice shows in them."""


def trainer(
    processes: Processes, stream: Stream, model: str, *more: Settings
) -> Callable[..., Process]:
    """Starts a trainer; every other one reads Kafka by the public ``poll``: no matter which."""
    settings = {**stream.settings, **OFTEN, "model.name": model}
    for others in more:
        settings |= others
    readers = cycle([{"events.reader": "batches"}, {"events.reader": "poll"}])
    return lambda *options: processes.start("train", *options, settings=settings | next(readers))


def send_until_done(
    content: Content, streams: Sequence[Stream], work: Sequence[Future[set[int]]]
) -> None:
    """Send the same events to all ``streams``, at most 400 a second, while work goes on."""
    while wait(work, timeout=0.05).not_done:
        lines = content.take(20)
        for stream in streams:
            stream.send(lines)
    for stream in streams:
        stream.flush()


def assert_went_on(futures: Sequence[Future[set[int]]], kills: int) -> None:
    """The kills were spread over the run: most of them came after something new was learned."""
    for future in futures:
        assert len(future.result()) > kills / 2, sorted(future.result())


def assert_letters(content: Content, stream: Stream, model: str) -> None:
    """Every bad event is among the dead letters, twice only as the same; nothing else is."""
    there = stream.read()
    assert Counter(value for _, value in there) == Counter(content.good + content.bad)
    wanted = {
        Letter(f"{place}/0", content.reasons[value], value)
        for place, value in there
        if value in content.reasons
    }
    letters = stream.letters(model)
    assert set(letters) == wanted
    assert len(letters) > len(wanted), "no kill came between a dead letter and its checkpoint"


def assert_sums(checkpoint: Checkpoint, content: Content) -> None:
    """Under ``SUMS``, z and n are what each good event adds to its coordinates, added once."""
    batch = Parser(Features(bits=BITS, **LIMITS)).parse(Records.of(content.good)).batch
    at = batch.keys & np.uint64((1 << BITS) - 1)
    at[(at == 0) & (batch.keys != 0)] = 1
    rows = np.repeat(np.arange(len(batch)), np.diff(batch.indptr))
    g = ((0.5 - batch.labels) * batch.weights)[rows].astype(np.float64)
    _, arrays = checkpoint.parts["learner"]
    cells = np.zeros(((1 << BITS) // PAGE, PAGE), CELL)
    cells[arrays["pages"]] = arrays["cells"]
    cells = cells.reshape(-1)
    n = np.bincount(at, g * g, 1 << BITS)
    assert np.array_equal(cells["n"], n)
    z = np.bincount(at, g, 1 << BITS)
    # the bias is not penalised: its weight is not zero, and z has a part that depends on the order
    assert np.array_equal(cells["z"][1:], z[1:])


def assert_counted(checkpoint: Checkpoint, content: Content) -> None:
    """The metrics in the checkpoint are those of the good events, each counted once."""
    parser = Parser(Features(bits=BITS, **LIMITS))
    events = parser.parse(Records.of(content.good))
    progressive, coverage = Progressive(100_000), Coverage(64)
    progressive.restore(*checkpoint.parts["progressive"])
    labels, weights = events.batch.labels, events.batch.weights
    assert progressive.total.events == learned(checkpoint) == len(content.good)
    assert progressive.total.observed_clicks == (labels * weights).sum(dtype=np.float64)
    added = coverage.update(events.name_ids, events.batch.indptr, parser.names)
    assert checkpoint.parts["coverage"][0]["counts"] == added
    assert checkpoint.parts["stream"][0]["rejected"] == content.rejected()


def assert_published(bootstrap: str, model: str, checkpoint: Checkpoint) -> None:
    """The model topic holds, whole, the model that was learned."""
    follower = TopicFollower(Kafka(bootstrap_servers=bootstrap), f"ctr.{model}.model")
    try:
        update = follower.poll(30)
    finally:
        follower.close()
    assert update is not None
    assert update.manifest.events_learned == learned(checkpoint)
    learner = FTRLProximal(BITS, unpenalised=[0])
    learner.restore(*checkpoint.parts["learner"])
    coordinates, weights = learner.weights()
    published = dict(zip(*(array.tolist() for array in update.model.weights()), strict=True))
    for c, weight in zip(coordinates.tolist(), weights.tolist(), strict=True):
        assert abs(published.pop(c, 0.0) - weight) <= 2**-13
    assert not published


def test_killed_twenty_times_every_event_is_learned_once(
    kafka, topic_name: str, processes: Processes
) -> None:
    """One partition: to the last bit what an uninterrupted trainer learns. Four: every event."""
    kills, state = 20, processes.directory / "state"
    content = Content()
    one = TopicStream(kafka.bootstrap, f"{topic_name}-1", 1)
    four = TopicStream(kafka.bootstrap, f"{topic_name}-4", 4)
    in_order = trainer(processes, one, "killed-1", CROSSES)
    mixed = trainer(processes, four, "killed-4", SUMS)
    with ThreadPoolExecutor(2) as pool:
        work = [
            pool.submit(kill_often, in_order, state / "killed-1", kills, seed=1),
            pool.submit(kill_often, mixed, state / "killed-4", kills, seed=2),
        ]
        send_until_done(content, [one, four], work)
    one.close()
    four.close()
    assert_went_on(work, kills)

    uninterrupted = trainer(processes, one, "uninterrupted-1", CROSSES)
    for last in [start("--stop-at-end") for start in (in_order, mixed, uninterrupted)]:
        last.finish()

    killed = newest(state / "killed-1")
    assert learned(killed) == len(content.good)
    assert differences(killed, newest(state / "uninterrupted-1")) == []
    assert_letters(content, one, "killed-1")
    assert_published(kafka.bootstrap, "killed-1", killed)

    killed = newest(state / "killed-4")
    assert_sums(killed, content)
    assert_counted(killed, content)
    assert_letters(content, four, "killed-4")


def test_killed_on_a_log_directory(processes: Processes) -> None:
    """The embedded log keeps the same promise."""
    kills, state = 6, processes.directory / "state"
    content = Content(bad_kinds=FILE_KINDS)
    log = LogStream(processes.directory)
    start = trainer(processes, log, "killed", CROSSES)
    with ThreadPoolExecutor(1) as pool:
        work = [pool.submit(kill_often, start, state / "killed", kills, seed=3)]
        send_until_done(content, [log], work)
    log.close()
    assert_went_on(work, kills)
    uninterrupted = trainer(processes, log, "uninterrupted", CROSSES)
    for last in (start("--stop-at-end"), uninterrupted("--stop-at-end")):
        last.finish()
    killed = newest(state / "killed")
    assert learned(killed) == len(content.good)
    assert differences(killed, newest(state / "uninterrupted")) == []
    assert_letters(content, log, "killed")
