"""A hosted model's answers without HTTP: 100,000 events, the best k, explanations, watchers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ctr.features.parser import Parser
from ctr.features.request import RequestError
from ctr.model.sparse import SparseModel
from ctr.observe.server import ServerMetrics
from ctr.serve.hosted import Hosted
from ctr.serve.watching import Asked
from ctr.settings import Features
from ctr.simulate import Simulator, SimulatorSettings
from ctr.types import Float32, Records

from .running import SPEC, random_model, whole

NOW = 1_700_000_000_000
MOST_ROWS = 1000
COUNT = 100_000


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def seen(self, asked: Asked) -> None:
        self.asked.append(asked)

    def start(self) -> None: ...

    def stop(self) -> None: ...


def serving(spec: Features, model: SparseModel, *watchers: Seen, version: int = 7) -> Hosted:
    metrics = ServerMetrics(CollectorRegistry()).model("clicks")
    hosted = Hosted("clicks", MOST_ROWS, metrics, watchers)
    hosted.prepare(whole(version, model, spec))()
    return hosted


def ask(hosted: Hosted, body: bytes | dict[str, Any]) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = hosted.answer({}, content, NOW)
    said: dict[str, Any] = json.loads(answer.body)
    assert said["model"]["version"] == hosted.current().version
    return said


def probabilities(hosted: Hosted, body: bytes | dict[str, Any]) -> list[float]:
    found: list[float] = ask(hosted, body)["probabilities"]
    return found


# ---- all bits


SIMULATED = Features(bits=18, crosses=Simulator.true_crosses, time_features=["hour", "dow"])


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return Simulator(SimulatorSettings(seed=11)).batch(COUNT).lines


@pytest.fixture(scope="module")
def hosted() -> Hosted:
    return serving(SIMULATED, random_model(SIMULATED))


def batch_path(hosted: Hosted, events: list[bytes]) -> Float32:
    """What the model says of events that the training parser has read."""
    parsed = Parser(SIMULATED).parse(Records.of(events, timestamp=NOW))
    assert len(parsed) == len(events)
    return hosted.current().model.predict(parsed.batch)


def test_served_are_the_probabilities_of_the_batch_path(hosted: Hosted, lines: list[bytes]) -> None:
    found: list[float] = []
    draw = np.random.default_rng(3)
    while len(found) < len(lines):
        some = lines[len(found) : len(found) + int(draw.integers(1, MOST_ROWS + 1))]
        found += probabilities(hosted, b'{"events":[' + b",".join(some) + b"]}")
    assert found == batch_path(hosted, lines).astype(float).tolist()


def test_one_event_a_request_is_the_same(hosted: Hosted, lines: list[bytes]) -> None:
    found = [probabilities(hosted, b'{"events":[' + line + b"]}")[0] for line in lines[:2000]]
    assert found == batch_path(hosted, lines[:2000]).astype(float).tolist()


def test_candidates_are_the_events_that_they_stand_for(hosted: Hosted, lines: list[bytes]) -> None:
    own = ["ad", "advertiser", "position", "size"]
    assert set(own) & set(json.loads(lines[0])["features"])
    joined, found = [], []
    for first in range(0, COUNT, MOST_ROWS):
        rows = [json.loads(line)["features"] for line in lines[first : first + MOST_ROWS]]
        context = {name: x for name, x in rows[0].items() if name not in own}
        candidates = [{name: row[name] for name in own if name in row} for row in rows]
        body = {"context": context, "candidates": candidates, "ts": 1000 * first}
        found += probabilities(hosted, body)
        joined += [
            {"label": 0, "ts": 1000 * first, "features": {**context, **c}} for c in candidates
        ]
    events = [json.dumps(event).encode() for event in joined]
    assert found == batch_path(hosted, events).astype(float).tolist()


# ---- the best k

MODEL = random_model()
EVENTS = [{"features": {"user": f"u{k % 40}", "ad": "a"}} for k in range(60)]


@given(st.integers(1, 70))
@settings(deadline=None, max_examples=20)
def test_the_best_k_are_told_with_their_places(k: int) -> None:
    hosted = serving(SPEC, MODEL)
    every = probabilities(hosted, {"events": EVENTS})
    said = ask(hosted, {"events": EVENTS, "top_k": k})
    order = sorted(range(len(every)), key=lambda i: (-every[i], i))[:k]
    assert said["top"] == [{"index": i, "probability": every[i]} for i in order]
    assert "probabilities" not in said


def test_the_best_k_of_candidates() -> None:
    hosted = serving(SPEC, MODEL)
    body = {"context": {"user": "u1"}, "candidates": [{"ad": f"a{k}"} for k in range(9)]}
    every = probabilities(hosted, body)
    said = ask(hosted, {"top_k": 1, **body})
    assert said["top"] == [{"index": int(np.argmax(every)), "probability": max(every)}]
    assert ask(hosted, {"events": [], "top_k": 3})["top"] == []


@pytest.mark.parametrize(
    ("member", "path", "wanted"),
    [
        *((f'"top_k":{x}', "top_k", "a whole number of at least 1") for x in ("0", "-1", "1.0")),
        *((f'"top_k":{x}', "top_k", "a whole number of at least 1") for x in ('"2"', "true")),
        *((f'"explain":{x}', "explain", "true or false") for x in ("1", "null", '"true"')),
        ('"top_k":1,"top_k":1', "top_k", "there once"),
    ],
)
def test_what_else_is_asked_for_must_be_of_its_kind(member: str, path: str, wanted: str) -> None:
    hosted = serving(SPEC, MODEL)
    for body in ('{"events":[],' + member + "}", "{" + member + ',"events":[{}]}'):
        with pytest.raises(RequestError) as error:
            hosted.answer({}, body.encode(), NOW)
        assert (error.value.status, error.value.path) == (422, path)
        assert wanted in error.value.wanted


# ---- explanations

RICH = Features(
    bits=10,
    crosses=[["user", "ad"], ["ad", "hour(ts)"]],
    time_features=["hour"],
    columns={"price": "linear"},
    exclude=["secret"],
)


def explained(hosted: Hosted, body: dict[str, Any]) -> list[dict[str, Any]]:
    said = ask(hosted, {**body, "explain": True})
    for p, told in zip(said["probabilities"], said["explanations"], strict=True):
        assert told["logit"] == pytest.approx(told["bias"] + sum(told["features"].values()))
        assert p == pytest.approx(1 / (1 + np.exp(-told["logit"])), rel=1e-5)
    assert said["probabilities"] == probabilities(hosted, body)
    return list(said["explanations"])


def test_every_named_feature_tells_what_it_adds() -> None:
    model = random_model(RICH, density=1)
    hosted = serving(RICH, model)
    features = {"user": "u", "ad": "a", "é": 7, "price": 2.0, "secret": "s", "tags": ["x", "y"]}
    (told,) = explained(hosted, {"events": [{"features": features}]})
    assert list(told["features"]) == [
        *("user", "ad", "é", "price", "tags", "hour(ts)", "user*ad", "ad*hour(ts)")
    ]
    # without a feature the logit is less by what it adds, and by its crosses
    (without,) = explained(
        hosted, {"events": [{"features": {k: v for k, v in features.items() if k != "user"}}]}
    )
    added = told["features"]["user"] + told["features"]["user*ad"]
    assert told["logit"] - without["logit"] == pytest.approx(added)
    double = {**features, "price": 4.0}
    (twice,) = explained(hosted, {"events": [{"features": double}]})
    assert twice["features"]["price"] == pytest.approx(2 * told["features"]["price"])


def test_candidates_are_explained_with_their_context() -> None:
    hosted = serving(RICH, random_model(RICH, density=1))
    rows = [{"ad": "a1"}, {"ad": "a2", "price": 1.5}]
    body = {"context": {"user": "u"}, "candidates": rows}
    events = {"events": [{"features": {"user": "u", **row}} for row in rows]}
    assert explained(hosted, body) == explained(hosted, events)
    best = ask(hosted, {**body, "explain": True, "top_k": 1})["top"]
    assert [list(one) for one in best] == [["index", "probability", "explanation"]]
    assert best[0]["explanation"] == explained(hosted, body)[best[0]["index"]]


def test_nested_names_of_flat_events_are_paths() -> None:
    spec = Features(bits=10, features="", label="y")
    hosted = serving(spec, random_model(spec, density=1))
    (told,) = explained(hosted, {"events": [{"user": {"geo": "fr", "age": 3}, "ad": "a"}]})
    assert list(told["features"]) == ["user.geo", "user.age", "ad"]


def test_names_are_told_also_when_the_parser_has_no_room_for_them() -> None:
    hosted = serving(SPEC, random_model(density=1))
    for first in range(0, 8000, 1000):
        names = {f"n{k}": "x" for k in range(first, first + 1000)}
        probabilities(hosted, {"events": [{"features": names}]})
    (told,) = explained(hosted, {"events": [{"features": {"late": "x"}}]})
    assert list(told["features"]) == ["late"]


def test_of_more_names_than_there_is_room_for_the_last_are_told_together() -> None:
    hosted = serving(SPEC, random_model(density=1))
    events = [
        {"features": {f"n{k}": "x" for k in range(n, n + 1000)}} for n in range(0, 6000, 1000)
    ]
    told = ask(hosted, {"events": events, "explain": True})["explanations"][-1]
    named = told["bias"] + sum(told["features"].values())
    assert told["logit"] == pytest.approx(named + told["unnamed"])


# ---- watchers and versions


def test_watchers_are_told_what_was_answered() -> None:
    watcher, second = Seen(), Seen()
    hosted = serving(SPEC, MODEL, watcher, second)
    bodies = [json.dumps({"events": EVENTS[:n]}).encode() for n in (1, 3, 2)]
    found = [probabilities(hosted, body) for body in bodies]
    with pytest.raises(RequestError):
        hosted.answer({}, b"{", NOW)
    assert [asked.body for asked in watcher.asked] == bodies
    # theirs to keep: the answer after it has not changed it
    assert [asked.probabilities.astype(float).tolist() for asked in watcher.asked] == found
    assert all(a.now_ms == NOW and a.served is hosted.served for a in watcher.asked)
    assert [id(asked) for asked in second.asked] == [id(asked) for asked in watcher.asked]


def test_a_version_is_switched_to_between_two_requests() -> None:
    other = random_model(seed=1)
    hosted = serving(SPEC, MODEL)
    body = {"events": EVENTS}
    first = probabilities(hosted, body)
    switch = hosted.prepare(whole(8, other))
    assert probabilities(hosted, body) == first
    switch()
    second = probabilities(hosted, body)
    assert second == probabilities(serving(SPEC, other), body) != first
    assert hosted.current().predictor.parser is hosted.current().parser


def test_a_version_with_other_features_has_a_parser_of_its_own() -> None:
    hosted = serving(SPEC, MODEL)
    hosted.prepare(whole(8, MODEL, Features(bits=SPEC.bits)))()
    bare = serving(Features(bits=SPEC.bits), MODEL)
    assert probabilities(hosted, {"events": EVENTS}) == probabilities(bare, {"events": EVENTS})


def test_a_parser_full_of_names_is_served_no_longer_than_its_version() -> None:
    hosted = serving(SPEC, MODEL)
    parser, first = hosted.current().parser, probabilities(hosted, {"events": EVENTS})
    hosted.prepare(whole(8, MODEL))()
    assert hosted.current().parser is parser
    for start in range(0, 5000, 1000):
        names = {f"n{k}": "x" for k in range(start, start + 1000)}
        ask(hosted, {"events": [{"features": names}]})
    hosted.prepare(whole(9, MODEL))()
    assert hosted.current().parser is not parser
    assert probabilities(hosted, {"events": EVENTS}) == first


def test_weights_in_larger_memory_are_seen() -> None:
    model = SparseModel(SPEC.bits)
    hosted = serving(SPEC, model)
    for factor in (1, 2, 3):
        pages = np.arange((1 << SPEC.bits) // 64)
        weights = np.full((len(pages), 64), np.float32(0.001 * factor))
        model.apply(pages, weights)
        hosted.prepare(whole(7, model))()
        logit = 2 * 0.001 * factor
        (p,) = probabilities(hosted, {"events": [{"features": {"user": "u"}}]})
        assert p == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)
