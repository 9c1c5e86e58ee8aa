"""The Open Inference Protocol, by hand-written requests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from .running import Feed, Running, running

EVENTS = [{"features": {"user": "u17", "ad": "a9"}}, {"features": {"user": "u17", "price": 2.5}}]
INFER = "/v2/models/clicks/infer"


def tensor(**changes: Any) -> dict[str, Any]:
    data = [json.dumps(event) for event in EVENTS]
    return {"name": "events", "datatype": "BYTES", "shape": [2], "data": data, **changes}


def request(*inputs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"inputs": list(inputs or [tensor()]), **changes}


def test_a_request_as_the_protocol_writes_it(server: Running) -> None:
    body = b"""{
      "id" : "42",
      "parameters" : { "priority" : 3 },
      "inputs" : [
        {
          "name" : "events",
          "shape" : [ 2 ],
          "datatype" : "BYTES",
          "parameters" : { "content_type" : "str" },
          "data" : [ "{\\"features\\":{\\"user\\":\\"u17\\",\\"ad\\":\\"a9\\"}}",
                     "{\\"features\\":\\n  {\\"user\\":\\"u17\\",\\"price\\":2.5}}" ]
        }
      ],
      "outputs" : [ { "name" : "probabilities" } ]
    }"""
    answer = server.http.post(INFER, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    plain = server.predict({"events": EVENTS}).json()
    assert answer.json() == {
        "model_name": "clicks",
        "model_version": "7",
        "id": "42",
        "parameters": {"event_time": 1_700_000_000_007},
        "outputs": [
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": [2],
                "data": plain["probabilities"],
            }
        ],
    }


@pytest.mark.parametrize(("shape", "nested"), [([2], False), ([2, 1], False), ([2, 1], True)])
def test_shapes_of_one_event_a_row(server: Running, shape: list[int], nested: bool) -> None:
    data: list[Any] = [json.dumps(event) for event in EVENTS]
    data = [[element] for element in data] if nested else data
    answer = server.http.post(INFER, json=request(tensor(shape=shape, data=data)))
    [output] = answer.json()["outputs"]
    assert output["shape"] == shape
    assert np.shape(output["data"]) == (2,)
    assert "id" not in answer.json()


BAD: list[tuple[Any, str]] = [
    ({}, "inputs must be there; got nothing"),
    ({"inputs": 7}, "inputs must be `array`; got `int`"),
    ({"inputs": [{"name": "events"}]}, "inputs[0].shape must be there; got nothing"),
    ({"inputs": []}, "inputs must be one tensor"),
    (request(tensor(), tensor()), "inputs must be one tensor"),
    (request(tensor(name="image")), "inputs[0].name must be events; got image"),
    (request(tensor(datatype="FP32")), "inputs[0].datatype must be BYTES; got FP32"),
    (request(tensor(shape=[3])), "inputs[0].shape"),
    (request(tensor(shape=[-2, -1])), "inputs[0].shape"),
    (request(tensor(shape=[])), "inputs[0].shape"),
    (request(tensor(shape=["two"])), "inputs[0].shape[0]"),
    (request(tensor(data=["{}", 7])), "inputs[0].data[1]"),
    (request(tensor(data=["{}", "{"])), "inputs[0].data[1]"),
    (request(tensor(shape=[1], data=['{"features":{}},{"features":{}}'])), "inputs[0].data[0]"),
    (request(tensor(shape=[1], data=['{"features":{}}],"x":[{}'])), "inputs[0].data[0]"),
    (request(tensor(data=["{}", '{"features":{"a":{}}}'])), "inputs[0].data[1]"),
    (request(tensor(shape=[1], data=["[" * 50_000])), "inputs[0].data[0]"),
    (request(outputs=[{"name": "classes"}]), "outputs[0].name must be probabilities; got classes"),
]


@pytest.mark.parametrize(("body", "said"), BAD, ids=range(len(BAD)))
def test_errors_are_sentences_with_400(server: Running, body: Any, said: str) -> None:
    answer = server.http.post(INFER, json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]


def test_other_errors_keep_their_status(server: Running) -> None:
    rows = ["{}"] * 51
    many = server.http.post(INFER, json=request(tensor(shape=[51], data=rows)))
    long = server.http.post(INFER, content=b" " * 100_001)
    assert (many.status_code, long.status_code) == (413, 413)
    assert isinstance(many.json()["error"], str)
    assert server.http.post(INFER, content=b"\xff{").status_code == 400
    missing = server.http.post("/v2/models/other/infer", json=request())
    assert missing.status_code == 404
    assert missing.json() == {"error": "model must be one of clicks; got other"}
    assert server.http.get(INFER).status_code == 405


def test_health_and_metadata(server: Running) -> None:
    assert server.http.get("/v2/health/live").json() == {"live": True}
    assert server.http.get("/v2/health/ready").json()["ready"] is True
    assert server.http.get("/v2").json()["name"] == "ctr"
    assert server.http.get("/v2/models/clicks/ready").json() == {"name": "clicks", "ready": True}
    about = server.http.get("/v2/models/clicks").json()
    assert about["inputs"] == [{"name": "events", "datatype": "BYTES", "shape": [-1]}]
    assert about["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1]}]


def test_before_a_model_it_lives_and_is_not_ready() -> None:
    with running(Feed()) as empty:
        assert empty.http.get("/v2/health/live").status_code == 200
        assert empty.http.get("/v2/health/ready").status_code == 503
        assert empty.http.get("/v2/models/clicks/ready").status_code == 503
        answer = empty.http.post(INFER, json=request())
        assert answer.status_code == 503
        assert "published model" in answer.json()["error"]
