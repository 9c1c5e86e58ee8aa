"""A server process for tests of signals: ``python process.py PORT VERSION`` (0 serves nothing)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

if __name__ == "__main__":
    from ctr.config import load
    from ctr.observe import registry
    from ctr.serve.run import run
    from tests.serve.running import Feed, random_model, whole

    port, version = map(int, sys.argv[1:])
    feed = Feed()
    if version:
        feed.put(whole(version, random_model()))
    config = load(environment={}, overrides={"serve.port": port})
    run(config, feed, registry.make("server", "clicks"), lambda url: print(url, flush=True))
    print(f"closed: {feed.closed}", flush=True)
