"""The learner beside what its memory allows: roofline.py FILE EVENTS BITS…

The roofline of learning reads and writes both words of the same events' cells and computes
nothing; that of predicting only reads them. Both ask for cells some keys ahead, at the best of a
few distances, either into the first cache or into the second, as the learner does. All run in
turn on one table, in one thread, whose processor time is what counts.
"""

import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from alone import each, read, seconds

from ctr.features.parser import Parser
from ctr.kernels.cells import ask_for_one
from ctr.kernels.options import inline, jit
from ctr.kernels.table import ask_for, coordinate
from ctr.learn.ftrl import FTRLProximal
from ctr.settings import Features, Learner
from ctr.types import Batch

DISTANCES = 40, 80, 160
TURNS = 5


@inline
def ask(words: Any, flat: Any, mask: Any, keys: Any, k: Any, near: Any) -> None:
    """Ask for the cell of ``keys[k]``, into the first cache if ``near``."""
    if near:
        ask_for(words, keys[k] & mask)
    else:
        ask_for_one(flat, keys, k, mask)


@jit
def touch(words: Any, mask: Any, keys: Any, ahead: Any, near: Any, nothing: Any) -> None:
    """Read and write each key's cell; ``nothing`` is 0, which the compiler does not know."""
    far, flat = keys[min(ahead, len(keys)) :], words.reshape(-1)
    for k in range(len(keys)):
        if k < len(far):
            ask(words, flat, mask, far, k, near)
        c = coordinate(keys[k], mask)
        words[c, 0] ^= nothing
        words[c, 1] ^= nothing


@jit
def look(words: Any, mask: Any, keys: Any, ahead: Any, near: Any) -> Any:
    """Read each key's cell."""
    far, flat = keys[min(ahead, len(keys)) :], words.reshape(-1)
    seen = np.uint64(0)
    for k in range(len(keys)):
        if k < len(far):
            ask(words, flat, mask, far, k, near)
        c = coordinate(keys[k], mask)
        seen ^= words[c, 0] ^ words[c, 1]
    return seen


def uniform(batch: Batch, rng: np.random.Generator) -> Batch:
    """The batch with other keys, all equally likely; the bias stays."""
    keys = rng.integers(1, 1 << 63, len(batch.keys)).astype(np.uint64)
    keys[batch.keys == 0] = 0
    return Batch(batch.indptr, keys, batch.values, batch.labels, batch.weights)


def beside(bits: int, batches: list[Batch]) -> dict[str, float]:
    """Events a second of each, medians, on a table that is in memory as a whole."""
    learner = FTRLProximal(bits=bits, unpenalised=[0], schedule=Learner().schedule)
    words, mask = learner._table.arrays.words, learner._table.arrays.mask
    words[:: 4096 // words.itemsize // words.shape[1]] |= np.uint64(0)
    work: dict[str, Callable[[Batch], Any]] = {"learn": learner.learn, "predict": learner.predict}
    for case in product(DISTANCES, (True, False)):
        work[f"touch {case}"] = lambda b, c=case: touch(words, mask, b.keys, *c, np.uint64(0))  # type: ignore[misc]
        work[f"look {case}"] = lambda b, c=case: look(words, mask, b.keys, *c)  # type: ignore[misc]
    taken: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(TURNS + 1):
        for name, one in work.items():
            spent = seconds(lambda: each(one, batches))  # noqa: B023
            if turn:
                taken[name].append(spent)
    events = sum(map(len, batches))
    rates = {name: events / median(times) for name, times in taken.items()}

    def best(what: str) -> float:
        return max(rate for name, rate in rates.items() if name.startswith(what))

    return {
        "learn": rates["learn"],
        "touch": best("touch"),
        "predict": rates["predict"],
        "look": best("look"),
    }


def main(file: Path, most: int, tables: list[int]) -> dict[str, dict[str, float]]:
    """The figures by the kind of keys and the size of the table."""
    ours, rng = Parser(Features()), np.random.default_rng(5)
    batches = [ours.parse(records).batch for records in read(file, most)]
    kinds = {"power-law": batches, "uniform": [uniform(batch, rng) for batch in batches]}
    return {
        f"{kind}, 2^{bits}": beside(bits, chosen)
        for bits in tables
        for kind, chosen in kinds.items()
    }


if __name__ == "__main__":
    file, most, *bits = sys.argv[1:]
    print(json.dumps(main(Path(file), int(most), [int(b) for b in bits])))
