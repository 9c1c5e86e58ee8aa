"""Answered requests as events: nothing is lost, and training reads what serving read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.features.parser import Parser
from ctr.features.request import RequestError
from ctr.learn import FTRLProximal
from ctr.serve.hosted import Hosted
from ctr.serve.logged import Logged, logged
from ctr.serve.watching import Waiting
from ctr.settings import Features
from ctr.types import Events, Records

from .watched import NOW, asked, hosted

NESTED = Features(bits=10, crosses=[["user", "ad"]], time_features=["hour", "dow"])
FLAT = Features(
    bits=10, features="", label="click.label", id="meta.id", ts="meta.ts", time_features=["hour"]
)
RENAMED = Features(
    bits=10, features="in.ner", label="clicked", id="impression", ts="at", weight="w"
)
HOSTED = {
    name: hosted(spec=spec)
    for name, spec in [("nested", NESTED), ("flat", FLAT), ("renamed", RENAMED)]
}


def of(one: Hosted, body: bytes | list[bytes]) -> list[Logged]:
    ids = iter(f"new{k}" for k in range(100))
    return list(logged(Waiting.of(asked(one, body)), "clicks", lambda: next(ids)))


def served_rows(one: Hosted, body: bytes | list[bytes]) -> list[tuple[list[int], list[float]]]:
    """Keys and values of each row, as the answer was computed from."""
    from ctr.features.request import parse_events, parse_request

    parser = Parser(one.current().manifest.spec, predicting=True)
    if isinstance(body, bytes):
        return rows(parse_request(parser, body, NOW, 1000))
    return rows(parse_events(parser, body, NOW, "events"))


def rows(batch: Any) -> list[tuple[list[int], list[float]]]:
    ends = list(zip(batch.indptr[:-1], batch.indptr[1:], strict=True))
    return [(batch.keys[a:b].tolist(), batch.values[a:b].tolist()) for a, b in ends]


def trained(spec: Features, found: list[Logged], label: int = 1) -> Events:
    """The events with a label, as training reads them."""
    labelled = b'{"%b":%d,' % (spec.label.encode(), label)
    events = Parser(spec).parse(Records.of([labelled + event[1:] for _, event in found]))
    assert not len(events.rejected)
    return events


def decoded(found: list[Logged]) -> list[dict[str, Any]]:
    return [json.loads(event) for _, event in found]


# ---- one by one


def test_an_event_keeps_its_bytes() -> None:
    features = '{ "b" : 1.50,"a":"\\u0061\\n","tags":["x", "y"],"c":1e2}'
    body = '{"events":[{"id":"9f2c","ts":1699999999999,"label":1,"features":%s,"x":[1 , 2]}]}'
    one = HOSTED["nested"]
    [(key, event)] = of(one, (body % features).encode())
    p = asked(one, (body % features).encode()).probabilities.tolist()[0]
    assert key == b"9f2c"
    assert event.decode() == (
        f'{{"id":"9f2c","ts":1699999999999,"features":{features},"x":[1 , 2],'
        f'"served":{{"p":{p!r},"version":84,"model":"clicks"}}}}'
    )


def test_candidates_are_events_of_their_own() -> None:
    body = b"""{"context": {"user":"u1", "hour" : 3}, "id": 77, "ts": 1699999999999,
                "candidates": [{"ad":"a1"}, {}, { "ad" : "a2" }]}"""
    found = of(HOSTED["nested"], body)
    assert [key for key, _ in found] == [b"77/0", b"77/1", b"77/2"]
    events = decoded(found)
    assert [event["id"] for event in events] == ["77/0", "77/1", "77/2"]
    assert [event["features"] for event in events] == [
        {"user": "u1", "hour": 3, "ad": "a1"},
        {"user": "u1", "hour": 3},
        {"user": "u1", "hour": 3, "ad": "a2"},
    ]
    assert {event["ts"] for event in events} == {1699999999999}
    assert b'"user":"u1", "hour" : 3' in found[0].event
    served = asked(HOSTED["nested"], body).probabilities.tolist()
    assert [event["served"]["p"] for event in events] == served


def test_candidates_of_flat_and_of_nested_layouts() -> None:
    body = b'{"context":{"user":{"geo":"x"}},"candidates":[{"ad":"a1"}]}'
    [flat] = decoded(of(HOSTED["flat"], body))
    expected = {"meta.id": "new0/0", "meta.ts": NOW, "user": {"geo": "x"}, "ad": "a1"}
    assert {key: flat[key] for key in expected} == expected
    body = b'{"context":{"user":"u"},"candidates":[{"ad":"a1"}]}'
    [renamed] = decoded(of(HOSTED["renamed"], body))
    expected = {"impression": "new0/0", "at": NOW, "in": {"ner": {"user": "u", "ad": "a1"}}}
    assert {key: renamed[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ('"9f2c"', "9f2c"),
        ('"\\u00e9\\/\\ud83d\\ude00"', "é/😀"),
        ("7", "7"),
        ("-0", "-0"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        *((none, "r5/1") for none in ("null", '""', "1.5", "true", "[1]", '{"a":1}', "1e3")),
    ],
)
@pytest.mark.parametrize("layout", ["nested", "flat", "renamed"])
def test_ids(layout: str, text: str, id: str) -> None:
    name = {"nested": '"id":', "flat": '"meta":{"id":', "renamed": '"impression":'}[layout]
    end = "}" if layout == "flat" else ""
    body = f'{{"id":"r5","events":[{{}},{{{name}{text}{end}}}]}}'.encode()
    found = of(HOSTED[layout], body)
    assert found[1].id == id.encode()
    events = trained(HOSTED[layout].current().manifest.spec, found)
    buffer = events.source.buffer[events.id_starts[1] : events.id_ends[1]].tobytes()
    assert json.loads(buffer if buffer.lstrip(b"-").isdigit() else b'"%b"' % buffer) in (
        id,
        int(id) if id.lstrip("-").isdigit() else None,
    )


def test_ids_of_requests_without_any_are_new_and_alike() -> None:
    one = HOSTED["nested"]
    body = b'{"events":[{},{"id":"x"},{}]}'
    assert [key for key, _ in of(one, body)] == [b"new0/0", b"x", b"new0/2"]
    found = [[key for key, _ in logged(Waiting.of(asked(one, body)), "clicks")] for _ in range(2)]
    assert found[0][0] != found[1][0]
    assert found[0][0].removesuffix(b"/0") == found[0][2].removesuffix(b"/2")
    assert len(found[0][0]) == 34


def test_what_training_would_refuse_and_serving_does_not_read_is_left_out() -> None:
    one = HOSTED["nested"]
    events = [
        '"label":"?"',
        '"label":null',
        '"weight":-1',
        '"weight":"5"',
        '"weight":null',
        '"weight":2.5',
        '"id":{},"label":3',
        '"served":{"p":2}',
    ]
    body = ('{"events":[' + ",".join(f"{{{event}}}" for event in events) + "]}").encode()
    found = of(one, body)
    assert all("label" not in event for event in decoded(found))
    assert trained(NESTED, found).batch.weights.tolist() == [1, 1, 1, 1, 1, 2.5, 1, 1]
    assert decoded(found)[7]["served"] == decoded(found)[0]["served"]


def test_a_nested_label_is_taken_out_of_its_object() -> None:
    event = b'{"click":{"label":1,"at": 5},"meta":{"id":"m","x" : ["a"]},"user":"u"}'
    [(key, logged_event)] = of(HOSTED["flat"], [event])
    assert key == b"m"
    assert json.loads(logged_event)["click"] == {"at": 5}
    assert b'"meta":{"id":"m","x" : ["a"]}' in logged_event


def test_what_is_not_read_may_be_anything() -> None:
    number = "123456789012345678901234567890.5e-999"
    event = f'{{"a":1e999,"b":{number},"c":[{{"d":[null]}}],"id":"x","features":{{"u":"v"}}}}'
    for body in ([event.encode()], b'{"z":-1E+999,"events":[' + event.encode() + b"]}\n"):
        [(key, found)] = of(HOSTED["nested"], body)
        assert key == b"x"
        assert found.startswith(b'{"ts":%d,"a":1e999,"b":%s,' % (NOW, number.encode()))


# ---- whatever is asked

NAMES = st.sampled_from(["user", "ad", "site", "é", 'q"', "a.b", "line\nbreak"])
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6),
    st.booleans(),
    st.none(),
    st.lists(st.text('ab\n"\\é', max_size=3), max_size=3),
)
FEATURES = st.dictionaries(NAMES, VALUES, max_size=6)
ABOUT = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.text('ab"\n/é', max_size=4), st.integers(), st.none(), st.floats(0, 1)),
        "ts": st.one_of(st.integers(-(10**15), 10**15), st.none()),
        "label": VALUES,
        "weight": VALUES,
        "position": VALUES,
    },
)
SPELLINGS = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 0, 2]), "ensure_ascii": st.booleans()}
)


def in_layout(layout: str, about: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    if layout == "nested":
        return {**about, "features": features}
    if layout == "flat":
        meta = {key: about[key] for key in ("id", "ts") if key in about}
        label = {"click": {"label": about["label"]}} if "label" in about else {}
        return {**features, "meta": meta, **label}
    names = {"id": "impression", "ts": "at", "label": "clicked", "weight": "w"}
    event = {names.get(key, key): value for key, value in about.items()}
    return {**event, "in": {"ner": features}}


@pytest.mark.parametrize("layout", ["nested", "flat", "renamed"])
@given(
    events=st.lists(st.tuples(ABOUT, FEATURES), min_size=1, max_size=4),
    kind=st.sampled_from(["v1", "v2", "candidates"]),
    ts=st.one_of(st.none(), st.integers(0, 10**15)),
    spelling=SPELLINGS,
)
def test_training_reads_what_serving_read(
    layout: str, events: list[Any], kind: str, ts: int | None, spelling: dict[str, Any]
) -> None:
    one = HOSTED[layout]
    spec = one.current().manifest.spec
    beside = {} if ts is None else {"ts": ts}
    if kind == "candidates":
        context, *candidates = [features for _, features in events]
        asking: Any = {"context": context, "candidates": candidates, "id": events[0][0].get("id")}
        body: Any = json.dumps(asking | beside, **spelling).encode()
    else:
        made = [in_layout(layout, *event) for event in events]
        if kind == "v1":
            body = json.dumps({"events": made} | beside, **spelling).encode()
        else:
            body = [json.dumps(event, **spelling).encode() for event in made]
    try:
        read = served_rows(one, body)
    except RequestError:  # a flat candidate repeats a name of its context: nothing to log
        assert (layout, kind) == ("flat", "candidates")
        return
    found = of(one, body)
    assert len(found) == len(read)
    if not found:
        return
    assert all(b"\n" not in event for _, event in found)
    again = trained(spec, found)
    assert rows(again.batch) == read
    p = asked(one, body).probabilities.tolist()
    expected = [{"p": each, "version": 84, "model": "clicks"} for each in p]
    assert [event["served"] for event in decoded(found)] == expected
    if kind == "candidates":
        assert set(again.ts.tolist()) == {NOW if ts is None else ts}
    else:
        times = [about.get("ts") for about, _ in events]
        assert again.ts.tolist() == [NOW if ts is None else ts for ts in times]


def test_a_log_with_labels_teaches_what_the_stream_would_have() -> None:
    draw = np.random.default_rng(5)
    made = [
        {
            "id": f"i{k}",
            "ts": NOW + k,
            "features": {"user": f"u{draw.integers(50)}", "ad": f"a{k % 7}"},
        }
        for k in range(500)
    ]
    found = of(HOSTED["nested"], json.dumps({"events": made}).encode())
    lines = [json.dumps({**event, "label": 1}).encode() for event in made]
    batches = Parser(NESTED).parse(Records.of(lines)).batch, trained(NESTED, found).batch
    learners = [FTRLProximal(bits=10, alpha=0.1) for _ in batches]
    ours, theirs = (one.learn(batch) for one, batch in zip(learners, batches, strict=True))
    assert ours.tolist() == theirs.tolist()
    assert learners[0].weights()[1].tolist() == learners[1].weights()[1].tolist()
