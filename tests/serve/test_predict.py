"""Predictions over HTTP: the same numbers as the model's own, and errors that say what is wrong."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctr.features.parser import Parser
from ctr.types import Float32, Records

from .conftest import LIMITS
from .running import SPEC, Feed, Running, random_model, running, whole

MODEL = random_model()
NAMES = st.sampled_from(["user", "ad", "site", "price", "naïve", ""]) | st.text(
    st.characters(codec="utf-8"), max_size=8
)
VALUES = (
    st.text(st.characters(codec="utf-8"), max_size=12)
    | st.integers(-(10**12), 10**12)
    | st.floats(-1e5, 1e5, allow_nan=False)
    | st.booleans()
    | st.none()
    | st.lists(st.text(max_size=4).filter(str.isascii), max_size=3)
)
FEATURES = st.dictionaries(NAMES, VALUES, max_size=12)
KEPT = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def expected(events: list[dict[str, Any]]) -> Float32:
    """What the model says of the events as the training parser reads them."""
    lines = [json.dumps(event, ensure_ascii=False).encode() for event in events]
    parsed = Parser(SPEC, predicting=True).parse(Records.of(lines))
    assert len(parsed) == len(events)
    return MODEL.predict(parsed.batch)


def probabilities(answer: httpx.Response) -> Float32:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said["model"] == {"name": "clicks", "version": 7, "event_time": 1_700_000_000_007}
    found = np.array(said["probabilities"], np.float32)
    assert found.astype(float).tolist() == said["probabilities"]  # float32, to the last digit
    return found


def error(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert list(said) == ["error"]
    assert sorted(said["error"]) == ["got", "path", "wanted"]
    return dict(said["error"])


@KEPT
@given(st.lists(st.fixed_dictionaries({"features": FEATURES}), min_size=1, max_size=20))
def test_events_get_the_models_own_predictions(
    server: Running, events: list[dict[str, Any]]
) -> None:
    found = probabilities(server.predict({"events": events}))
    np.testing.assert_array_equal(found, expected(events))


@KEPT
@given(FEATURES, st.lists(FEATURES, min_size=1, max_size=20))
def test_candidates_are_events_with_the_contexts_features(
    server: Running, context: dict[str, Any], candidates: list[dict[str, Any]]
) -> None:
    own = [{k: v for k, v in features.items() if k not in context} for features in candidates]
    found = probabilities(server.predict({"context": context, "candidates": own}))
    merged = [{"features": {**context, **features}} for features in own]
    np.testing.assert_allclose(found, expected(merged), rtol=1e-6)


def test_crosses_reach_from_context_to_candidate(server: Running) -> None:
    body = {"context": {"user": "u1"}, "candidates": [{"ad": "a1"}, {"ad": "a2"}]}
    merged = [{"features": {"user": "u1", "ad": ad}} for ad in ("a1", "a2")]
    crossless = Parser(SPEC.__class__(bits=SPEC.bits), predicting=True)
    lines = [json.dumps(event).encode() for event in merged]
    without = MODEL.predict(crossless.parse(Records.of(lines)).batch)
    found = probabilities(server.predict(body))
    np.testing.assert_allclose(found, expected(merged), rtol=1e-6)
    assert (found != without).all()


def test_the_best_candidates_are_told_and_explained(server: Running) -> None:
    body = {"context": {"user": "u1"}, "candidates": [{"ad": f"a{k}"} for k in range(20)]}
    every = probabilities(server.predict(body)).astype(float).tolist()
    answer = server.predict({**body, "top_k": 3, "explain": True})
    assert answer.status_code == 200
    top = answer.json()["top"]
    assert [one["probability"] for one in top] == sorted(every, reverse=True)[:3]
    for one in top:
        assert every[one["index"]] == one["probability"]
        told = one["explanation"]
        assert list(told["features"]) == ["user", "ad", "user*ad"]
        assert told["logit"] == pytest.approx(told["bias"] + sum(told["features"].values()))
    plain = server.predict({"events": [], "explain": True}).json()
    assert plain["probabilities"] == plain["explanations"] == []


def test_label_weight_and_id_are_not_read(server: Running) -> None:
    plain = {"features": {"user": "u1"}}
    dressed = {"label": "?", "weight": -3, "id": "x", "features": {"user": "u1"}}
    found = probabilities(server.predict({"events": [plain, dressed]}))
    assert found[0] == found[1]


def test_the_models_own_route_is_the_default_one(server: Running) -> None:
    body = {"events": [{"features": {"user": "u1"}}]}
    named = server.http.post("/v1/models/clicks/predict", json=body)
    assert named.content == server.predict(body).content


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"not json", "body"),
    (b"[]", "body"),
    (b"null", "body"),
    (b'{"events":[', "body"),
    (b'{"events":[]} trailing', "body"),
    (b"{}", "body"),
    (b'{"events":{}}', "events"),
    (b'{"events":[1]}', "events[0]"),
    (b'{"events":[{"features":{}},"x"]}', "events[1]"),
    (b'{"events":[{"features":{"a":NaN}}]}', "body"),
    (b'{"events":[{"features":{"a":1e999}}]}', "events[0].features.a"),
    (b'{"events":[{"features":{"a":{"b":1}}}]}', "events[0].features.a"),
    (b'{"events":[{"features":{"a":[1]}}]}', "events[0].features.a"),
    (b'{"events":[{"features":7}]}', "events[0].features"),
    (b'{"events":[{"features":{}},{"ts":"noon","features":{}}]}', "events[1].ts"),
    (b'{"events":[{"features":{"a":"\xff"}}]}', "body"),
    (b'{"events":[{"features":{"a":"\\ud800"}}]}', "body"),
    (b'\xef\xbb\xbf{"events":[]}', "body"),
    (b'{"context":{}}', "body"),
    (b'{"context":{},"candidates":[7]}', "candidates[0]"),
    (b'{"context":7,"candidates":[]}', "context"),
    (b'{"context":{"a":{}},"candidates":[{}]}', "candidates[0].a"),
    (b'{"context":{},"candidates":[{},{"a":[1]}]}', "candidates[1].a"),
    (b'{"events":[],"candidates":[]}', "body"),
    (b"[" * 100_000, "body"),
    (b'{"events":[],"top_k":0}', "top_k"),
    (b'{"top_k":"all","events":[]}', "top_k"),
    (b'{"events":[],"explain":"yes"}', "explain"),
]


@pytest.mark.parametrize(("body", "path"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_what_is_not_a_request_is_refused_by_path(server: Running, body: bytes, path: str) -> None:
    answer = server.http.post("/v1/predict", content=body)
    assert answer.status_code == 422
    assert error(answer)["path"] == path
    assert server.predict({"events": [{"features": {}}]}).status_code == 200


@KEPT
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: b'{"events":[' + b + b"]}"))
def test_no_bytes_hurt(server: Running, body: bytes) -> None:
    answer = server.http.post("/v1/predict", content=body)
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:
        error(answer)


def test_more_rows_than_allowed_are_413(server: Running) -> None:
    event = {"features": {"user": "u1"}}
    full = server.predict({"events": [event] * LIMITS.max_rows})
    assert len(probabilities(full)) == LIMITS.max_rows
    over = [event] * (LIMITS.max_rows + 1)
    for body in ({"events": over}, {"context": {}, "candidates": over}):
        answer = server.predict(body)
        assert answer.status_code == 413
        assert str(LIMITS.max_rows) in error(answer)["wanted"]


def test_a_longer_body_than_allowed_is_413(server: Running) -> None:
    padding = " " * (LIMITS.max_body_bytes - len('{"events":[]}'))
    assert server.http.post("/v1/predict", content='{"events":[]}' + padding).status_code == 200
    answer = server.http.post("/v1/predict", content='{"events":[]}' + padding + " ")
    assert answer.status_code == 413
    assert error(answer) == {
        "path": "body",
        "got": f"{LIMITS.max_body_bytes + 1} bytes",
        "wanted": f"at most {LIMITS.max_body_bytes} bytes",
    }


def test_a_longer_chunked_body_is_413_when_it_passes_the_limit(server: Running) -> None:
    sent = 0

    def endless() -> Any:
        nonlocal sent
        for _ in range(200):
            sent += 50_000
            yield b" " * 50_000

    answer = server.http.post("/v1/predict", content=endless())
    assert answer.status_code == 413
    assert "or more" in error(answer)["got"]
    assert server.predict({"events": []}).status_code == 200


def test_a_compressed_body_is_415(server: Running) -> None:
    answer = server.http.post(
        "/v1/predict", content=b"\x1f\x8b", headers={"content-encoding": "gzip"}
    )
    assert answer.status_code == 415
    assert error(answer)["wanted"] == "identity"


def test_another_method_is_405(server: Running) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = server.http.request(method, "/v1/predict")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"
        assert error(answer) == {"path": "method", "got": method, "wanted": "POST"}
    answer = server.http.post("/metrics")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    error(answer)


def test_an_unknown_model_or_route_is_404(server: Running) -> None:
    answer = server.http.post("/v1/models/other/predict", json={"events": []})
    assert answer.status_code == 404
    assert error(answer) == {"path": "model", "got": "other", "wanted": "one of clicks"}
    answer = server.http.get("/v1/nothing")
    assert answer.status_code == 404
    assert error(answer)["got"] == "/v1/nothing"


def test_before_a_model_it_is_503() -> None:
    with running(Feed()) as empty:
        answer = empty.predict({"events": []})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert error(answer)["path"] == "model"
        assert empty.http.get("/livez").status_code == 200
        assert empty.http.get("/readyz").status_code == 503


def test_requests_and_predictions_are_counted() -> None:
    feed = Feed()
    with running(feed) as server:
        server.predict({"events": []})
        feed.put(whole(7, MODEL))
        server.wait_for_version(7)
        for _ in range(3):
            server.predict({"events": [{"features": {}}] * 4})
        server.http.post("/v1/predict", content=b"?")
        server.http.get("/livez")
        assert server.metric("ctr_requests_total", code="200") == 3
        assert server.metric("ctr_requests_total", code="422") == 1
        assert server.metric("ctr_requests_total", code="503") == 1
        assert server.metric("ctr_predictions_total") == 12
        assert server.metric("ctr_request_duration_seconds_count") == 5
