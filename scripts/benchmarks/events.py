"""The events of a benchmark: JSON lines, and the same events as Vowpal Wabbit reads them.

    python -m benchmarks.events KIND COUNT JSON [VW]

``narrow`` has 10 categorical features, ``wide`` 39, ``broad`` 200, and ``features-N`` N of them,
with values of power-law popularity; ``uniform`` is ``wide`` with values as popular as each other.
Labels are those of a hidden model. ``simulated`` is the stream of ``ctr simulate``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import vw_text
from benchmarks.kinds import columns_of
from ctr.simulate import Simulator, SimulatorSettings
from ctr.simulate.lines import Pieces
from ctr.simulate.words import Choices

_CHUNK = 20_000
_KNOWN = 512
"""Values of a column, the most popular ones, that have an effect on the label."""

_LABELS = Choices(["0", "1"])
_FIRST_VALUE = 1000


class Truth(NamedTuple):
    """How many values each column has, the effects of the first of them, and whether one is as
    popular as another.
    """

    sizes: NDArray[np.float64]
    effects: NDArray[np.float64]
    uniform: bool

    def draw(self, rng: np.random.Generator, rows: int) -> NDArray[np.int64]:
        """The numbers of values, of shape (rows, columns), from 0 on."""
        share = rng.random((rows, len(self.sizes)))
        if self.uniform:
            return (self.sizes * share).astype(np.int64)
        # log-uniform: the k-th value is about 1/k as popular as the first
        return (self.sizes**share).astype(np.int64) - 1


def lines(kind: str, count: int) -> Iterator[bytes]:
    """``count`` events in blocks of lines."""
    if kind == "simulated":
        simulator = Simulator(SimulatorSettings(seed=1))
        for first in range(0, count, _CHUNK):
            yield simulator.batch(min(_CHUNK, count - first)).data
        return
    rng = np.random.default_rng(7)
    columns = columns_of(kind)
    effects = rng.standard_normal((columns, _KNOWN + 1)) * (1.5 / columns**0.5)
    effects[:, _KNOWN] = 0.0
    truth = Truth(np.geomspace(10, 1e6, columns), effects, kind == "uniform")
    for first in range(0, count, _CHUNK):
        yield _block(rng, truth, min(_CHUNK, count - first))


def _block(rng: np.random.Generator, truth: Truth, rows: int) -> bytes:
    columns = len(truth.sizes)
    values = truth.draw(rng, rows)
    known = np.minimum(values, _KNOWN)
    logit = -2.0 + truth.effects[np.arange(columns), known].sum(axis=1)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    line = Pieces(rows)
    line.text('{"label":')
    line.choice(_LABELS, labels)
    line.text(',"features":{')
    for column in range(columns):
        line.text(f'{"," if column else ""}"c{column:02}":"')
        line.number(values[:, column] + _FIRST_VALUE)
        line.text('"')
    line.text("}}\n")
    content, _ = line.join()
    block: bytes = content.tobytes()
    return block


def main(kind: str, count: int, to_json: Path, to_vw: Path | None = None) -> None:
    """Write both files, or the one."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    with ExitStack() as files:
        json_file = files.enter_context(open(to_json, "wb"))
        vw_file = files.enter_context(open(to_vw, "w", encoding="utf-8")) if to_vw else None
        for block in lines(kind, count):
            json_file.write(block)
            if vw_file:
                events = map(decoder.decode, block.splitlines())
                vw_file.writelines(f"{vw_text.line(event)}\n" for event in events)


if __name__ == "__main__":
    kind, count, *to = sys.argv[1:]
    main(kind, int(count), *map(Path, to))
