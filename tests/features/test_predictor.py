"""The short way of a request and the long one: the same bits, and the same words of refusal."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.features import predictor as module
from ctr.features.parser import Parser
from ctr.features.predictor import Predictor
from ctr.features.request import RequestError, parse_events, read_request
from ctr.model.sparse import SparseModel
from ctr.settings import Features
from ctr.types import Float32
from tests.features.test_parser import CHOSEN, DOTTED, FLAT, PLAIN, RICH
from tests.features.test_runs import members, names, values

BITS = 10
MOST_ROWS = 6
DEEP = Features(features="data.features", crosses=[["a", "b"]], max_features=40)
FEW = Features(crosses=[["a", "b"], ["a", "x"]], max_features=5, time_features=["hour"])
SMALL = Features(max_event_bytes=80, max_features=300)
SPECS = [PLAIN, RICH, FLAT, CHOSEN, DOTTED, DEEP, FEW, SMALL]
NOW = 1_700_000_000_000

Outcome = tuple[Any, ...]


def random_model() -> SparseModel:
    weights = np.random.default_rng(5).normal(0, 1, ((1 << BITS) // 64, 64)).astype(np.float32)
    model = SparseModel(BITS)
    model.apply(np.arange(len(weights)), weights)
    return model


class Both:
    """The two ways, each with a parser of its own."""

    def __init__(self, spec: Features) -> None:
        self.model = random_model()
        self.parser = Parser(spec, predicting=True)
        self.predictor = Predictor(Parser(spec, predicting=True), MOST_ROWS)
        self.predictor.bind(BITS, self.model.arrays)

    def short(self, body: bytes) -> Outcome:
        try:
            found = self.predictor.predict(body, NOW).tolist()
        except RequestError as error:
            return error.status, error.path, error.got, error.wanted
        return found, self.predictor.options

    def long(self, body: bytes) -> Outcome:
        try:
            events, options = read_request(self.parser, body, NOW, MOST_ROWS)
        except RequestError as error:
            return error.status, error.path, error.got, error.wanted
        return self.model.predict(events.batch).tolist(), options


BOTH = [Both(spec) for spec in SPECS]
both = st.sampled_from(BOTH)
blanks = st.sampled_from(["", "", "", "", " ", "\t", "\n", " \r\n "])
few = st.lists(st.tuples(names, values), max_size=4)


@st.composite
def objects(draw: st.DrawFn, features: st.SearchStrategy[Any] = members) -> str:
    """An object of members, written with blanks here and there."""
    blank = draw(blanks)
    inner = f",{blank}".join(
        f"{json.dumps(name, ensure_ascii=False)}{blank}:{blank}{value}"
        for name, value in draw(features)
    )
    return "{" + blank + inner + blank + "}"


@st.composite
def events(draw: st.DrawFn) -> str:
    features, ts = draw(objects()), draw(st.sampled_from(["", "", "7200000", "-1", "1.5", '"x"']))
    shape = draw(st.sampled_from(["features", "features", "bare", "data"]))
    if shape == "bare":
        return features
    inner = f'"features":{features}'
    if shape == "data":
        inner = '"data":{' + inner + "}"
    return "{" + inner + (f',"ts":{ts}' if ts else "") + "}"


OTHERS = ['"top_k":1', '"top_k":3', '"top_k":0', '"top_k":"1"', '"top_k":1.0', '"top_k":null']
OTHERS += ['"explain":true', '"explain":false', '"explain":null', '"explain":1']
OTHERS += ['"ts":3600000', '"ts":-5', '"ts":"x"', '"ts":1e3', '"ts":01', '"ts":1', '"else":[{}]']
OTHERS += ['"events":[]', '"context":{}', '"candidates":[]', '"\\u0065vents":[]', "", '"ts"', "7"]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request in one of its two forms, its members in any order, others among them."""
    blank = draw(blanks)
    if draw(st.booleans()):
        rows = f"{blank},".join(draw(st.lists(events(), max_size=4)))
        parts = [f'"events"{blank}:[{blank}{rows}{blank}]']
    else:
        rows = f",{blank}".join(draw(st.lists(objects(few), max_size=4)))
        parts = [f'"context":{draw(objects())}', f'"candidates":{blank}[{rows}]']
        if draw(st.integers(0, 5)) == 0:
            parts.reverse()
    for other in draw(st.lists(st.sampled_from(OTHERS), max_size=2)):
        parts.insert(draw(st.integers(0, len(parts))), other)
    return (blank + "{" + f"{blank},".join(parts) + blank + "}" + blank).encode()


@settings(max_examples=600, deadline=None)
@given(both, st.lists(requests(), min_size=1, max_size=4))
def test_both_ways_say_the_same(ways: Both, bodies: list[bytes]) -> None:
    for body in bodies:
        assert ways.short(body) == ways.long(body)


