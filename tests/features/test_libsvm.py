"""libsvm's text, by hand and against the same features in JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.features.formats import make_parser
from ctr.features.parser import REASONS, Parser
from ctr.settings import Features
from ctr.types import Events, Records


def read(*lines: bytes) -> Events:
    return make_parser("libsvm", Features()).parse(Records.of(lines))


def reasons(events: Events) -> list[str]:
    return [REASONS[code] for code in events.rejected.reasons]


def row(line: bytes) -> list[tuple[int, float]]:
    batch = read(line).batch
    assert len(batch) == 1
    return list(zip(batch.keys.tolist(), batch.values.tolist(), strict=True))


def test_labels_are_written_in_many_ways() -> None:
    lines = b"1 3:1\n+1 3:1\n1.0 3:1\n-1 3:1\n0 3:1\n-1.0 3:1\n+0 3:1"
    assert read(lines).batch.labels.tolist() == [1, 1, 1, 0, 0, 0, 0]


def test_a_feature_of_1_is_the_category_of_its_index_in_json() -> None:
    event = {"label": 1, "features": {"index": ["3", "17", "1000000007"]}}
    theirs = Parser(Features()).parse(Records.of([json.dumps(event).encode()]))
    ours = read(b"1 3:1 17:1 1000000007:1")
    assert ours.batch.keys.tolist() == theirs.batch.keys.tolist()
    assert ours.batch.values.tolist() == theirs.batch.values.tolist()


def test_what_the_format_promises() -> None:
    assert row(b"1 3:1 17:0.5") == row(b"  1\t3:1.0  17:+.5 \r") == row(b"1 003:1e0 17:5e-1")
    assert row(b"1 qid:9 3:1 17:0.5 # qid:7 5:1") == row(b"1 3:1 17:0.5#")
    assert row(b"1 3:0 17:2") == row(b"1 17:2")
    assert row(b"1 0:1 00:1") == row(b"1 0:1 0:1")
    assert row(b"1 3:1") != row(b"1 30:1")
    assert row(b"1") == row(b"1 qid:3") == row(b"-1 # nothing") == [(0, 1.0)]
    assert [x for _, x in row(b"1 5:0.25 1:3 5:-2")] == [1.0, 0.25, 3.0, -2.0]


def test_a_comment_alone_is_no_event() -> None:
    events = read(b"# SVMlight\n1 3:1\n  # the end", b"#")
    assert (len(events), events.skipped, reasons(events)) == (1, 0, [])
    assert (events.records.tolist(), events.lines.tolist()) == ([0], [1])


pairs = st.tuples(
    st.integers(0, 10**12), st.floats(-1e6, 1e6, width=32).filter(bool) | st.just(1.0)
)


@given(st.booleans(), st.lists(pairs, max_size=20))
def test_any_pairs_are_themselves(clicked: bool, wanted: list[tuple[int, float]]) -> None:
    line = " ".join(["1" if clicked else "-1", *(f"{index}:{x!r}" for index, x in wanted)])
    batch = read(line.encode()).batch
    event = {"label": clicked, "features": {"index": [str(index) for index, _ in wanted]}}
    keys = Parser(Features()).parse(Records.of([json.dumps(event).encode()])).batch.keys
    assert batch.labels.tolist() == [clicked]
    assert batch.keys.tolist() == keys.tolist()
    assert batch.values.tolist() == [1.0, *(float(np.float32(x)) for _, x in wanted)]


BAD = [
    (b"2 3:1", "label"),
    (b"yes 3:1", "label"),
    (b"0.5 3:1", "label"),
    (b"- 3:1", "label"),
    (b"1,2 3:1", "label"),
    (b"'1 3:1", "label"),
    (b"\xff 3:1", "label"),
    (b"3:1", "no_label"),
    (b"qid:1 3:1", "no_label"),
    (b"1 3", "syntax"),
    (b"1 1", "syntax"),
    (b"1 3:1 price:5", "syntax"),
    (b"1 -3:1", "syntax"),
    (b"1 :1", "syntax"),
    (b"1 3:1 \xff:1", "syntax"),
    (b"1 qid:x 3:1", "syntax"),
    (b"1 3:1 qid:2", "syntax"),
    (b"1 3:1 |ad a9", "syntax"),
    (b"1 3:", "number"),
    (b"1 3: 4:1", "number"),
    (b"1 3:one", "number"),
    (b"1 3:nan", "number"),
    (b"1 3:inf", "number"),
    (b"1 3:1,5", "number"),
    (b"1 3:1:2", "number"),
    (b"1 3:1|ad", "number"),
    (b"1 3:-", "number"),
    (b"1 3:1e39", "number"),
    (b"1 3:\xff", "number"),
    (b"1 3:1e7", "value"),
    (b"1 3:1e7 4:one", "value"),
    (b"1 3:one 4", "number"),
    (b"1 3 4:one", "syntax"),
    (b"2 3:one", "label"),
    (b"3:one", "number"),
    (b"1 " + b" ".join(b"%d:1" % k for k in range(1025)), "too_many_features"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_rejected_for_what_is_wrong_first(line: bytes, reason: str) -> None:
    events = read(b"1 3:1", line, b"-1 3:1")
    assert (len(events), reasons(events)) == (2, [reason])
    (start,), (end,) = events.rejected.starts, events.rejected.ends
    assert events.source.buffer[start:end].tobytes() == line
