"""Criteo's and Avazu's rows, by hand and against the same events in JSON."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.features.columns import AVAZU, CRITEO, number
from ctr.features.formats import make_parser, with_defaults
from ctr.features.parser import REASONS, Parser
from ctr.settings import Features
from ctr.types import Events, Records

PLAIN = Features()


def read(form: str, *lines: bytes, spec: Features = PLAIN) -> Events:
    return make_parser(form, spec).parse(Records.of(lines))


def reasons(events: Events) -> list[str]:
    return [REASONS[code] for code in events.rejected.reasons]


def same(events: Events, spec: Features, *wanted: dict[str, object]) -> bool:
    theirs = Parser(spec).parse(Records.of([json.dumps(event).encode() for event in wanted]))
    ours, other = events.batch, theirs.batch
    assert len(theirs) == len(wanted)
    return bool(
        ours.keys.tolist() == other.keys.tolist()
        and ours.values.tolist() == other.values.tolist()
        and ours.labels.tolist() == other.labels.tolist()
        and ours.indptr.tolist() == other.indptr.tolist()
    )


def criteo(label: bytes = b"1", **columns: bytes) -> bytes:
    return b"\t".join([label, *(columns.get(name, b"") for name in CRITEO[1:])])


def test_a_row_of_criteo_is_its_event() -> None:
    rows = [
        criteo(b"1", I1=b"5", I2=b"-2", I13=b"181", C1=b"68fd1e64", C26=b"49d68486"),
        criteo(b"0", I3=b"0"),
    ]
    events = read("criteo", *rows)
    wanted = [
        {"label": 1, "features": {"I1": 5, "I2": -2, "I13": 181, "C1": "68fd1e64"}},
        {"label": 0, "features": {"I3": 0}},
    ]
    wanted[0]["features"]["C26"] = "49d68486"  # type: ignore[index]
    assert same(events, with_defaults("criteo", Features()), *wanted)
    assert events.id_starts.tolist() == [-1, -1]


def test_a_column_of_criteo_is_read_as_the_settings_say() -> None:
    spec = Features(columns={"I1": "categorical", "I2": "linear", "C1": "linear", "I4": "linear"})
    row = criteo(I1=b"007", I2=b"+1.50", I3=b"12.5", C1=b"12", C2=b"12")
    features = {"I1": "007", "I2": 1.5, "I3": 12.5, "C1": 12, "C2": "12"}
    event = {"label": 1, "features": features}
    assert same(read("criteo", row, spec=spec), with_defaults("criteo", spec), event)


def test_criteos_label_may_be_missing_with_its_tab_or_without() -> None:
    row = criteo(b"", I1=b"1", C26=b"49d68486")
    assert reasons(read("criteo", row, row[1:])) == ["no_label", "no_label"]


CRITEO_BAD = [
    (criteo()[:-2], "syntax"),
    (criteo() + b"\t", "syntax"),
    (b"1,5,110,,16,,1,0,14,7,1", "syntax"),
    (b"<html>502 Bad Gateway</html>", "syntax"),
    (b"K\xf6ln", "utf8"),
    (criteo(C3=b"K\xf6ln"), "utf8"),
    (criteo(I3=b"\xff"), "utf8"),
    (criteo(b"\xff"), "utf8"),
    (criteo(b"-1"), "label"),
    (criteo(b"yes"), "label"),
    (criteo(b"1.0"), "label"),
    (criteo(I1=b"68fd1e64"), "number"),
    (criteo(I13=b"nan"), "number"),
    (criteo(I13=b"1e39"), "number"),
    (criteo(I13=b"5" * 65), "number"),
    (criteo(I1=b"1 "), "number"),
    (criteo(I1=b'1,"C1":"x"'), "number"),
    (b"[" * 40, "syntax"),
    (criteo(C1=b"1e7"), "value"),
    (criteo(C2=b"1", C3=b"1", C4=b"1", C5=b"1"), "too_many_features"),
    (criteo(b"", I1=b"1"), "no_label"),
    (b"\t" * 39, "empty"),
]


@pytest.mark.parametrize(("line", "reason"), CRITEO_BAD)
def test_a_bad_row_of_criteo_is_rejected_for_what_it_is(line: bytes, reason: str) -> None:
    spec = Features(columns={"C1": "linear"}, max_features=3)
    events = read("criteo", criteo(), line, criteo(), spec=spec)
    assert (len(events), reasons(events)) == (2, [reason])


def test_a_column_that_is_left_out_may_hold_anything() -> None:
    row = criteo(I1=b"many", C1=b"68fd1e64")
    for spec in (Features(exclude=["I1"]), Features(include=["C1"])):
        wanted = {"label": 1, "features": {"C1": "68fd1e64"}}
        assert same(read("criteo", row, spec=spec), spec, wanted)


texts = st.text(st.characters(exclude_characters="\t\n", codec="utf-8"), max_size=8)


@given(st.lists(texts, min_size=26, max_size=26), st.lists(st.integers(), min_size=13, max_size=13))
def test_any_text_and_any_integer_is_itself(words: list[str], numbers: list[int]) -> None:
    words[-1] = words[-1].rstrip("\r")
    line = "\t".join(["0", *map(str, numbers), *words]).encode()
    features = dict(zip(CRITEO[1:], [*numbers, *(word or None for word in words)], strict=True))
    spec = with_defaults("criteo", Features())
    if max(map(abs, numbers)) < 1e38:
        assert same(read("criteo", line), spec, {"label": 0, "features": features})


@given(st.from_regex(rb"[+-]?[0-9]{0,3}\.?[0-9]{0,3}([eE][+-]?[0-9]{0,3})?", fullmatch=True))
def test_a_number_is_spelled_as_json_or_is_none(text: bytes) -> None:
    spelled = number(text)
    try:
        wanted = float(text) if text else None
    except ValueError:
        assert (spelled.isdigit(), len(spelled)) == (True, 65)
        return
    got = json.loads(spelled)
    assert got == wanted
    assert wanted is None or math.copysign(1, wanted) == math.copysign(1, float(spelled))


def avazu(**columns: bytes) -> bytes:
    known = {"id": b"1009", "click": b"0", "hour": b"14102100", **columns}
    return b",".join(known.get(name, b"") for name in AVAZU)


HEADER = ",".join(AVAZU).encode()


def test_a_row_of_avazu_is_its_event() -> None:
    row = avazu(id=b"10000169349117863715", click=b"1", hour=b"14102123", C1=b"1005", C20=b"-1")
    events = read("avazu", HEADER, row, spec=Features(time_features=["hour", "dow"]))
    features = {"C1": "1005", "C20": "-1", "hour(ts)": "23", "dow(ts)": "1"}
    assert same(events, Features(), {"label": 1, "features": features})
    assert events.ts.tolist() == [1413932400000]  # 2014-10-21T23:00:00Z
    assert (events.records.tolist(), events.lines.tolist(), events.skipped) == ([1], [0], 0)
    (start,), (end,) = events.id_starts, events.id_ends
    assert events.source.buffer[start:end].tobytes() == b"10000169349117863715"
    assert start == len(HEADER)


def test_columns_of_avazu_become_numbers_where_the_settings_say_so() -> None:
    spec = Features(columns={"C15": "log_bucket", "C16": "linear"})
    row = avazu(C14=b"320", C15=b"320", C16=b"50")
    event = {"label": 0, "features": {"C14": "320", "C15": 320, "C16": 50}}
    assert same(read("avazu", row, spec=spec), spec, event)


def test_a_header_is_no_event_and_names_the_columns_after_it() -> None:
    parser = make_parser("avazu", Features())
    lines = [
        b"\xef\xbb\xbfad,click,id,hour\r\na9,1,e7,14102100\na9,1,e8",
        b'"id","hour","100% ""ad"""\r',
        b'e9,14102101,"a,9"',
    ]
    events = parser.parse(Records.of(lines))
    assert (len(events), reasons(events)) == (1, ["syntax", "no_label"])
    assert events.rejected.records.tolist() == [0, 2]
    (start,), (end,) = events.id_starts, events.id_ends
    assert events.source.buffer[start:end].tobytes() == b"e7"
    assert same(events, Features(), {"label": 1, "features": {"ad": "a9"}})
    # what holds at the end of one batch holds in the next
    later = parser.parse(Records.of([b"e10,14102102,a9", b'click,hour,"100% ""ad"""\n1,,x']))
    assert (later.batch.labels.tolist(), reasons(later)) == ([1.0], ["no_label"])
    assert '100% "ad"' in parser.names


