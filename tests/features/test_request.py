"""Prediction requests: rows as the parser makes them, and errors that name path, got, wanted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.features.parser import Parser
from ctr.features.request import RequestError, parse_events, parse_request
from ctr.settings import Features
from ctr.types import Records

SPEC = Features(crosses=[["user", "ad"]], time_features=["hour"], max_features=20)
PARSER = Parser(SPEC, predicting=True)
FLAT = Parser(Features(features="", crosses=[["user", "ad"]]), predicting=True)


def rows_of(parser: Parser, events: list[dict[str, object]], now: int = 0) -> list[list[int]]:
    batch = parser.parse(Records.of([json.dumps(e).encode() for e in events], timestamp=now)).batch
    return [
        batch.keys[a:b].tolist() for a, b in zip(batch.indptr[:-1], batch.indptr[1:], strict=True)
    ]


def requested(parser: Parser, body: object, now: int = 0) -> list[list[int]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    batch = parse_request(parser, content, now, 100)
    return [
        batch.keys[a:b].tolist() for a, b in zip(batch.indptr[:-1], batch.indptr[1:], strict=True)
    ]


features = st.dictionaries(
    st.sampled_from(["user", "ad", "é", "n"]),
    st.one_of(st.text(max_size=9), st.integers(), st.booleans(), st.none()),
)


@given(st.lists(features, max_size=5), st.sampled_from([None, 2, "\t"]))
def test_events_are_rows_however_the_body_is_indented(
    rows: list[dict[str, object]], indent: int | str | None
) -> None:
    events: list[dict[str, object]] = [{"features": row, "ts": 7_200_000} for row in rows]
    body = json.dumps({"events": events}, indent=indent).encode()
    assert requested(PARSER, body) == rows_of(PARSER, events)


@given(features, st.lists(features, max_size=5))
def test_a_context_is_shared_by_all_candidates(
    context: dict[str, object], candidates: list[dict[str, object]]
) -> None:
    body = {"context": context, "candidates": candidates, "ts": 3_600_000}

    def joined(candidate: dict[str, object]) -> bytes:
        inner = [json.dumps(part)[1:-1] for part in (context, candidate) if part]
        return ('{"features":{' + ",".join(inner) + "}}").encode()

    batch = parse_events(PARSER, [joined(c) for c in candidates], 3_600_000, "x")
    keys = [
        batch.keys[a:b].tolist() for a, b in zip(batch.indptr[:-1], batch.indptr[1:], strict=True)
    ]
    assert requested(PARSER, body) == keys


def test_flat_specifications_take_flat_events_and_candidates() -> None:
    wanted = rows_of(FLAT, [{"user": "u", "ad": "a"}, {"user": "u", "ad": "b"}])
    assert (
        requested(FLAT, {"events": [{"user": "u", "ad": "a"}, {"user": "u", "ad": "b"}]}) == wanted
    )
    body = {"context": {"user": "u"}, "candidates": [{"ad": "a"}, {"ad": "b"}]}
    assert requested(FLAT, body) == wanted


def test_the_time_of_receipt_is_the_time_of_an_event_without_one() -> None:
    without, given_ = {"features": {}}, {"features": {}, "ts": 7_200_000}
    assert requested(PARSER, {"events": [without]}, now=7_200_000) == rows_of(PARSER, [given_])


def test_labels_weights_and_ids_are_not_read() -> None:
    plain = rows_of(PARSER, [{"features": {"ad": "a"}}])
    told = {"features": {"ad": "a"}, "label": "maybe", "weight": -1, "id": [1]}
    assert requested(PARSER, {"events": [told]}) == plain


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 422, "body must be strict JSON (RFC 8259); got ''"),
        (b"\xff", 422, "body must be UTF-8"),
        (b"[]", 422, "body must be a JSON object; got '[]'"),
        (b"{}", 422, "body must be an object with events, or with context and candidates"),
        (b'{"events":[],"events":[]}', 422, "events must be there once"),
        (b'{"events":{}}', 422, "events must be an array of objects; got '{}'"),
        (b'{"events":[{},7]}', 422, "events[1] must be a JSON object; got '7'"),
        (b'{"events":[{"features":7}]}', 422, "events[0].features must be an object of features"),
        (
            b'{"events":[{},{"features":{"a":"x","user" : {"b":1}}}]}',
            422,
            "events[1].features.user must be a string, number, bool, null or array of strings; "
            "got '{\"b\":1}'",
        ),
        (b'{"events":[{"ts":"now"}]}', 422, "events[0].ts must be a whole number"),
        (b'{"events":[{"features":{"a":1e99}}]}', 422, "features.a must be a number that float32"),
        (b'{"events":[{"a":1,"a":2}]}', 422, "events[0] must be an object that has each key once"),
        (b'{"events":[{"x":"\\ud800"}]}', 422, "body must be text without halves"),
        (b'{"context":{},"candidates":[{"a":{}}]}', 422, "candidates[0].a must be a string"),
        (b'{"context":[],"candidates":[]}', 422, "context must be a JSON object; got '[]'"),
        (b'{"context":{},"candidates":{}}', 422, "candidates must be an array of objects"),
        (b'{"context":{},"candidates":[],"ts":1.5}', 422, "ts must be a whole number"),
        (b'{"context":{}}', 422, "body must be an object with events, or with context and"),
        (json.dumps({"events": [{}] * 101}).encode(), 413, "at most serve.max_rows = 100"),
        (
            json.dumps({"events": [{"features": {f"f{k}": 1 for k in range(21)}}]}).encode(),
            422,
            "events[0] must be one of at most features.max_features features",
        ),
    ],
)
def test_what_cannot_be_answered_is_named(body: bytes, status: int, message: str) -> None:
    with pytest.raises(RequestError) as error:
        parse_request(PARSER, body, 0, 100)
    assert error.value.status == status
    assert message in str(error.value)


@given(st.one_of(st.binary(max_size=80), st.text('{}[]",:events12', max_size=60).map(str.encode)))
def test_any_bytes_are_answered_or_refused(body: bytes) -> None:
    content = b'{"events":[' + body + b"]}"
    try:
        rows = len(requested(PARSER, content))
    except RequestError as error:
        rows = -error.status
    assert rows in (-413, -422) or rows == len(json.loads(content)["events"])
