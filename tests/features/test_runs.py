"""Events that are alike, as those of one producer are: the names are guessed from the event before.

What breaks a guess is put in on purpose: a name that begins like the guessed one, values of all
lengths, escapes, blanks, limits, an end in the middle with the next event's bytes behind it.
"""

from __future__ import annotations

import ctypes
import json
import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.features.parser import REASONS, Parser
from ctr.settings import Features
from ctr.types import PADDING, Position, Records
from tests.features.test_parser import FLAT, PLAIN, RICH
from tests.oracle import Row, read_record

FEW = Features(max_features=5)
SHORT = Features(max_event_bytes=150, max_features=70, columns={"a": "linear", "b": "log_bucket"})
ALL = Features(features="", max_features=200)
SPECS = [PLAIN, RICH, FLAT, FEW, SHORT, ALL]

NAMES = "a ad ads b c x tags user.geo f0 f1 f2"
NUMBERS = """0 7 12345678 123456789 -1 -0 01 1.25 0.0 00.5 1. .5 0.7071 0.7072 1.4142 1.4143
    12345678.1234567 123456789.5 1.12345678 1e3 1.5e3"""
OTHERS = """true false null tru {} ["a"] ["a","b"] [] ["a",] [1] ["\\n"] ["\u00e9"] ["a" [""]
    "\\u0041" "\u00e9" "\\\\" "\x01" "a"""
names = st.sampled_from([*NAMES.split(), "", "é", 'q"', *("n" * k for k in (26, 27, 28))])
sizes = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 17, 24, 25, 30, 31, 32, 33, 64])
plain = st.builds(lambda size, c: json.dumps(c * size), sizes, st.sampled_from("ab0 ,}"))
tokens = st.sampled_from(
    [*NUMBERS.split(), *OTHERS.split(), *("1" * k for k in (31, 32, 33, 64, 65)), "1 ", '["a" ]']
)
values = st.one_of(plain, plain, plain, tokens)
members = st.lists(st.tuples(names, values), max_size=12)


def written(features: list[tuple[str, str]], flat: bool) -> bytes:
    inner = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{v}" for name, v in features)
    if flat:
        return ('{"label":1' + (f",{inner}" if inner else "") + "}").encode()
    return ('{"label":1,"features":{' + inner + "}}").encode()


def check_all(parser: Parser, events: list[bytes], predicting: bool = False) -> None:
    """One parse of all ``events`` gives what the oracle makes of each of them."""
    parsed = parser.parse(Records.of(events))
    results = [r for event in events for r in read_record(event, parser.spec, 0, predicting)]
    rows = [result for result in results if isinstance(result, Row)]
    reasons = [result for result in results if isinstance(result, str)]
    assert [REASONS[code] for code in parsed.rejected.reasons] == reasons
    assert len(parsed) == len(rows)
    for k, row in enumerate(rows):
        span = slice(parsed.batch.indptr[k], parsed.batch.indptr[k + 1])
        assert parsed.batch.keys[span].tolist() == row.keys
        assert parsed.batch.values[span].tolist() == row.values
        assert [parser.names[entry] for entry in parsed.name_ids[span]] == row.names


@given(members, st.data(), st.sampled_from(SPECS))
@settings(max_examples=600, deadline=None)
def test_events_alike_are_read_as_one_by_one(
    features: list[tuple[str, str]], data: st.DataObject, spec: Features
) -> None:
    events = [written(features, not spec.features)]
    for _ in range(data.draw(st.integers(1, 4))):
        changed = list(features)
        for _ in range(data.draw(st.integers(0, 2)) if changed else 0):
            at = data.draw(st.integers(0, len(changed) - 1))
            name, value = changed[at]
            how = data.draw(st.sampled_from(["value", "name", "repeat", "drop"]))
            if how == "drop":
                del changed[at]
                break
            name = data.draw(names) if how == "name" else name
            value = data.draw(values) if how == "value" else value
            changed[at : at + (how != "repeat")] = [(name, value)]
        event = written(changed, not spec.features)
        cut = data.draw(st.one_of(st.none(), st.integers(0, len(event))))
        events.append(event[:cut])
    check_all(Parser(spec), [*events, *events])


@pytest.mark.parametrize("count", [1, 7, 8, 9, 63, 64, 65, 66, 127, 128, 129, 200])
def test_rows_of_any_number_of_features_are_whole(count: int) -> None:
    features = [(f"f{k}", json.dumps("v" * (k % 35))) for k in range(count)]
    arrays = [("tags", json.dumps([f"t{k}" for k in range(count)], separators=(",", ":")))]
    for spec in (Features(), Features(max_features=count), Features(max_features=count - 1)):
        check_all(Parser(spec), [written(features, False)] * 3 + [written(arrays, False)] * 3)
        check_all(Parser(spec), [written([*features[:5], *arrays], False)] * 3)


def test_a_bad_event_tells_the_key_that_was_read_last() -> None:
    good = written([("a", '"1"'), ("b", '"2"')], False)
    records = Records.of([good, good[:-2], good[:-3], good.replace(b'"label":1,', b"")])
    rejected = Parser(Features()).parse(records).rejected
    spans = zip(rejected.key_starts, rejected.key_ends, strict=True)
    assert [records.buffer[a:b].tobytes() for a, b in spans] == [b"b", b"b", b"b"]


def test_nothing_is_read_beyond_the_padding() -> None:
    """The buffer ends where the memory does: a read too far would end the process."""
    event = written([("n" * 27, json.dumps("v" * 31)), ("tags", '["a","b"]'), ("x", "1.25")], False)
    parser = Parser(Features())
    parser.parse(Records.of([event, event]))
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    memory = np.frombuffer(pages, np.uint8)
    guard = ctypes.c_void_p(memory.ctypes.data + mmap.PAGESIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    zero = np.zeros(1, np.int64)
    for size in range(len(event), 0, -1):
        # what is behind the end goes on as the event did, as tempting as it can be
        buffer = memory[mmap.PAGESIZE - size - PADDING : mmap.PAGESIZE]
        buffer[:] = np.frombuffer((event * 3)[: size + PADDING], np.uint8)
        after = Position("", 1)
        parsed = parser.parse(Records("memory", buffer, zero, zero + size, zero, zero, after))
        assert len(parsed) == (size == len(event))
