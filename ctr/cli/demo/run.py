"""The demonstration: a broker, a simulator, a trainer and a server, and what comes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from ctr.cli.demo import world
from ctr.cli.demo.broker import PARTITIONS, SCRIPT, Broker, make_topic
from ctr.cli.demo.children import Child, Children
from ctr.cli.demo.figures import Row, Stream, gap, predict, read_metrics, read_report
from ctr.cli.demo.screen import LEGEND, Screen
from ctr.errors import CtrError
from ctr.log import segments

_TICK = 0.05
_ROW_SECONDS = 5.0
_REMIND_SECONDS = 10.0
_PATIENCE = 120.0
_SEGMENTS_KEPT = 8


class Stopped(Exception):
    """Somebody wants the end: Ctrl-C or SIGTERM."""


class Demo:
    """The processes of a demonstration in ``directory``; leaving the ``with`` block ends them.

    ``run`` goes through it; ``rows`` are the figures so far, ``bootstrap`` is Kafka's address,
    None when embedded.
    """

    def __init__(
        self, directory: Path, rate: float, seed: int, screen: Screen, stop: threading.Event
    ) -> None:
        self.rows: list[Row] = []
        self.bootstrap: str | None = None
        self.directory, self._rate, self._seed = directory, rate, seed
        self._screen, self._stop = screen, stop
        self._window = max(20_000, int(5 * rate))
        self._children = Children(directory / "logs")
        self._broker: Broker | None = None
        self._stream = Stream()
        self._report = directory / "simulator.json"
        self._asked = 0

    def run(self, seconds: float | None, embedded: bool) -> None:
        """Prepare, start and show, for ``seconds`` of learning.

        Raises Stopped when ``stop`` is set, ChildEndedError when a process is no longer there.
        """
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        self._screen.step(f"everything is written in {self.directory}")
        if not embedded:
            self._get_kafka()
        self._compile()
        if self._broker is not None:
            self._settle(self._broker)
        self._start()
        self._watch(seconds)

    # ---- preparing

    def _get_kafka(self) -> None:
        if SCRIPT.exists():
            self._screen.step("getting Kafka, by scripts/kafka")
            self._broker = Broker(self.directory / "kafka")
        else:
            self._screen.step("no scripts/kafka here: going on embedded, with a log directory")

    def _compile(self) -> None:
        """Have the kernels compiled in parts at once, while Kafka starts."""
        self._screen.step("compiling what is not yet compiled; the first time it takes about 20 s")
        parts = [["reading"], ["learning", *(["kafka"] if self._broker else [])]]
        compilers = [
            self._children.start(
                f"compiler of {part[0]}", *part, module="ctr.cli.demo.compile", may_end=True
            )
            for part in parts
        ]
        self._events = world.askable(self._seed)
        self._until(lambda: not any(child.running for child in compilers), "compiling")
        self._screen.step("the kernels are compiled")

    def _settle(self, broker: Broker) -> None:
        """Wait for Kafka, or hear that it cannot be had."""
        self._until(lambda: broker.settled, "getting Kafka")
        self.bootstrap = broker.address()
        if self.bootstrap is None:
            self._screen.step("Kafka cannot be had; why is said above. scripts/demo --embedded")
            self._screen.step("needs none: going on so, with a log directory in its place")
        else:
            make_topic(self.bootstrap, world.TOPIC)
            self._screen.step(
                f"Kafka answers on {self.bootstrap}; topic {world.TOPIC}, {PARTITIONS} partitions"
            )

    # ---- running

    def _start(self) -> None:
        """Start the three roles, and wait for the first prediction."""
        config = self.directory / "ctr.toml"
        config.write_text(world.settings(self.directory, self.bootstrap, self._window))
        common = "--config", str(config)
        to = "kafka" if self.bootstrap else str(self.directory / "events")
        flags = world.simulator_flags(self._seed, self._rate)
        self._screen.step("starting simulator, trainer and server")
        self._children.start(
            "simulator", "simulate", *common, "--to", to, *flags, "--report", str(self._report)
        )
        trainer = self._children.start("trainer", "train", *common)
        server = self._children.start("server", "serve", *common)
        self._trainer_url = self._url(trainer, r"metrics on (http://\S+)/metrics")
        self._server_url = self._url(server, r"serving \S+ on (http://\S+)")
        self._until(self._is_served, "waiting for a model", _PATIENCE)
        self._screen.step("first prediction")
        self._introduce()

    def _is_served(self) -> bool:
        """Whether a model answers that learned something: a trainer begins with an empty one."""
        predicted = predict(self._server_url, self._events[0])
        return predicted is not None and predicted.event_time > 0

    def _url(self, child: Child, pattern: str) -> str:
        found: list[str | None] = []

        def look() -> bool:
            found.append(child.find(pattern))
            return found[-1] is not None

        self._until(look, f"waiting for the {child.name}", _PATIENCE)
        return str(found[-1])

    def _introduce(self) -> None:
        """Say where to look, and what the columns mean."""
        request = world.request(self._events[0])
        for line in (
            "",
            f"  dashboard   {self._server_url}/",
            f"  metrics     {self._server_url}/metrics (server)",
            f"              {self._trainer_url}/metrics (trainer)",
            f"  settings    {self.directory / 'ctr.toml'}",
            f"  predict     curl {self._server_url}/v1/predict -d '{request}'",
            "",
            LEGEND.format(window=self._window),
        ):
            self._screen.say(line)

    def _watch(self, seconds: float | None) -> None:
        """A row every few seconds, the first now, the last one when the time is up."""
        began = due = time.monotonic()
        end = None if seconds is None else began + seconds
        while True:
            try:
                self._show(time.monotonic() - began)
            except OSError as error:  # of a process that ended, or is too busy to answer
                self._children.check()
                self._screen.step(f"no answer: {error}")
            self._prune()
            if end is not None and due >= end:
                return
            due += _ROW_SECONDS
            if end is not None:
                due = min(due, end)
            self._until(partial(_is_past, due), "")

    def _show(self, seconds: float) -> None:
        """Ask for all figures, and print them."""
        features = self._events[self._asked % len(self._events)]
        self._asked += 1
        learned = read_metrics(self._trainer_url)
        predicted = predict(self._server_url, features)
        if predicted is None:
            raise OSError("the server has no model")
        freshness = time.time() - predicted.event_time
        row = Row(seconds, learned, gap(self._stream, learned, self._window), predicted, freshness)
        before = self.rows[-1] if self.rows else None
        rate = float("nan")
        if before is not None:
            rate = (learned.events - before.learned.events) / (seconds - before.seconds)
        self.rows.append(row)
        self._screen.row(row, rate, world.spell(features))

    def _prune(self) -> None:
        """Remove what was learned long ago from the log directory (Kafka does so by itself)."""
        log = self.directory / "events"
        for name in segments(log)[:-_SEGMENTS_KEPT]:
            (log / name).unlink()

    # ---- waiting and ending

    def _until(
        self, condition: Callable[[], object], what: str, patience: float | None = None
    ) -> None:
        """Wait for ``condition``, keeping an eye on everything; say so when it takes long."""
        began = time.monotonic()
        remind = began + _REMIND_SECONDS
        while not condition():
            if self._stop.wait(_TICK):
                raise Stopped
            self._children.check()
            if (report := read_report(self._report)) is not None:
                self._stream.add(report)
            now = time.monotonic()
            if patience is not None and now > began + patience:
                raise CtrError(f"{what}: nothing after {patience:.0f} s")
            if what and now > remind:
                remind += _REMIND_SECONDS
                self._screen.step(f"still {what}")

    def close(self) -> None:
        """End every process; returns when none is running any more."""
        self._children.end()
        if self._broker is not None:
            self._broker.stop()

    def __enter__(self) -> Demo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_past(moment: float) -> bool:
    return time.monotonic() >= moment
