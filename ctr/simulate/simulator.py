"""The simulator: a click stream of which the truth is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctr.errors import SettingError
from ctr.kernels.simulation import join_pieces
from ctr.simulate.bad import Limits, shares, spoil
from ctr.simulate.draws import BAD, generator, wheel
from ctr.simulate.figures import Totals
from ctr.simulate.impressions import BLOCK, draw
from ctr.simulate.lines import write
from ctr.simulate.settings import SimulatorSettings
from ctr.simulate.truth import CROSSES, Truth
from ctr.types import Bytes, Float64, Int64, UInt64


@dataclass(frozen=True, slots=True)
class Simulated:
    """Consecutive events of the stream, good and bad, and what is hidden about them.

    Event i is ``content[offsets[i]:offsets[i + 1]]`` (uint8; int64), newline included.
    """

    content: Bytes
    offsets: Int64
    labels: NDArray[np.int8]
    """0 or 1; -1 for a bad event."""
    p: Float64
    """True probability of a click; NaN for a bad event."""
    keys: UInt64
    """Hash of the user, by which events are partitioned."""
    kinds: NDArray[np.int8]
    """What is bad about it, an index into ``settings.bad_kinds``; -1 for a good event."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def data(self) -> bytes:
        """All lines, each with its newline."""
        return self.content.tobytes()

    @property
    def lines(self) -> list[bytes]:
        """The events without their newlines; each may be one record of Kafka."""
        data, offsets = self.data, self.offsets.tolist()
        return [data[a : b - 1] for a, b in pairwise(offsets)]

    def partition(self, count: int) -> list[Simulated]:
        """The events of each of ``count`` partitions (key modulo count), in order."""
        places = self.keys % np.uint64(count)
        return [self.take(np.flatnonzero(places == i)) for i in range(count)]

    def take(self, rows: Int64 | NDArray[np.bool_]) -> Simulated:
        """The events of these indices, or of a mask."""
        starts, lengths = self.offsets[:-1][rows], np.diff(self.offsets)[rows]
        content, offsets = join_pieces(self.content, starts[:, None], lengths[:, None])
        return self._with(content, offsets, rows)

    def __getitem__(self, span: slice) -> Simulated:
        """A stretch of it, without copying lines."""
        start, stop, _ = span.indices(len(self))
        offsets = self.offsets[start : stop + 1]
        content = self.content[offsets[0] : offsets[-1]]
        return self._with(content, offsets - offsets[0], span)

    def _with(
        self, content: Bytes, offsets: Int64, rows: Int64 | NDArray[np.bool_] | slice
    ) -> Simulated:
        labels, p, keys, kinds = self.labels[rows], self.p[rows], self.keys[rows], self.kinds[rows]
        return Simulated(content, offsets, labels, p, keys, kinds)


