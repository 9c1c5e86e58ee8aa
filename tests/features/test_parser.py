"""The compiled parser against its oracle: the same row or the same reason for every input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.features.parser import REASONS, Parser
from ctr.settings import Features
from ctr.types import Records
from tests.oracle import Row, read_record

PLAIN = Features(max_event_bytes=4096, max_features=40)
RICH = Features(
    max_event_bytes=4096,
    max_features=40,
    columns={"x": "linear", "y": "linear", "c": "categorical", "b": "log_bucket"},
    crosses=[["a", "b"], ["a", "tags", "x"], ["x", "y"], ["a", "hour(ts)"]],
    time_features=["hour", "dow"],
    time_zone="Europe/Paris",
    exclude=["secret"],
    hash_seed=77,
)
FLAT = Features(
    features="",
    label="outcome.click",
    ts="when",
    exclude=["user.secret"],
    crosses=[["user.geo", "ad"]],
    on_missing_label="skip",
    max_features=40,
)
CHOSEN = Features(features="", include=["user.geo", "ad", "deep"], label="y", max_features=40)
DOTTED = Features(include=["a", "user.geo"], columns={"a.b": "linear"}, max_features=40)
SPECS = [PLAIN, RICH, FLAT, CHOSEN, DOTTED]
_parsers: dict[tuple[int, bool], Parser] = {}


def parser_of(spec: Features, predicting: bool = False) -> Parser:
    key = (SPECS.index(spec), predicting)
    if key not in _parsers:
        _parsers[key] = Parser(spec, predicting=predicting)
    return _parsers[key]


def check(record: bytes, spec: Features, timestamp: int = 0, predicting: bool = False) -> None:
    """The parser's rows, rejections and skips of ``record`` are the oracle's."""
    parser = parser_of(spec, predicting)
    events = parser.parse(Records.of([record], timestamp=timestamp))
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
        assert events.ts[k] == row.ts
        assert events.batch.labels[k] == row.label
        assert events.batch.weights is not None
        assert events.batch.weights[k] == np.float32(row.weight)


def event(**members: object) -> bytes:
    return json.dumps({"label": 1, **members}).encode()


EXAMPLES = [
    b'{"id":"9f2c","ts":1700000000000,"label":1,"weight":1.0,"features":{"user":"u17","ad":"a9",'
    b'"site":"x.com","hour":13,"price":1.25,"tags":["a","b"],"new":true}}',
    b'{"label":0}',
    b'{"label":false,"features":{}}',
    b' {"label" : true ,\t"features" : { "a" : "x" , "b" : [ "y" , "z" ] } } \r',
    b'{"label":1}\n\n{"label":0}\n',
    b"",
    b" \n \t\n",
    b"\n" * 5000,
    b'{"label":1}\n{"label":7}\n{"label":0,"features":{"a":1}}',
    b'{"label":null}',
    b'{"label":1,"weight":null,"id":null,"ts":null,"features":null}',
    b'{"label":-0}',
    b'{"label":1e0}',
    b'{"label":1.0}',
    b'{"label":2}',
    b'{"label":"1"}',
    b'{"label":[1]}',
    b'{"label":1,"label":1}',
    b'{"label":1,"lab\\u0065l":1}',
    b'{"label":1,"x":1,"x":2}',
    b'{"label":1,"features":{"a":"x","a":"y"}}',
    b'{"label":1,"features":{"a":{}}}',
    b'{"label":1,"features":{"a":[1]}}',
    b'{"label":1,"features":{"a":[null]}}',
    b'{"label":1,"features":{"a":[["x"]]}}',
    b'{"label":1,"features":{"a":[]}}',
    b'{"label":1,"features":[]}',
    b'{"label":1,"features":"a"}',
    b'{"label":1,"features":{"a":null,"b":false,"c":true}}',
    b'{"label":1,"features":{"c":1.5,"b":-2.5,"x":1e-3,"y":-0.0}}',
    b'{"label":1,"features":{"x":0,"y":3}}',
    b'{"label":1,"features":{"x":1e7}}',
    b'{"label":1,"features":{"x":1e5,"y":1e5}}',
    b'{"label":1,"features":{"b":1e39}}',
    b'{"label":1,"features":{"b":3.4028235e38,"c":1e-46}}',
    b'{"label":1,"features":{"a":1e400}}',
    b'{"label":1,"features":{"a":' + b"1" * 64 + b"}}",
    b'{"label":1,"features":{"a":' + b"1" * 65 + b"}}",
    b'{"label":1,"features":{"a":0.' + b"1" * 63 + b"}}",
    b'{"label":1,"features":{"a":01}}',
    b'{"label":1,"features":{"a":+1}}',
    b'{"label":1,"features":{"a":.5}}',
    b'{"label":1,"features":{"a":1.}}',
    b'{"label":1,"features":{"a":-}}',
    b'{"label":1,"features":{"a":1e}}',
    b'{"label":NaN}',
    b'{"label":1,"features":{"a":Infinity}}',
    b'{"label":1,}',
    b'{"label":1,"a":[1,]}',
    b'{"label":1} x',
    b'{"label":1}{"label":1}',
    b'\xef\xbb\xbf{"label":1}',
    b'{"label":1,"a":"\xff"}',
    b'{"label":1,"a":"\xc0\x80"}',
    b'{"label":1,"a":"\xed\xa0\x80"}',
    b'{"label":1,"a":"\xf4\x90\x80\x80"}',
    '{"label":1,"features":{"ключ":"значение","鍵":"値","🔑":"🙂"}}'.encode(),
    b'{"label":1,"features":{"\\u043a":"\\ud83d\\ude42","\xd0\xba":"\\\\\\"\\/\\b\\f\\n\\r\\t"}}',
    b'{"label":1,"features":{"a":"\\ud800"}}',
    b'{"label":1,"other":"\\udc00"}',
    b'{"label":1,"\\ud800":1}',
    b'{"label":1,"a":"\\ud800\\u0041"}',
    b'{"label":1,"a":"\\ud800\\ud800\\udc00"}',
    b'{"label":1,"a":"\\x"}',
    b'{"label":1,"a":"\\u12"}',
    b'{"label":1,"a":"\x01"}',
    b'{"label":1,"a":"' + b"x" * 31,
    b"[1]",
    b'"text"',
    b"12",
    b"{",
    b"{]",
    b"[}",
    b'{"a"}',
    b'{"a":}',
    b"{1:2}",
    b"nul",
    b'{"label":tru}',
    b"[" * 33,
    b"[" * 32,
    b"[" * 33 + b"]" * 33,
    b'{"label":1,"o":' + b"[" * 31 + b"]" * 31 + b"}",
    b'{"label":1,"o":' + b"[" * 32 + b"]" * 32 + b"}",
    b'{"label":1,"o":' + b'{"a":' * 31 + b"1" + b"}" * 31 + b"}",
    b'{"label":1,"o":{"a":[{"b":"]}"}],"c":"\\"}"}}',
    b'{"label":1,"ts":1.5}',
    b'{"label":1,"ts":"1"}',
    b'{"label":1,"ts":-1700000000001}',
    b'{"label":1,"ts":' + b"9" * 18 + b"}",
    b'{"label":1,"ts":' + b"9" * 19 + b"}",
    b'{"label":1,"id":1.5}',
    b'{"label":1,"id":true}',
    b'{"label":1,"id":12345678901234567890}',
    b'{"label":1,"weight":0}',
    b'{"label":1,"weight":1e-6}',
    b'{"label":1,"weight":1e6}',
    b'{"label":1,"weight":1000000.1}',
    b'{"label":1,"weight":"1"}',
    b'{"label":1,"pad":"' + b"x" * 4096 + b'"}',
    b'{"label":1,"features":{"a":["1","2","3","4","5"],"b":["1","2","3","4","5","6","7","8"]}}',
    json.dumps({"label": 1, "features": {f"f{k}": "v" for k in range(40)}}).encode(),
    json.dumps({"label": 1, "features": {f"f{k}": "v" for k in range(41)}}).encode(),
    json.dumps({"label": 1, **{f"k{k}": k for k in range(300)}}).encode(),
    b'{"outcome":{"click":1},"user":{"geo":"fr","secret":5,"deep":{"er":"x"}},"ad":"a","when":5}',
    b'{"outcome.click":0,"user.geo":"fr","ad":"a"}',
    b'{"outcome":{"click":3},"ad":"a"}',
    b'{"outcome":7,"ad":"a"}',
    b'{"y":1,"user":{"geo":"fr","x":"no"},"ad":5,"deep":{"a":{"b":"c"}},"none":{"of":"it"}}',
    b'{"y":0,"user":"plain","position":1,"served":{"p":0.5}}',
    b'{"outcome":{"click":1},"":"nameless","when":-100}',
    b'{"label":1,"features":{"a":1,"a.b":2.5,"user.geo":"fr","user":"u"}}',
]


@pytest.mark.parametrize("predicting", [False, True])
@pytest.mark.parametrize("spec", SPECS, ids=["plain", "rich", "flat", "chosen", "dotted"])
def test_every_written_example_is_read_as_by_the_oracle(spec: Features, predicting: bool) -> None:
    for record in EXAMPLES:
        check(record, spec, timestamp=1_712_345_678_901, predicting=predicting)


texts = st.text(max_size=20)
numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1, -1, 0.5, 1e300, 1e-300, 10**70, 1e6, 1e-6]),
)
names = st.one_of(
    st.sampled_from(["a", "b", "c", "x", "y", "tags", "secret", "user", "geo", "ad", "deep"]), texts
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts, st.lists(texts, max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
labels = st.one_of(st.sampled_from([0, 1, True, False, 1.0, None, 2]), values)
events = st.fixed_dictionaries(
    {"label": labels},
    optional={
        "features": st.one_of(st.dictionaries(names, values, max_size=8), values),
        "ts": st.one_of(st.integers(-(10**13), 10**13), values),
        "when": st.integers(-(10**13), 10**13),
        "weight": st.one_of(st.floats(1e-6, 1e6), values),
        "id": st.one_of(texts, st.integers(), values),
        "outcome": st.one_of(st.dictionaries(st.just("click"), labels), values),
        "y": labels,
        "user": values,
        "ad": values,
        "deep": values,
    },
)


@given(events, st.sampled_from(SPECS), st.booleans(), st.booleans())
@settings(max_examples=1500, deadline=None)
def test_any_json_event_is_read_as_by_the_oracle(
    value: dict[str, object], spec: Features, ascii_only: bool, predicting: bool
) -> None:
    record = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    check(record, spec, predicting=predicting)


@given(events, st.sampled_from(SPECS), st.data())
@settings(max_examples=1500, deadline=None)
def test_damaged_events_are_judged_as_by_the_oracle(
    value: dict[str, object], spec: Features, data: st.DataObject
) -> None:
    record = bytearray(json.dumps(value).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(record) - 1))
        how = data.draw(st.sampled_from(["cut", "change", "insert", "remove", "repeat"]))
        byte = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(list(b'{}[]",:\\0\n'))))
        if how == "cut":
            del record[at + 1 :]
        elif how == "change":
            record[at] = byte
        elif how == "insert":
            record.insert(at, byte)
        elif how == "remove" and len(record) > 1:
            del record[at]
        else:
            record[at:at] = record[at : at + 10]
    check(bytes(record), spec)


@given(st.binary(max_size=200), st.sampled_from(SPECS))
@settings(max_examples=1000, deadline=None)
def test_random_bytes_are_judged_as_by_the_oracle(record: bytes, spec: Features) -> None:
    check(record, spec)


@given(st.text(alphabet='{}[]",:\\ \n0123456789eE+-.truefalsn', max_size=60))
@settings(max_examples=1500, deadline=None)
def test_random_punctuation_is_judged_as_by_the_oracle(text: str) -> None:
    check(text.encode(), PLAIN)


@given(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.from_regex(
            r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
        ),
    )
)
@settings(max_examples=1500, deadline=None)
def test_numbers_of_every_size_are_rounded_as_by_python(token: str) -> None:
    check(b'{"label":1,"features":{"c":%s}}' % token.encode(), RICH)
    check(b'{"label":1,"features":{"x":%s,"b":%s}}' % (token.encode(), token.encode()), RICH)


def test_numbers_in_the_middle_between_two_doubles_go_to_the_even_one() -> None:
    for x in (1.0, 0.1, 123456.789, 2.0**-1074, 2.0**-1022, 1e22, 1e23):
        from decimal import Decimal, getcontext

        getcontext().prec = 800
        middle = (Decimal(x) + Decimal(math.nextafter(x, math.inf))) / 2
        for token in (f"{middle:.45e}", f"{middle:.50e}"):
            check(b'{"label":1,"features":{"c":%s}}' % token.encode(), RICH)


def test_many_records_are_read_whatever_the_arrays_hold_at_first() -> None:
    lines = [event(features={f"f{k % 7}": f"v{k}", "tags": ["a"] * 30}) for k in range(20_000)]
    events = Parser(Features()).parse(Records.of(lines))
    assert len(events) == len(lines)
    assert len(events.batch.keys) == 32 * len(lines)
    assert events.records.tolist() == list(range(len(lines)))


def test_rejections_span_the_bytes_of_their_line_and_tell_its_place() -> None:
    good, bad = event(), b'{"label":1,"features":{"b":{}}}'
    records = Records.of([good, good + b"\n" + bad + b"\n" + good, b"", bad])
    rejected = Parser(Features()).parse(records).rejected
    spans = zip(rejected.starts, rejected.ends, strict=True)
    assert [records.buffer[a:b].tobytes() for a, b in spans] == [bad, b"", bad]
    assert rejected.records.tolist() == [1, 2, 3]
    assert rejected.lines.tolist() == [1, 0, 0]
    keys = zip(rejected.key_starts, rejected.key_ends, strict=True)
    assert [records.buffer[a:b].tobytes() for a, b in keys if a >= 0] == [b"b", b"b"]


def test_names_only_of_bad_events_are_forgotten() -> None:
    parser = Parser(Features())
    parser.parse(Records.of([b'{"label":1,"features":{"ghost":"x","b":{}}}']))
    assert "ghost" not in parser.names
    parser.parse(Records.of([event(features={"real": "x"})]))
    assert "real" in parser.names


def test_more_names_than_the_table_holds_are_features_all_the_same() -> None:
    spec = Features(max_features=6000)
    wide = {f"name{k}": "v" for k in range(5000)}
    record = event(features=wide)
    parser = Parser(spec)
    events = parser.parse(Records.of([record, record]))
    (row,) = read_record(record, spec)
    assert isinstance(row, Row)
    assert events.batch.keys.tolist() == row.keys * 2
    assert (events.name_ids == -1).sum() > 1000
    repeated = b"{" + b",".join(b'"t%d":1' % k for k in range(5000)) + b',"t4999":1,"label":1}'
    rejected = parser.parse(Records.of([repeated])).rejected
    assert [REASONS[code] for code in rejected.reasons] == ["repeated_key"]


def test_ten_megabytes_are_one_rejection() -> None:
    record = b'{"label":1,"features":{"a":"' + b"x" * 10_000_000 + b'"}}'
    events = Parser(Features()).parse(Records.of([record, event()]))
    assert [REASONS[code] for code in events.rejected.reasons] == ["too_long"]
    assert int(events.rejected.ends[0] - events.rejected.starts[0]) == len(record)
    assert len(events) == 1


def test_ids_are_spans_of_their_raw_bytes() -> None:
    records = Records.of([event(id="a\u00e9"), event(id=12), event()])
    events = Parser(Features()).parse(records)
    spans = zip(events.id_starts, events.id_ends, strict=True)
    ids = [records.buffer[a:b].tobytes() if a >= 0 else None for a, b in spans]
    assert ids == [b"a\\u00e9", b"12", None]


@pytest.mark.parametrize(
    ("settings_of", "message"),
    [
        ({"label": "ts"}, "features.ts must be another name than features.label; got 'ts'"),
        ({"label": ""}, "features.label must be a name; got ''"),
        ({"crosses": [["a"]]}, "features.crosses[0] must be 2 to 8 different columns"),
        ({"crosses": [["a", "a"]]}, "features.crosses[0] must be 2 to 8 different columns"),
        ({"crosses": [["a", "b"]], "exclude": ["b"]}, "'b' is excluded"),
        ({"crosses": [["a", "b"]], "include": ["b"]}, "'a' is not included"),
        ({"crosses": [["a", "hour(ts)"]]}, "'hour(ts)' is not turned on"),
        ({"time_zone": "Mars/Olympus"}, "features.time_zone must be a zone such as Europe/Paris"),
    ],
)
def test_contradicting_specifications_are_refused(
    settings_of: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError) as error:
        Parser(Features(**settings_of))  # type: ignore[arg-type]
    assert message in str(error.value)


def test_an_event_of_more_names_than_any_table_holds_is_too_long() -> None:
    spec = Features(label="y", max_event_bytes=64)
    flood = b"{" + b",".join(b'"k%d":1' % k for k in range(20_000)) + b"}"
    good = b'{"y":1,"ad":"a"}' + b" " * 48
    records = Records.of([b"\n".join([good, flood, good, good + b" "]), flood])
    for predicting in (False, True):
        events = Parser(spec, predicting=predicting).parse(records)
        assert events.lines.tolist() == [0, 2]
        assert [REASONS[code] for code in events.rejected.reasons] == ["too_long"] * 3
        rejected = events.rejected
        sizes = (rejected.ends - rejected.starts).tolist()
        assert sizes == [len(flood), len(good) + 1, len(flood)]
