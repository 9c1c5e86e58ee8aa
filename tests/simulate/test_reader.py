"""The reader takes every good event, and rejects every bad one for the reason intended."""

from __future__ import annotations

import numpy as np
import pytest

from ctr.features.parser import REASONS as READER_REASONS
from ctr.features.parser import Parser
from ctr.settings import Features
from ctr.simulate import FIELDS, KINDS, REASONS, Simulator, SimulatorSettings
from ctr.types import PADDING, Position, Records

SPEC = Features(max_event_bytes=8192, max_features=100, crosses=Simulator.true_crosses)


def as_records(events):
    """Each event a record of its own, as in Kafka."""
    buffer = np.concatenate((events.content, np.zeros(PADDING, np.uint8)))
    offsets = np.arange(len(events))
    starts, ends = events.offsets[:-1].copy(), events.offsets[1:] - 1
    after = Position("", len(events))
    return Records("simulated", buffer, starts, ends, offsets, np.zeros_like(starts), after)


def read(**chosen):
    limits = {"max_event_bytes": SPEC.max_event_bytes, "max_features": SPEC.max_features}
    simulated = Simulator(SimulatorSettings(**limits, **chosen)).batch(3000)
    return simulated, Parser(SPEC).parse(as_records(simulated))


def test_good_events_are_read_as_they_were_meant():
    simulated, events = read(seed=4, bad_share=0.2)
    good = simulated.labels >= 0
    np.testing.assert_array_equal(events.records, np.flatnonzero(good))
    np.testing.assert_array_equal(events.batch.labels, simulated.labels[good])
    names = 1 + len(FIELDS) + len(Simulator.true_crosses)  # the bias is one more
    assert len(np.unique(events.name_ids)) == names


@pytest.mark.parametrize("kind", KINDS)
def test_bad_events_are_rejected_for_the_reason_intended(kind):
    simulated, events = read(bad_share=1.0, bad_kinds=(kind,))
    assert len(events) == 0
    assert len(events.rejected) == len(simulated)
    assert {READER_REASONS[code] for code in events.rejected.reasons} == {REASONS[kind]}
