"""What checkpoints hold, compared to the last bit."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from ctr.train.checkpoint import Checkpoint, read
from ctr.train.state import PARTS


def checkpoints(directory: Path) -> list[Path]:
    """The checkpoint files, the newest first."""
    return sorted(directory.glob("checkpoint-*.ctr"), reverse=True)


def newest(directory: Path) -> Checkpoint:
    """The newest checkpoint. The trainer may go on writing others."""
    for path in checkpoints(directory):
        try:
            return read(path, PARTS)
        except FileNotFoundError:  # it is past the last few already
            continue
    return newest(directory)


def events_in(directory: Path) -> int:
    """Events learned in the newest checkpoint; 0 when there is none."""
    for path in checkpoints(directory):
        try:
            return _events_of(path)
        except FileNotFoundError:
            continue
    return 0


@cache
def _events_of(path: Path) -> int:
    # a checkpoint never changes
    return learned(read(path, PARTS))


def learned(checkpoint: Checkpoint) -> int:
    """Events learned."""
    return checkpoint.parts["learner"][0]["events_learned"]


def differences(a: Checkpoint, b: Checkpoint) -> list[str]:
    """Where two states are not the same to the last bit; versions published do not matter."""
    found = [] if a.positions == b.positions else ["positions"]
    for name in PARTS:
        (meta, arrays), (other_meta, others) = a.parts[name], b.parts[name]
        for key in sorted({*meta, *other_meta} - {"version"}):
            # the order of keys is no matter, NaN is NaN
            mine, its = (json.dumps(part.get(key), sort_keys=True) for part in (meta, other_meta))
            if mine != its:
                found.append(f"{name}.{key}: {mine} and {its}")
        for key in sorted({*arrays, *others}):
            if arrays[key].tobytes() != others[key].tobytes():
                found.append(f"{name}/{key}")
    return found
