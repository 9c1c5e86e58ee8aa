"""The compiled parser of Vowpal Wabbit's text against its oracle, line by line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.features.parser import REASONS, Parser
from ctr.features.vw import VWParser
from ctr.settings import Features
from ctr.types import Records
from tests.oracle import Row
from tests.vw_oracle import read_record

PLAIN = Features(max_event_bytes=1024, max_features=20)
RICH = Features(
    max_event_bytes=1024,
    max_features=20,
    crosses=[["a", "b"], [" ", "a"], ["a", "long-namespace", "hour(ts)"]],
    time_features=["hour", "dow"],
    time_zone="Asia/Kolkata",
    exclude=["secret"],
    columns={"a": "linear"},
    hash_seed=5,
    max_abs_value=1000.0,
)
CHOSEN = Features(
    features="", label="a", include=["a", "ключ", " "], on_missing_label="skip", max_features=20
)
SPECS = [PLAIN, RICH, CHOSEN]
_parsers: dict[tuple[int, bool], VWParser] = {}


def parser_of(spec: Features, predicting: bool = False) -> VWParser:
    key = (SPECS.index(spec), predicting)
    if key not in _parsers:
        _parsers[key] = VWParser(spec, predicting=predicting)
    return _parsers[key]


def check(record: bytes, spec: Features, timestamp: int = 0, predicting: bool = False) -> None:
    """The parser's rows, rejections and skips of ``record`` are the oracle's."""
    parser = parser_of(spec, predicting)
    # what stands behind a record is none of its business
    records = Records.of([record, b"9:9|x'"], timestamp=timestamp)
    records.starts, records.ends = records.starts[:1], records.ends[:1]
    events = parser.parse(records)
    wanted = read_record(record, spec, timestamp, predicting)
    rows = [result for result in wanted if isinstance(result, Row)]
    reasons = [result for result in wanted if isinstance(result, str)]
    assert [REASONS[code] for code in events.rejected.reasons] == reasons
    assert events.skipped == wanted.count(None)
    assert len(events) == len(rows)
    for k, row in enumerate(rows):
        span = slice(events.batch.indptr[k], events.batch.indptr[k + 1])
        assert events.batch.keys[span].tolist() == row.keys
        assert events.batch.values[span].tolist() == row.values
        assert [parser.names[i] if i >= 0 else None for i in events.name_ids[span]] == row.names
        assert events.ts[k] == timestamp
        assert events.batch.labels[k] == row.label
        assert events.batch.weights is not None
        assert events.batch.weights[k] == np.float32(row.weight)


EXAMPLES = [
    b"1 |a x y:2 z:0",
    b"-1 |a x",
    b"0 |a x",
    b"+1 |a x",
    b"1.0 2.5 |a x",
    b"1e0 |a x",
    b"-0 |a x",
    b"2 |a x",
    b"-1.5 |a x",
    b"yes |a x",
    b"1 0 |a x",
    b"1 1e-6 |a x",
    b"1 1e6 |a x",
    b"1 1000000.1 |a x",
    b"1 -1 |a x",
    b"1 w |a x",
    b"1 1 0 |a x",
    b"1 1 0.0 'tag|a x",
    b"1 1 0.5 |a x",
    b"1 1 base |a x",
    b"1 1 0 0 |a x",
    b"1 1 0 tag|a x",
    b"1 2 3 4 |a x",
    b"1|a x",
    b"'tag|a x",
    b"1 'tag |a x",
    b"1 'tag 2 |a x",
    b"1 '|a x",
    b"1 tag|a x",
    b"1\t2\t|a\tx",
    b"  1 |a x",
    b" |a x",
    b"|a x",
    b"|",
    b"1 |",
    b"1 ||",
    b"1 | ",
    b"1",
    b"1 ",
    b"<html>502 Bad Gateway</html>",
    b"",
    b" \n\r\n\t",
    b"1 |a x\n\n0 |a y\n7 |a z\n",
    b"1 |a x\r\n0 |a y\r\n",
    b"1 |a x|b y",
    b"1 |a x |b y |a z",
    b"1 |a x x x |b y",
    b"1 | x y",
    b"1 |a:2 x:3 y",
    b"1 |a:0 x y",
    b"1 |a:-0.5 x:-4 y",
    b"1 |a:2:3 x",
    b"1 |a:b x",
    b"1 |a: x",
    b"1 |:2 x",
    b"1 |a x:",
    b"1 |a x: y",
    b"1 |a x:1:2",
    b"1 |a x::2",
    b"1 |a :2 :3 :4",
    b"1 |a 0:2 1:3 2:4",
    b"1 |a : y",
    b"1 |a :word",
    b"1 |a" + b" :1" * 12,
    b"1 |a x:abc y:abc z",
    b"1 |a url:http://x.com/?a=1 |b y",
    b"1 |a x:nan",
    b"1 |a x:NaN",
    b"1 |a x:Infinity",
    b"1 |a x:-inf",
    b"1 |a x:info y:nano",
    b"1 |a x:.5 y:5. z:+1 q:1e2 r:-.5E-1 s:007",
    b"1 |a x:.",
    b"1 |a x:-",
    b"1 |a x:1e",
    b"1 |a x:1e+",
    b"1 |a x:1.5.2",
    b"1 |a x:0x10",
    b"1 |a x:1e400",
    b"1 |a x:3.5e38",
    b"1 |a x:1e20",
    b"1 |a:1e20 x:1e20",
    b"1 |a:1e30 x:1e-30",
    b"1 |a x:1e-60",
    b"1 |a x:1000000 y:1000001",
    b"1 |a x:0." + b"1" * 62,
    b"1 |a x:0." + b"1" * 63,
    b"1 |secret:oops x:1:2 |a y",
    b"1 |a\x01b x\x02y z:\x03",
    b"1 |a \x00 \x1fx",
    b"1 |a x\x01",
    b"1 |\x01",
    b"1 |ab\xff\xfe \xff:2",
    "1 |ключ значение:0.5 鍵:値 |a 🔑".encode(),
    b"1 |a exactly8 exactly-sixteen- seven77 nine99999 sixteen-and-more:1",
    b"1 |long-namespace a |long-namespace2 a |a x",
    b"1 |a x |b y:2 z:3 |long-namespace q:0.5",
    b"1 |a x:40 |b y:40",
    b"1 |a" + b" f" * 20,
    b"1 |a" + b" f" * 21,
    b"1 |a" + b" f" * 600,
    b"2 |a" + b" f" * 600,
]


@pytest.mark.parametrize("predicting", [False, True])
@pytest.mark.parametrize("spec", SPECS, ids=["plain", "rich", "chosen"])
def test_every_written_example_is_read_as_by_the_oracle(spec: Features, predicting: bool) -> None:
    for record in EXAMPLES:
        check(record, spec, timestamp=1_712_345_678_901, predicting=predicting)


numbers = st.one_of(
    st.integers(-10, 10).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-10, 10).map("{:.3f}".format),
    st.from_regex(r"[+-]?[0-9]{0,3}\.?[0-9]{0,3}([eE][+-]?[0-9]{0,3})?", fullmatch=True),
)
words = st.one_of(
    st.sampled_from(["a", "b", "c", "long-namespace", "secret", "ключ", "exactly8", "nan", ""]),
    st.text(alphabet=st.characters(exclude_characters=" \t\r\n:|"), max_size=20),
)
values = st.one_of(st.just(""), numbers.map(":{}".format), words.map(":{}".format))
features = st.builds("{}{}".format, words, values)
namespaces = st.builds(
    lambda name, scale, inner: "|" + " ".join([name + scale, *inner]),
    words,
    st.one_of(st.just(""), values),
    st.lists(features, max_size=5),
)
heads = st.builds(
    " ".join,
    st.tuples(
        st.sampled_from(["1", "-1", "0", "", "3"]),
        st.one_of(st.just(""), numbers),
        st.sampled_from(["", "0", "'tag ", "tag", "0.5"]),
    ),
)
lines = st.builds(lambda head, inner: head + " ".join(inner), heads, st.lists(namespaces))


@given(lines, st.sampled_from(SPECS), st.booleans())
@settings(max_examples=500)
def test_any_line_is_read_as_by_the_oracle(line: str, spec: Features, predicting: bool) -> None:
    check(line.encode("utf-8", "surrogatepass"), spec, predicting=predicting)


@given(lines, st.sampled_from(SPECS), st.data())
@settings(max_examples=400)
def test_damaged_lines_are_judged_as_by_the_oracle(
    line: str, spec: Features, data: st.DataObject
) -> None:
    record = bytearray(line.encode("utf-8", "surrogatepass")) or bytearray(b"|")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(record) - 1))
        byte = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(list(b"|: '\t\n1.e-"))))
        how = data.draw(st.sampled_from(["cut", "change", "insert"]))
        if how == "cut":
            del record[at + 1 :]
        elif how == "change":
            record[at] = byte
        else:
            record.insert(at, byte)
    check(bytes(record), spec)


@given(st.binary(max_size=100), st.sampled_from(SPECS))
@settings(max_examples=500)
def test_random_bytes_are_judged_as_by_the_oracle(record: bytes, spec: Features) -> None:
    check(record, spec)


@given(st.text(alphabet="|: '\t\n01.eE+-ab\x01", max_size=40))
@settings(max_examples=400)
def test_random_punctuation_is_judged_as_by_the_oracle(text: str) -> None:
    check(text.encode(), PLAIN)


def test_what_the_format_promises() -> None:
    parser = VWParser(Features(crosses=[["user", "ad"], [" ", "ad"]]))

    def row(line: bytes) -> list[tuple[int, float]]:
        batch = parser.parse(Records.of([line])).batch
        return list(zip(batch.keys.tolist(), batch.values.tolist(), strict=True))

    assert row(b"1 |ad a9") == row(b"1 |ad a9:1") == row(b"1 |ad:0.5 a9:2")
    assert row(b"1 |ad :7 :8") == row(b"1 |ad 0:7 1:8")
    assert row(b"1 |ad a9 |site x") == row(b"1 |ad a9|site x")
    assert row(b"1 |ad a9:0") == row(b"1 |")
    assert row(b"1 |ad a:9") != row(b"1 |a ad:9")
    assert row(b"1 |ad a:x") != row(b"1 |ad x:a")
    assert len(row(b"1 |user u1 u2 |ad a9:0.5")) == 1 + 3 + 2
    assert [x for _, x in row(b"1 | u:3 |ad a9:0.5")] == [1.0, 3.0, 0.5, 1.5]


def test_a_word_of_a_namespace_is_the_category_of_that_name_in_json() -> None:
    crosses = [["user", "ad"]]
    ours = VWParser(Features(crosses=crosses)).parse(Records.of([b"1 3 |user u17 |ad a9 7"]))
    event = {"label": 1, "weight": 3, "features": {"user": "u17", "ad": ["a9", "7"]}}
    record = json.dumps(event).encode()
    theirs = Parser(Features(crosses=crosses)).parse(Records.of([record]))
    assert ours.batch.keys.tolist() == theirs.batch.keys.tolist()
    assert ours.batch.values.tolist() == theirs.batch.values.tolist()
    assert ours.batch.weights is not None
    assert ours.batch.weights.tolist() == [3.0]


def test_many_lines_are_read_whatever_the_arrays_hold_at_first() -> None:
    lines = [b"1 |a" + b" f%d:0.5" % k * 40 + b"\n-1 |b" + b" g" * 30 for k in range(10_000)]
    events = VWParser(Features()).parse(Records.of(lines))
    assert len(events) == 2 * len(lines)
    assert len(events.batch.keys) == (41 + 31) * len(lines)
    assert events.records.tolist() == [k // 2 for k in range(2 * len(lines))]
    assert events.lines.tolist() == [0, 1] * len(lines)


def test_tags_are_ids_and_rejections_tell_their_place() -> None:
    bad = b"1 |a price:1,5"
    records = Records.of([b"1 'e7|a x\n" + bad + b"\n0 e8|a x\n-1 |a x", b"", b"1 |a " + b"x" * 99])
    events = VWParser(Features(max_event_bytes=64)).parse(records)
    spans = zip(events.id_starts, events.id_ends, strict=True)
    ids = [records.buffer[a:b].tobytes() if a >= 0 else None for a, b in spans]
    assert ids == [b"e7", b"e8", None]
    rejected = events.rejected
    assert [REASONS[code] for code in rejected.reasons] == ["number", "empty", "too_long"]
    assert records.buffer[rejected.starts[0] : rejected.ends[0]].tobytes() == bad
    assert (rejected.records.tolist(), rejected.lines.tolist()) == ([0, 1, 2], [1, 0, 0])
    key = slice(rejected.key_starts[0], rejected.key_ends[0])
    assert records.buffer[key].tobytes() == b"price"


def test_namespaces_only_of_bad_lines_are_forgotten() -> None:
    parser = VWParser(Features())
    parser.parse(Records.of([b"1 |ghost x |a x:1:2"]))
    assert "ghost" not in parser.names
    parser.parse(Records.of([b'1 |re"al\\ x']))
    assert 're"al\\' in parser.names


def test_more_namespaces_than_the_table_holds_are_features_all_the_same() -> None:
    line = b"1 " + b" ".join(b"|name%d v" % k for k in range(5000))
    spec = Features(max_features=6000)
    events = VWParser(spec).parse(Records.of([line, line]))
    (row,) = read_record(line, spec)
    assert isinstance(row, Row)
    assert events.batch.keys.tolist() == row.keys * 2
    assert (events.name_ids == -1).sum() > 1000


@pytest.mark.parametrize(
    ("settings_of", "message"),
    [
        (
            {"columns": {"price": "log_bucket"}},
            "features.columns.price must be 'linear' in Vowpal Wabbit's text; got 'log_bucket'",
        ),
        ({"crosses": [["a"]]}, "features.crosses[0] must be 2 to 8 different columns"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings_of: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError) as error:
        VWParser(Features(**settings_of))  # type: ignore[arg-type]
    assert message in str(error.value)
