"""Subsampling behind the parser: the same events however they come, and weights that make up."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.features.parser import Parser
from ctr.features.subsample import subsample
from ctr.features.vw import VWParser
from ctr.settings import Features
from ctr.types import Events, Position, Records

PARSER = Parser(Features(on_missing_label="skip"))
VW = VWParser(Features())
COUNT = 20_000


def line(label: int, number: int, **more: Any) -> bytes:
    """An event with an id, and as many features as its number says."""
    features = {f"f{k}": f"v{number}" for k in range(number % 4)}
    event = {"id": f"e{number}", "label": label, "features": features, **more}
    return json.dumps({key: value for key, value in event.items() if value is not None}).encode()


def stream(count: int = COUNT) -> list[bytes]:
    """Every tenth event is a click."""
    return [line(int(i % 10 == 0), i) for i in range(count)]


@dataclass(frozen=True)
class Row:
    """All that there is of one event."""

    id: bytes | None
    label: float
    weight: float
    ts: int
    address: tuple[int, int]
    keys: tuple[int, ...]
    values: tuple[float, ...]
    names: tuple[int, ...]


def rows_of(events: Events) -> list[Row]:
    batch, buffer = events.batch, events.source.buffer
    assert batch.weights is not None
    rows = []
    for i in range(len(events)):
        span = slice(batch.indptr[i], batch.indptr[i + 1])
        start, end = events.id_starts[i], events.id_ends[i]
        rows.append(
            Row(
                buffer[start:end].tobytes() if start >= 0 else None,
                float(batch.labels[i]),
                float(batch.weights[i]),
                int(events.ts[i]),
                (int(events.source.offsets[events.records[i]]), int(events.lines[i])),
                tuple(batch.keys[span].tolist()),
                tuple(batch.values[span].tolist()),
                tuple(events.name_ids[span].tolist()),
            )
        )
    return rows


def ids_of(events: Events) -> set[bytes | None]:
    return {row.id for row in rows_of(events)}


def cut(values: Sequence[bytes], at: Sequence[int], source: str = "memory") -> list[Records]:
    """Records of the values, cut before these."""
    edges = [0, *sorted(at), len(values)]
    return [Records.of(values[a:b], source, first=a, timestamp=7) for a, b in pairwise(edges)]


# ---- what is kept


def test_a_share_of_1_is_the_events_themselves() -> None:
    events = PARSER.parse(Records.of(stream(100)))
    assert subsample(events, 1.0) is events
    assert subsample(events, 1) is events


@pytest.mark.parametrize("share", [0.9, 0.3, 0.1, 0.01])
def test_clicks_stay_and_the_share_of_the_others_is_that_of_chance(share: float) -> None:
    events = PARSER.parse(Records.of(stream()))
    kept = subsample(events, share)
    clicks, others = COUNT // 10, COUNT - COUNT // 10
    assert kept.batch.labels.sum() == clicks
    spread = math.sqrt(others * share * (1 - share))
    assert abs(len(kept) - clicks - others * share) < 5 * spread
    assert kept.batch.weights is not None
    assert abs(kept.batch.weights.sum(dtype=float) - COUNT) < 5 * spread / share


def test_what_stays_is_as_it_was_but_for_the_weights() -> None:
    whole = rows_of(PARSER.parse(Records.of(stream(3000), timestamp=5)))
    kept = rows_of(subsample(PARSER.parse(Records.of(stream(3000), timestamp=5)), 0.25))
    by_id = {row.id: row for row in whole}
    for row in kept:
        before = by_id[row.id]
        assert row.weight == (before.weight if before.label else 4 * before.weight)
        assert row == Row(**{**vars(before), "weight": row.weight})
    stayed = [row.id for row in kept]
    assert stayed == [row.id for row in whole if row.id in set(stayed)]
    assert 300 + 560 < len(kept) < 300 + 790


def test_nothing_that_was_handed_on_is_changed() -> None:
    events = PARSER.parse(Records.of(stream(500)))
    before = rows_of(events)
    subsample(events, 0.2)
    assert rows_of(events) == before


@given(
    st.lists(st.integers(0, 300), max_size=8),
    st.permutations(range(4)),
    st.sampled_from([0.5, 0.1, 0.03]),
    st.integers(0, 2**70),
)
def test_the_same_ids_stay_however_the_stream_is_cut_ordered_and_partitioned(
    at: list[int], order: list[int], share: float, seed: int
) -> None:
    values = stream(300)
    wanted = ids_of(subsample(PARSER.parse(Records.of(values)), share, seed))

    def kept(pieces: Sequence[Records]) -> set[bytes | None]:
        found = (ids_of(subsample(PARSER.parse(piece), share, seed)) for piece in pieces)
        return set().union(*found)

    assert kept(cut(values, at)) == wanted
    parts = [(values[k::4], f"kafka:events/{k}") for k in order]
    assert kept([Records.of(part, uri, first=10**6) for part, uri in parts]) == wanted
    # many events in one record, and one by one
    assert kept([Records.of([b"\n".join(values[::-1])])]) == wanted
    assert kept(cut(values, range(1, 300))) == wanted


def test_a_smaller_share_keeps_some_of_what_a_larger_one_keeps() -> None:
    events = PARSER.parse(Records.of(stream()))
    shares = [0.01, 0.1, 0.3, 0.9, 0.999999]
    kept = [ids_of(subsample(events, share)) for share in shares]
    for fewer, more in pairwise(kept):
        assert fewer < more


def test_another_seed_keeps_others() -> None:
    events = PARSER.parse(Records.of(stream()))
    one, two, again = (ids_of(subsample(events, 0.5, seed)) for seed in (1, 2, 1))
    assert 8600 < len(one ^ two) < 9400
    assert again == one


def test_an_id_is_its_bytes_whatever_the_format() -> None:
    """A number is the string of its digits, and a tag of Vowpal Wabbit is an id."""
    numbers = range(1000, 3000)
    whole = [line(0, 0, id=i) for i in numbers]
    text = [line(0, 0, id=str(i)) for i in numbers]
    tags = [b"-1 1 '%d|ad a9" % i for i in numbers]
    kept = ids_of(subsample(PARSER.parse(Records.of(whole)), 0.3))
    assert 500 < len(kept) < 700
    assert ids_of(subsample(PARSER.parse(Records.of(text)), 0.3)) == kept
    assert ids_of(subsample(VW.parse(Records.of(tags)), 0.3)) == kept


@pytest.mark.parametrize("spelled", ["e\\u0031", "\\u00651"])
def test_spellings_of_an_id_are_different_ids(spelled: str) -> None:
    """Each is kept or left out by itself, so over many seeds they do not always agree."""
    values = [b'{"id":"%s","label":0}' % text.encode() for text in ("e1", spelled)]
    events = PARSER.parse(Records.of(values))
    lengths = {len(subsample(events, 0.5, seed)) for seed in range(64)}
    assert lengths == {0, 1, 2}


def test_events_of_one_id_stay_together() -> None:
    values = [line(0, i // 5) for i in range(5000)]
    kept = [row.id for row in rows_of(subsample(PARSER.parse(Records.of(values)), 0.2))]
    assert {kept.count(name) for name in set(kept)} == {5}
    assert 120 < len(set(kept)) < 280


# ---- events without an id


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_an_id_it_is_the_address_that_decides(nothing: str | None) -> None:
    values = [line(0, i, id=nothing) for i in range(2000)]

    def kept(*pieces: Records) -> set[tuple[int, int]]:
        found = [rows_of(subsample(PARSER.parse(piece), 0.3)) for piece in pieces]
        return {row.address for rows in found for row in rows}

    wanted = kept(Records.of(values, "kafka:events/0"))
    assert 500 < len(wanted) < 700
    assert kept(*cut(values, [1, 17, 1200], "kafka:events/0")) == wanted
    for other in ("kafka:events/1", "kafka:more/0", "file:events.jsonl"):
        agreed = kept(Records.of(values, other)) & wanted
        assert 120 < len(agreed) < 240
    # the lines of one record have addresses of their own
    joined = kept(Records.of([b"\n".join(values)], "kafka:events/0"))
    assert 500 < len(joined) < 700
    assert {offset for offset, _ in joined} == {0}


def test_the_segments_of_a_log_have_different_addresses() -> None:
    kept = []
    for segment in ("000000000001.jsonl", "000000000002.jsonl"):
        records = Records.of([line(0, i, id=None) for i in range(2000)], "log:events")
        records.after = Position(segment, 2000)
        rows = rows_of(subsample(PARSER.parse(records), 0.3))
        kept.append({row.address for row in rows})
    assert 120 < len(kept[0] & kept[1]) < 240


# ---- weights, and what is no business of subsampling


@pytest.mark.parametrize("share", [1e-6, 0.001, 0.7])
@pytest.mark.parametrize("weight", [1e-6, 0.3, 1e6])
def test_weights_stay_within_float32(share: float, weight: float) -> None:
    values = [line(label, i, weight=weight) for i in range(4000) for label in (0, 1)]
    kept = subsample(PARSER.parse(Records.of(values)), share, 3)
    weights, labels = kept.batch.weights, kept.batch.labels
    assert weights is not None
    assert weights.dtype == np.float32
    assert (weights[labels == 1] == np.float32(weight)).all()
    assert (labels == 1).sum() == 4000
    assert np.isfinite(weights**2).all()
    np.testing.assert_allclose(weights[labels == 0], weight / share, rtol=1e-6)


def test_bad_events_and_those_without_a_label_are_no_matter_of_it() -> None:
    values = stream(400)
    values[50:50] = [b"{", line(2, 7), b"", b"[]", b'{"id":"e5","ts":3}']
    events = PARSER.parse(Records.of(values))
    kept = subsample(events, 0.01)
    assert kept.rejected is events.rejected
    assert (len(kept.rejected), kept.skipped) == (4, 1)
    assert kept.source is events.source


@pytest.mark.parametrize("values", [[], [b"{"], [line(0, 1)] * 3])
def test_there_may_be_nothing_left(values: list[bytes]) -> None:
    events = PARSER.parse(Records.of(values))
    kept = subsample(events, 1e-6)
    assert len(kept) == 0
    assert kept.batch.indptr.tolist() == [0]
    assert len(kept.batch.keys) == len(kept.name_ids) == len(kept.ts) == 0


@pytest.mark.parametrize("share", [0, -0.1, 1.0001, 1e-7, math.nan, math.inf])
def test_a_share_is_more_than_0_and_at_most_1(share: float) -> None:
    with pytest.raises(SettingError, match=r"^events.keep_without_click must be >= 1e-06 and <= 1"):
        subsample(PARSER.parse(Records.of([])), share)
