"""A server of several processes for tests: ``workers_process.py WORKERS SECONDS [KEY=VALUE]``.

Its follower makes version 1, then every SECONDS the next one up to the number that stands on the
last line of standard input. All weights of REQUEST are the same number in a version, so that an
answer from two versions shows.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ctr.features.parser import Parser
from ctr.model.pages import Pages
from ctr.model.sparse import Allocate, SparseModel
from ctr.model.update import Update
from ctr.settings import Features
from ctr.types import Records
from tests.serve.running import manifest, uniform

SPEC = Features(bits=18)

WHOLE = 50
"""Every so many versions a whole new model comes; the others change the last one in place, or move
it when there is no room left.
"""

FEATURES = {f"f{k}": f"v{k}" for k in range(19)}
ROWS = 3000
"""So many that updates come while they are scored."""

REQUEST = json.dumps({"context": FEATURES, "candidates": [{"ad": "a1"}] * ROWS}).encode()


def weight(version: int) -> float:
    """What the weights of a request are, of 20 features and the bias; never 0."""
    return 0.001 * version - 0.3005


def changes(version: int) -> Pages:
    """The pages of the request's weights. A few of the table, so that there is room for them."""
    event = json.dumps({"features": FEATURES | {"ad": "a1"}}).encode()
    keys = Parser(SPEC, predicting=True).parse(Records.of([event])).batch.keys
    ids = np.unique((keys & np.uint64((1 << SPEC.bits) - 1)) >> np.uint64(6)).astype(np.int64)
    return Pages.from_dense(ids, np.full((len(ids), 64), weight(version), np.float32))


class Counting:
    """A follower that makes its versions itself."""

    def __init__(self, allocate: Allocate | None, seconds: float) -> None:
        self.errors, self.last_error, self.newest = 0, "", -1
        self.last = 1
        self._allocate, self._seconds = allocate, seconds
        self._model: SparseModel | None = None

    def poll(self, timeout: float) -> Update | None:
        version = max(self.newest, 0) + 1
        if version > self.last:
            time.sleep(min(timeout, 0.05))
            return None
        if version > 1:
            time.sleep(self._seconds)
        pages, self.newest = changes(version), version
        if self._model is not None and version % WHOLE:
            return Update(manifest(version, SPEC), self._model, self._model.stage(pages))
        self._model = SparseModel(SPEC.bits, self._allocate)
        self._model.patch(uniform(1.0, SPEC.bits))
        self._model.patch(pages)
        return Update(manifest(version, SPEC), self._model)

    def read_last(self) -> None:
        """Go on as far as the lines of standard input say."""
        for line in sys.stdin:
            self.last = int(line)

    def close(self) -> None:
        print("closed", flush=True)


if __name__ == "__main__":
    from ctr.config import load
    from ctr.serve.workers import Workers

    workers, seconds = int(sys.argv[1]), float(sys.argv[2])
    overrides = {"serve.port": 0, "serve.workers": workers}
    overrides |= dict(argument.split("=", 1) for argument in sys.argv[3:])
    config = load(environment={}, overrides=overrides)

    def follow(allocate: Allocate | None) -> Counting:
        follower = Counting(allocate, seconds)
        threading.Thread(target=follower.read_last, daemon=True).start()
        return follower

    server = Workers(config, follow)
    print(server.admin_url, flush=True)
    server.run(lambda url: print(url, flush=True))
    print("ended", flush=True)
