"""Which streams the studies look at, and the tuning that several of them start from."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from ctr.settings import Learner as Settings
from studies.fobos import ShrinkingFOBOS
from studies.runs import Maker, Run, grid, in_parallel, new, run_all, settings
from studies.streams import Stream, simulated

TUNING_SEED = 100
"""Of the stream on which settings are chosen; what is reported comes from other streams."""

KINDS = ("stationary", "drifting")

_PLAIN = {"l2": 0.0, "schedule": "constant"}

GRIDS: dict[str, list[Settings]] = {
    "FTRL-Proximal": grid(
        settings(name="ftrl", **_PLAIN),
        alpha=[0.05, 0.1, 0.2, 0.4],
        l1=[0.5, 1.0, 2.0, 4.0, 8.0, 16.0],
    ),
    "RDA": grid(
        settings(name="rda", **_PLAIN),
        alpha=[0.05, 0.1, 0.2, 0.4],
        l1=[0.5, 1.0, 2.0, 4.0, 8.0, 16.0],
    ),
    "FOBOS": grid(
        settings(name="fobos", **_PLAIN),
        alpha=[0.05, 0.1, 0.2, 0.4],
        l1=[0.0003, 0.001, 0.003, 0.006, 0.01, 0.03],
    ),
    "OGD-Count": grid(
        settings(name="ogd-count", l1=0.0, **_PLAIN),
        alpha=[0.05, 0.1, 0.2, 0.4],
        min_count=[1, 2, 5, 10, 20, 50],
    ),
    "OGD, l1 subgradient": grid(
        settings(name="ogd", **_PLAIN),
        alpha=[0.05, 0.1, 0.2, 0.4],
        l1=[0.0, 0.0003, 0.001, 0.003, 0.01, 0.03],
    ),
}
"""The same budget for each: 24 settings. The rates are per coordinate."""

SHRINKING = "FOBOS, idle weights too"

MORE: dict[str, list[Settings]] = {
    SHRINKING: grid(
        settings(name="fobos", **_PLAIN),
        alpha=[0.05, 0.1, 0.2, 0.4],
        l1=[1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5],
    ),
}
"""A learner that is not one of ctr's."""


def maker(name: str) -> Maker:
    """What makes the learners of a grid."""
    if name == SHRINKING:
        return lambda settings, stream: ShrinkingFOBOS(settings, stream.bits)
    return new


@dataclass
class Plan:
    """``events`` a stream, ``seeds`` streams of each kind; or ``given`` streams in their place.

    Streams and tunings are made when they are first asked for, and kept.
    """

    events: int
    seeds: int
    given: list[Stream] = field(default_factory=list)
    grids: dict[str, list[Settings]] = field(default_factory=lambda: GRIDS | MORE)
    _streams: dict[tuple[str, int], Stream] = field(default_factory=dict)
    _tunings: dict[str, dict[str, list[Run]]] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """The kinds of streams there are."""
        return [stream.name for stream in self.given] or list(KINDS)

    def title(self, kind: str) -> str:
        """How a table says it; the names of files stay as they are."""
        return kind if self.given else kind.capitalize()

    def tuning_stream(self, kind: str) -> Stream:
        """The stream on which settings are chosen; a given one is its own."""
        return self._given(kind) or self._made(kind, TUNING_SEED)

    def streams(self, kind: str) -> list[Stream]:
        """The streams that are reported on."""
        given = self._given(kind)
        if given is not None:
            return [given]
        missing = [s for s in range(1, self.seeds + 1) if (kind, s) not in self._streams]
        if missing:
            in_parallel(lambda seed: self._made(kind, seed), missing, f"{kind} streams")
        return [self._made(kind, seed) for seed in range(1, self.seeds + 1)]

    def tuning(self, kind: str) -> dict[str, list[Run]]:
        """Every setting of every learner's grid over the tuning stream, by learner."""
        if kind not in self._tunings:
            stream = self.tuning_stream(kind)
            self._tunings[kind] = {
                name: run_all(variants, [stream], f"{kind}, tuning {name}", maker(name))
                for name, variants in self.grids.items()
            }
        return self._tunings[kind]

    def best(self, kind: str, name: str) -> Settings:
        """The setting of ``name`` with the lowest held-out log loss on the tuning stream."""
        return min(self.tuning(kind)[name], key=lambda run: run.held_out.log_loss).settings

    def _given(self, kind: str) -> Stream | None:
        return next((stream for stream in self.given if stream.name == kind), None)

    def _made(self, kind: str, seed: int) -> Stream:
        if (kind, seed) not in self._streams:
            made = simulated(seed, self.events, drifting=kind == "drifting")
            self._streams[kind, seed] = made
        return self._streams[kind, seed]


def with_alpha(base: Settings, *alphas: float) -> list[Settings]:
    """``base`` with each learning rate."""
    return [replace(base, alpha=alpha) for alpha in alphas]
