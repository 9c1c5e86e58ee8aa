"""The broker is away for twenty seconds while a model learns, is published and is served."""

from __future__ import annotations

import threading
import time
from collections import Counter

import httpx

from ctr.config import load

from .as_oracle import assert_learned, read_as_oracle
from .metrics import Endpoint
from .processes import Processes, wait_until
from .states import events_in, newest
from .streams import FILE_KINDS, Content, LogStream, topic_letters

OUTAGE_SECONDS = 20
QUESTION = {"events": [{"features": {"user": "u1", "ad": "a1", "site": "site1.example"}}]}
RULES = {"features.bits": 16, "features.time_features": '["hour"]'}


class Asking:
    """Asks a server for a prediction every 50 ms until stopped, and counts the answers."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self.version = 0
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stop.wait(0.05):
                try:
                    answer = client.post("/v1/predict", json=QUESTION).raise_for_status().json()
                except httpx.HTTPError as error:
                    self.answers[repr(error)] += 1
                    continue
                [p] = answer["probabilities"]
                self.answers["good" if 0 < p < 1 else f"p = {p}"] += 1
                self.version = answer["model"]["version"]


def test_an_outage_of_the_broker_loses_nothing(
    own_kafka, topic_name: str, processes: Processes
) -> None:
    broker = {"kafka.bootstrap_servers": own_kafka.bootstrap}
    events = {"events.topic": topic_name}
    simulator = processes.start(
        *("simulate", "--to=kafka", "--rate=400", "--bad-share=0.05", "--partitions=1"),
        settings={"kafka.bootstrap_servers": own_kafka.bootstrap, **events},
    )
    trainers = {
        reader: processes.start(
            "train",
            settings={**broker, **events, **RULES, "metrics.port": 0}
            | {"events.reader": reader, "model.name": reader},
        )
        for reader in ("batches", "poll")
    }
    server = processes.start("serve", settings={**broker, "serve.port": 0, "model.name": "batches"})
    learning, serving = {name: Endpoint(t) for name, t in trainers.items()}, Endpoint(server)
    wait_until(lambda: httpx.get(f"{serving.url}/readyz").status_code == 200, "a model")
    asking = Asking(serving.url)
    try:
        for endpoint in learning.values():
            endpoint.wait_for("ctr_events_learned_total", 1000)
        own_kafka.stop()
        away_until, version = time.monotonic() + OUTAGE_SECONDS, asking.version
        before = {name: e.value("ctr_events_learned_total") for name, e in learning.items()}
        while time.monotonic() < away_until:
            for process in (*trainers.values(), server, simulator):
                assert process.running
            time.sleep(0.5)
        for endpoint in learning.values():
            assert endpoint.value("ctr_failures_total", operation="source") >= 1
        own_kafka.start()
        for name, endpoint in learning.items():
            learned = before[name] + 400 * OUTAGE_SECONDS / 2
            endpoint.wait_for("ctr_events_learned_total", learned)
        wait_until(lambda: asking.version > version + 1, "a version after the outage")
        simulator.terminate()
        written = int(simulator.wait_for(r"([\d,]+) events, [\d,]+ bad").replace(",", ""))
        for endpoint in learning.values():
            endpoint.wait_for("ctr_events_learned_total", written)
        latest = learning["batches"].value("ctr_published_model_version")
        wait_until(lambda: asking.version > latest, "the last version")
    finally:
        asking.stop()
    assert set(asking.answers) == {"good"}, asking.answers
    assert asking.answers["good"] > 5 * OUTAGE_SECONDS
    for process in (*trainers.values(), server):
        process.terminate()

    config = load(environment={}, overrides={**RULES, "features.time_features": ["hour"]})
    rows, letters, counts = read_as_oracle(config.features, own_kafka.bootstrap, topic_name)
    assert len(rows) == written
    for model in trainers:
        checkpoint = newest(processes.directory / "state" / model)
        assert_learned(checkpoint, rows, config)
        assert checkpoint.parts["stream"][0]["rejected"] == counts
        assert set(topic_letters(own_kafka.bootstrap, f"ctr.{model}.dead")) == set(letters)


def test_dead_letters_wait_in_the_checkpoint_for_their_topic(
    own_kafka, processes: Processes
) -> None:
    own_kafka.stop()
    content = Content(bad_kinds=FILE_KINDS)
    log = LogStream(processes.directory)
    log.send(content.take(1000))
    log.close()
    settings = {
        **log.settings,
        "features.bits": 16,
        "kafka.bootstrap_servers": own_kafka.bootstrap,
        "dead_letters.to": "kafka",
        "metrics.port": 0,
        "model.name": "waiting",
        "checkpoint.interval_seconds": 0.2,
    }
    state = processes.directory / "state" / "waiting"
    trainer = processes.start("train", settings=settings)
    wait_until(lambda: events_in(state) == len(content.good), "all events in a checkpoint")
    learning = Endpoint(trainer)
    learning.wait_for("ctr_dead_letters_unacknowledged", len(content.bad))
    learning.wait_for("ctr_failures_total", 1, operation="dead_letters")
    trainer.kill()

    own_kafka.start()
    processes.start("train", "--stop-at-end", settings=settings).finish()
    assert events_in(state) == len(content.good)
    letters = topic_letters(own_kafka.bootstrap, "ctr.waiting.dead")
    assert sorted(letter.value for letter in letters) == sorted(content.bad)
    assert {letter.source for letter in letters} <= {f"{place}/0" for place, _ in log.read()}