@settings(max_examples=400, deadline=None)
@given(
    both,
    requests(),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(b'{}[]",:\\\x00\n 0tz\xff')), max_size=2),
    st.floats(0, 1),
)
def test_both_ways_say_the_same_of_damaged_requests(
    ways: Both, body: bytes, damage: list[tuple[float, int]], cut: float
) -> None:
    spoiled = bytearray(body)
    for place, value in damage:
        spoiled[int(place * (len(spoiled) - 1))] = value
    for content in (bytes(spoiled), body[: int(cut * len(body))]):
        assert ways.short(content) == ways.long(content)


@settings(deadline=None)
@given(both, st.binary(max_size=60))
def test_both_ways_say_the_same_of_any_bytes(ways: Both, body: bytes) -> None:
    assert ways.short(body) == ways.long(body)


EVENT = {"features": {"a": "x", "b": 3, "tags": ["t", "ü"], "x": 0.5}, "ts": 7_200_000}
USUAL = [
    {"events": [EVENT]},
    {"events": [EVENT, {}, EVENT], "top_k": 2},
    {"context": {"a": "x", "x": 2.5}, "candidates": [{"b": "1"}, {"b": "2", "tags": []}, {}]},
    {"ts": 5, "context": {"a": "x"}, "candidates": [{"b": "1"}], "explain": False},
    {"context": {"a": "x"}, "candidates": [{"b": "1"}], "ts": 86_400_000 * 3, "top_k": 1},
    {"events": []},
    {"context": {}, "candidates": []},
]


@pytest.mark.parametrize("body", USUAL, ids=range(len(USUAL)))
@pytest.mark.parametrize("indent", [None, 2])
def test_usual_requests_take_the_short_way(
    body: dict[str, Any], indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = BOTH[SPECS.index(RICH)]
    content = json.dumps(body, indent=indent, ensure_ascii=False).encode()
    wanted = ways.long(content)

    def never(*_: Any) -> Any:
        raise AssertionError("the long way")

    monkeypatch.setattr(module, "read_request", never)
    assert ways.short(content) == wanted


@settings(deadline=None)
@given(
    st.sampled_from([PLAIN, RICH, DOTTED, FEW]),
    st.dictionaries(names, st.sampled_from(["x", 1, 2.5, -3, 0, 0.0, True, None, ["a", "b"]])),
    st.lists(st.dictionaries(names, st.sampled_from(["y", 7, 0.25, ["b"]])), max_size=MOST_ROWS),
)
def test_a_candidate_is_an_event_with_the_contexts_features(
    spec: Features, context: dict[str, Any], candidates: list[dict[str, Any]]
) -> None:
    ways = BOTH[SPECS.index(spec)]

    def joined(candidate: dict[str, Any]) -> bytes:
        inner = [json.dumps(part)[1:-1] for part in (context, candidate) if part]
        return ('{"features":{' + ",".join(inner) + "}}").encode()

    try:
        batch = parse_events(ways.parser, [joined(c) for c in candidates], NOW, "events")
        wanted: Float32 | None = ways.model.predict(batch)
    except RequestError:
        wanted = None
    body = json.dumps({"context": context, "candidates": candidates}).encode()
    found = ways.short(body)
    assert found == ((wanted.tolist(), None) if wanted is not None else ways.long(body))


def test_a_request_larger_than_any_before_it_is_read_all_the_same() -> None:
    ways = Both(Features(max_features=3000))
    many = {f"f{k}": "v" * 30 for k in range(2500)}
    events = [{"features": many}] * MOST_ROWS * 2
    for rows in (1, MOST_ROWS, 2):
        for body in ({"events": events[:rows]}, {"context": many, "candidates": [{}] * rows}):
            content = json.dumps(body).encode()
            assert ways.short(content) == ways.long(content)


def test_many_rows_of_many_crosses_need_larger_arrays_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = Features(crosses=[["a", "b"]], max_features=1000)
    ways = Both(spec)
    ways.predictor = Predictor(Parser(spec, predicting=True), 300)
    ways.predictor.bind(BITS, ways.model.arrays)
    thirty = [f"v{k}" for k in range(30)]
    content = json.dumps({"context": {"a": thirty}, "candidates": [{"b": thirty}] * 200}).encode()
    found, _ = ways.short(content)
    monkeypatch.setattr(module, "read_request", None)
    assert ways.short(content)[0] == found
    assert len(found) == 200
    assert len(set(found)) == 1


def test_names_that_only_a_refused_request_has_are_forgotten() -> None:
    ways = Both(PLAIN)
    known = list(ways.predictor.parser.names)
    for body in (b'{"events":[{"features":{"new":1}}', b'{"events":[{"features":{"new":{}}}]}'):
        ways.short(body)
        assert ways.predictor.parser.names == known
    ways.short(b'{"events":[{"features":{"new":1}}]}')
    assert ways.predictor.parser.names == [*known, "new"]


def test_weights_of_another_kind_are_refused() -> None:
    ways = Both(PLAIN)
    with pytest.raises(TypeError, match="an array of int64"):
        ways.predictor.bind(BITS, tuple(np.zeros(4, np.int64) for _ in ways.model.arrays))
