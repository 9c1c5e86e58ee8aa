"""Prediction requests from events of 25 features: request_bodies.py EVENTS FOLDER.

``one``: an event of 20 features. ``candidates``: 20 features in the context and 100 candidates with
five of their own. ``events``: 1,000 events of 20. A line of a file is a body.
"""

import json
import sys
from pathlib import Path

SHARED, CANDIDATES, EVENTS = 20, 100, 1000
SOME = {"one": 256, "candidates": 64, "events": 8}


def main(file: str, folder: Path) -> None:
    with open(file, "rb") as lines:
        features = [list(json.loads(line)["features"].items()) for line in lines]
    folder.mkdir(parents=True, exist_ok=True)
    at = 0

    def take(count: int) -> list[list[tuple[str, str]]]:
        nonlocal at
        taken = [features[(at + i) % len(features)] for i in range(count)]
        at += count
        return taken

    def event() -> dict[str, object]:
        return {"features": dict(take(1)[0][:SHARED])}

    def candidates() -> dict[str, object]:
        own = [dict(row[SHARED:]) for row in take(CANDIDATES)]
        return {"context": dict(take(1)[0][:SHARED]), "candidates": own}

    made = {
        "one": lambda: {"events": [event()]},
        "candidates": candidates,
        "events": lambda: {"events": [event() for _ in range(EVENTS)]},
    }
    for name, count in SOME.items():
        bodies = [json.dumps(made[name](), separators=(",", ":")) for _ in range(count)]
        (folder / name).write_text("\n".join(bodies) + "\n")


main(sys.argv[1], Path(sys.argv[2]))
