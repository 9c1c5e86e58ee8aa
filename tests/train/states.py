"""A trainer's state of which every piece says the same number: a mixture of two would show."""

from __future__ import annotations

import numpy as np

from ctr.stream.dead_letters import Letter
from ctr.types import Position


def state(events, size=3):
    """Parts and positions after so many ``events``; the largest array has ``size`` numbers."""
    parts = {
        "learner": ({"events": events}, {"z": np.full(size, float(events)), "pages": np.arange(2)}),
        "gate": ({"events": events}, {}),
    }
    return parts, {"kafka:events/0": Position("", events)}


def letters(events):
    """The unacknowledged dead letters after so many events."""
    return [
        Letter("kafka:events/0/3/0", "syntax", b"{%d" % events),
        Letter("kafka:events/0/4/1", "empty", b""),
    ]


def events_of(found):
    """The number of events that a checkpoint's parts, positions and letters agree on."""
    meta, arrays = found.parts["learner"]
    events = meta["events"]
    assert (arrays["z"] == events).all()
    assert found.parts["gate"] == ({"events": events}, {})
    assert found.positions == {"kafka:events/0": Position("", events)}
    assert found.letters == letters(events)
    assert all(isinstance(letter, Letter) for letter in found.letters)
    return events
