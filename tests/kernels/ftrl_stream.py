"""A small stream through FTRL-Proximal, its twin beside it; prints the bits of what comes out.

Run by ``test_ftrl_plain`` with the compiler off and on: ``python -m tests.kernels.ftrl_stream``.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np

from ctr import FTRLProximal
from ctr.kernels.options import JIT_DISABLED
from ctr.types import Batch
from tests import naive, naive_learners


def rows() -> list[naive.Event]:
    """60 events of 0 to 11 features on few coordinates, some twice in an event."""
    random = np.random.default_rng(4)
    made = []
    for _ in range(60):
        keys = random.integers(0, 30, random.integers(0, 12))
        x = random.choice([1.0, 1.0, 0.5, -2.0], len(keys))
        features = [(int(key), float(v)) for key, v in zip(keys, x, strict=True)]
        label, weight = int(random.random() < 0.4), float(random.choice([1.0, 2.5]))
        made.append(naive.Event(features, label, weight))
    return made


def digest(power: float, schedule: str, twin_schedule: tuple[object, ...]) -> str:
    """The SHA-256 of all that a learner says and holds after the stream, the twin agreeing."""
    made = rows()
    features = [feature for row in made for feature in row.features]
    batch = Batch(
        np.cumsum([0, *(len(row.features) for row in made)]),
        np.array([key for key, _ in features], np.uint64),
        np.array([x for _, x in features]),
        np.array([row.label for row in made]),
        np.array([row.weight for row in made]),
    )
    given = {"alpha": 0.3, "l1": 0.2, "l2": 0.5, "power": power, "unpenalised": (0, 3)}
    learner = FTRLProximal(4, schedule=schedule, seed=6, **given)
    twin = naive_learners.FTRL(4, schedule=twin_schedule, **given)
    p = learner.learn(batch)
    for got, row in zip(p, made, strict=True):
        assert abs(got - twin.learn(row)) < 1e-5
    weights = learner.page_weights(np.array([0]))
    for c in range(16):
        wanted = twin.weight(c)
        assert abs(weights[0, c] - wanted) <= 1e-5 * max(1, abs(wanted))
    meta, arrays = learner.state()
    again = FTRLProximal(4, schedule=schedule, seed=6, **given | {"l1": 0.1})
    again.restore(meta, arrays)
    again.warm_start([7, 8], [0.5, -0.25], n0=2.0)
    coordinates, values = again.weights()
    content = [p, learner.score(batch), learner.predict(batch), weights, coordinates, values]
    content += [arrays["pages"], arrays["cells"], again.take_changed_pages()]
    content += [np.array([learner.nonzero, learner.touched, again.nonzero, again.touched])]
    return hashlib.sha256(b"".join(array.tobytes() for array in content)).hexdigest()


def main() -> None:
    with np.errstate(all="ignore"):  # without a compiler, hashing overflows audibly
        print("plain" if JIT_DISABLED else "compiled")
        print(digest(0.5, "power(r=20,c=0.5)", ("power", 20, 0.5)))
        print(digest(1.0, "piecewise(9:0.5)", ("piecewise", (9, 0.5))))


if __name__ == "__main__":
    sys.exit(main())