def test_a_field_with_hour_in_it_is_no_header() -> None:
    row = avazu(site_domain=b"happyhour.com", app_domain=b"hour")
    events = read("avazu", row, avazu())
    assert (len(events), reasons(events)) == (2, [])


def test_quotes_may_stand_around_a_field_of_avazu() -> None:
    events = read("avazu", b"id,click,hour,ad", b'e7,"1",14102100,"say ""hi"", \\ you"')
    assert same(events, Features(), {"label": 1, "features": {"ad": 'say "hi", \\ you'}})


AVAZU_BAD = [
    (avazu()[:-1], "syntax"),
    (avazu() + b",", "syntax"),
    (avazu(site_id=b'"1fbe'), "syntax"),
    (avazu(site_id=b'"1fbe"01fe'), "syntax"),
    (avazu(site_id=b"\xff"), "utf8"),
    (HEADER.replace(b"C1,", b"\xff,"), "utf8"),
    (avazu(click=b"2"), "label"),
    (avazu(click=b""), "no_label"),
    (avazu(hour=b"14102124"), "ts"),
    (avazu(hour=b"14103224"), "ts"),
    (avazu(hour=b"1410210"), "ts"),
    (avazu(hour=b"-4102101"), "ts"),
    (avazu(hour=b"hour"), "ts"),
    (HEADER + b",id\n" + avazu() + b",1009", "repeated_key"),
]


@pytest.mark.parametrize(("line", "reason"), AVAZU_BAD)
def test_a_bad_row_of_avazu_is_rejected_for_what_it_is(line: bytes, reason: str) -> None:
    events = read("avazu", avazu(), line, HEADER, avazu())
    assert (len(events), reasons(events)) == (2, [reason])


def test_a_row_of_avazu_without_hour_has_the_time_of_its_record() -> None:
    events = make_parser("avazu", Features()).parse(
        Records.of([avazu(hour=b"", id=b"")], timestamp=77)
    )
    assert (events.ts.tolist(), events.id_starts.tolist()) == ([77], [-1])
