"""A small stream through every learner of ``LEARNERS`` in every precision, twins beside them;
prints the bits of what comes out.

Run by ``test_rivals_plain`` with the compiler off and on:
``python -m tests.kernels.rivals_stream``.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np

from ctr.kernels.options import JIT_DISABLED
from ctr.learn import LEARNERS
from tests import naive_learners
from tests.kernels.ftrl_stream import rows
from tests.learn.streams import batch

SCHEDULE, TWIN_SCHEDULE = "performance(window=9,factor=0.7)", ("performance", 9, 0.7)
VARIANTS = [
    *((name, {}) for name in LEARNERS),
    *((name, {"n": "counts"}) for name in LEARNERS),
    *((name, {"rates": "global"}) for name in LEARNERS),
    *((name, {"state": "float32"}) for name in LEARNERS),
    *((name, {"state": "q2.13"}) for name in LEARNERS),
    ("ogd", {"rates": "global", "momentum": 0.8}),
    ("ftrl", {"state": "float64"}),
]
BOUNDS = {"float32": 1e-4, "q2.13": 0.02}


def digest(name: str, settings: dict[str, object]) -> str:
    """The SHA-256 of all that a learner says and holds after the stream, the twin agreeing."""
    given = {"alpha": 0.3, "l1": 0.2, "l2": 0.5, "unpenalised": (0, 3)}
    given |= {"min_count": 2} if name == "ogd-count" else {}
    learner = LEARNERS[name](4, schedule=SCHEDULE, seed=6, **given, **settings)
    exact = {key: value for key, value in settings.items() if key != "state"}
    twin = naive_learners.LEARNERS[name](4, schedule=TWIN_SCHEDULE, **given, **exact)
    made, bound = rows(), BOUNDS.get(str(settings.get("state")), 1e-5)
    stream = batch(made)
    p = learner.learn(stream)
    for got, row in zip(p, made, strict=True):
        assert abs(got - twin.learn(row)) <= bound, (name, settings)
    weights = learner.page_weights(np.array([0]))
    for c in range(16):
        wanted = twin.weight(c)
        assert abs(weights[0, c] - wanted) <= bound * max(1, abs(wanted)), (name, settings, c)
    meta, arrays = learner.state()
    again = LEARNERS[name](4, schedule=SCHEDULE, seed=6, **given | {"l1": 0.1}, **settings)
    again.restore(meta, arrays)
    again.warm_start([7, 8], [0.5, -0.25], n0=2.0)
    coordinates, values = again.weights()
    content = [p, learner.score(stream), learner.predict(stream), weights, coordinates, values]
    content += [*arrays.values(), *again.state()[1].values(), again.take_changed_pages()]
    content += [np.array([learner.nonzero, learner.touched, again.nonzero, again.touched])]
    return hashlib.sha256(b"".join(array.tobytes() for array in content)).hexdigest()


def main() -> None:
    with np.errstate(all="ignore"):  # without a compiler, hashing overflows audibly
        print("plain" if JIT_DISABLED else "compiled")
        for name, settings in VARIANTS:
            print(name, *map(str, settings.values()), digest(name, settings))


if __name__ == "__main__":
    sys.exit(main())