class Simulator:
    """A click stream drawn from a hidden true model, the same for the same settings.

    How it is cut into batches changes no byte of it, and any event can be gone to (``seek``).
    Figures count what ``batch`` has returned.

    >>> simulator = Simulator(SimulatorSettings(seed=7))
    >>> events = simulator.batch(1000)
    >>> events.lines[0][:33]
    b'{"id":"...","ts":...
    >>> simulator.totals.best_log_loss < simulator.totals.base_log_loss
    True
    """

    true_crosses = CROSSES
    """The crosses of the true model, as ``[features] crosses`` wants them."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.totals = Totals()
        """Sums over everything returned so far."""
        self._window = Totals()
        self._next = 0
        self._truth = Truth(self.settings)
        self._block: tuple[int, Simulated] | None = None

    @property
    def position(self) -> int:
        """Number of the next event."""
        return self._next

    def batch(self, count: int) -> Simulated:
        """The next ``count`` events, bad ones among them."""
        if count < 0:
            raise SettingError("count", count, ">= 0")
        parts: list[Simulated] = []
        end = self._next + count
        while self._next < end or not parts:
            number, first = divmod(self._next, BLOCK)
            part = self._of_block(number)[first : first + end - self._next]
            parts.append(part)
            self._next += len(part)
        events = parts[0] if len(parts) == 1 else _concatenate(parts)
        self.totals += Totals.of(events.p, events.labels)
        return events

    def seek(self, position: int) -> None:
        """Go to an event by its number; the figures are left as they are."""
        if position < 0:
            raise SettingError("position", position, ">= 0")
        self._next = position

    def state(self) -> dict[str, Any]:
        """Where the stream and its figures are, fit for JSON, to go on from in another process."""
        return {
            "settings": _tree(self.settings),
            "position": self._next,
            "totals": asdict(self.totals),
            "window": asdict(self._window),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on after the last event before ``state()``; SettingError for another stream's."""
        for name, value in _tree(self.settings).items():
            if value != state["settings"].get(name):
                raise SettingError(f"simulate.{name}", value, f"{state['settings'].get(name)!r}")
        self.seek(state["position"])
        self.totals, self._window = Totals(**state["totals"]), Totals(**state["window"])

    def figures(self) -> dict[str, Any]:
        """The figures since the start and since the last call (the window), fit for JSON."""
        window, self._window = self.totals - self._window, self.totals
        return {
            "seed": self.settings.seed,
            "position": self._next,
            **self.totals.figures(),
            "window": window.figures(),
        }

    def spec_toml(self) -> str:
        """The feature settings with which a learner can find all of the truth, as TOML."""
        crosses = ", ".join(f'["{a}", "{b}"]' for a, b in self.true_crosses)
        return f'[features]\ncrosses = [{crosses}]\ntime_features = ["hour"]\n'

    def _of_block(self, number: int) -> Simulated:
        if self._block is None or self._block[0] != number:
            self._truth.at(number)
            self._block = number, _make(self.settings, self._truth, number)
        return self._block[1]


def _make(settings: SimulatorSettings, truth: Truth, number: int) -> Simulated:
    """The events of a block."""
    rows = draw(settings, number, truth.ads)
    p = truth.probability(rows)
    labels = (rows.label_draw < p).astype(np.int8)
    content, offsets = write(settings, rows, labels)
    kinds = np.full(BLOCK, -1, np.int8)
    events = Simulated(content, offsets, labels, p, rows.key, kinds)
    return _spoil(settings, events, number) if settings.bad_share else events


def _spoil(settings: SimulatorSettings, events: Simulated, number: int) -> Simulated:
    """The events of a block with some of them made bad; the others stay as they are."""
    rng = generator(settings.seed, BAD, number)
    chances, choices = rng.random(BLOCK), rng.random(BLOCK)
    kind_of = wheel(shares(settings.bad_kinds), 4096)
    limits = Limits(settings.max_features, settings.max_event_bytes)
    lines = events.lines
    for i in np.flatnonzero(chances < settings.bad_share).tolist():
        kind = int(kind_of[int(choices[i] * len(kind_of))])
        lines[i] = spoil(settings.bad_kinds[kind], lines[i], rng, limits)
        events.labels[i], events.p[i], events.kinds[i] = -1, np.nan, kind
    content = np.frombuffer(bytearray(b"".join(line + b"\n" for line in lines)), np.uint8)
    offsets = np.cumsum([0, *(len(line) + 1 for line in lines)])
    return replace(events, content=content, offsets=offsets)


def _concatenate(parts: list[Simulated]) -> Simulated:
    sizes = np.cumsum([0, *(len(part.content) for part in parts)])
    ends = [part.offsets[1:] + size for part, size in zip(parts, sizes, strict=False)]
    return Simulated(
        np.concatenate([part.content for part in parts]),
        np.concatenate([np.zeros(1, np.int64), *ends]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.p for part in parts]),
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.kinds for part in parts]),
    )


def _tree(settings: SimulatorSettings) -> dict[str, Any]:
    return {**asdict(settings), "bad_kinds": list(settings.bad_kinds)}
