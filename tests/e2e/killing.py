"""Killing a trainer again and again, at moments drawn at random."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from .processes import Process, wait_until
from .states import events_in


def kill_often(start: Callable[[], Process], directory: Path, times: int, seed: int) -> set[int]:
    """Start a trainer and SIGKILL it, ``times`` times; the numbers of events it went on from.

    Most die within a second after a checkpoint in ``directory`` of something new, while they
    learn, checkpoint and publish; the others at any moment since their start.
    """
    draw = random.Random(seed)
    went_on: set[int] = set()
    for _ in range(times):
        before = events_in(directory)
        process = start()
        if draw.random() < 0.75:
            wait_until(
                lambda p=process, n=before: events_in(directory) > n or not p.running,
                f"{process} to learn and checkpoint",
            )
            moment = draw.uniform(0, 0.8)
        else:
            moment = draw.uniform(0, 2)
        time.sleep(moment)  # not to wait for anything: this is when it dies
        process.kill()
        went_on |= {int(events) for events in re.findall(r"going on .* (\d+) events", process.said)}
    return went_on
