"""The Open Inference Protocol, by hand-written requests."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctr.serve import inference
from ctr.serve.watching import Asked

from .running import Feed, Running, running
from .watched import NOW, hosted

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


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2], [1, 1, 2, 1, 1, 1, 1, 1]])
@pytest.mark.parametrize("nested", [True, False])
def test_shapes_of_one_event_an_element(server: Running, shape: list[int], nested: bool) -> None:
    data: list[Any] = [json.dumps(event) for event in EVENTS]
    if nested:
        data = np.array(data, np.object_).reshape(shape).tolist()
    answer = server.http.post(INFER, json=request(tensor(shape=shape, data=data)))
    [output] = answer.json()["outputs"]
    assert output["shape"] == shape
    assert np.shape(output["data"]) == (2,)
    assert "id" not in answer.json()


BAD: list[tuple[Any, str]] = [
    ({}, "inputs must be there; got nothing"),
    ({"inputs": 7}, "inputs must be `array`; got `int`"),
    ({"inputs": [{"name": "events"}]}, "inputs[0].shape must be there; got nothing"),
    (request(tensor(data=None)), "inputs[0].data must be there; got nothing"),
    ({"inputs": []}, "inputs must be one tensor"),
    (request(tensor(), tensor()), "inputs must be one tensor"),
    (request(tensor(name="image")), "inputs[0].name must be events; got image"),
    (request(tensor(datatype="FP32")), "inputs[0].datatype must be BYTES; got FP32"),
    (request(tensor(shape=[3])), "inputs[0].shape"),
    (request(tensor(shape=[-2, -1])), "inputs[0].shape"),
    (request(tensor(shape=[])), "inputs[0].shape"),
    (request(tensor(shape=["two"])), "inputs[0].shape[0]"),
    (request(tensor(shape=[1] * 9)), "inputs[0].shape must be at most 8 dimensions; got 9"),
    (request(tensor(data=["{}", 7])), "inputs[0].data[1] must be the JSON of an event as a string"),
    (request(tensor(data=["{}", ["{}", {"a": 1}]])), "inputs[0].data[1][1] must be the JSON"),
    (request(tensor(data=[[[[[[[[["{}"]]]]]]]]])), "inputs[0].data[0][0][0][0][0][0][0][0] must"),
    (request(tensor(data=["{}", "{"])), "inputs[0].data[1]"),
    (request(tensor(shape=[1], data=['{"features":{}},{"features":{}}'])), "inputs[0].data[0]"),
    (request(tensor(shape=[1], data=['{"features":{}}],"x":[{}'])), "inputs[0].data[0]"),
    (request(tensor(data=["{}", '{"features":{"a":{}}}'])), "inputs[0].data[1]"),
    (request(tensor(shape=[1], data=["[" * 50_000])), "inputs[0].data[0]"),
    (request(outputs=[{"name": "classes"}]), "outputs[0].name must be probabilities; got classes"),
    (request(outputs=[{"name": "probabilities"}] * 2), "outputs must be probabilities alone"),
    (
        request(outputs=[{"name": "probabilities", "parameters": {"binary_data": 1}}]),
        "outputs[0].parameters.binary_data must be",
    ),
    (request(parameters={"binary_data_output": "yes"}), "parameters.binary_data_output must be"),
    (
        request(tensor(parameters={"binary_data_size": 10})),
        "inputs[0].data must be absent; got data beside binary_data_size",
    ),
    (
        request(tensor(data=None, parameters={"binary_data_size": 10})),
        "inference-header-content-length must be there",
    ),
    (
        request(tensor(parameters={"shared_memory_region": "region"})),
        "inputs[0].parameters.shared_memory_region must be absent; got region",
    ),
]


@pytest.mark.parametrize(("body", "said"), BAD, ids=range(len(BAD)))
def test_errors_are_sentences_with_400(server: Running, body: Any, said: str) -> None:
    answer = server.http.post(INFER, json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]


LENGTH = "inference-header-content-length"


def packed(*elements: bytes) -> bytes:
    """Elements as the binary extension writes them."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def ask(
    server: Running, data: bytes, length: Any = None, size: Any = None, **changes: Any
) -> httpx.Response:
    """A request with its events behind the JSON; ``length`` and ``size`` are right unless given."""
    parameters = {"binary_data_size": len(data) if size is None else size}
    head = json.dumps(request(tensor(data=None, parameters=parameters, **changes))).encode()
    headers = {LENGTH: str(len(head) if length is None else length)}
    return server.http.post(INFER, content=head + data, headers=headers)


PACKED = packed(*(json.dumps(event).encode() for event in EVENTS))


def test_a_binary_tensor_as_the_extension_writes_it(server: Running) -> None:
    answer = ask(server, PACKED)
    assert answer.status_code == 200, answer.text
    assert LENGTH not in answer.headers
    plain = server.predict({"events": EVENTS}).json()["probabilities"]
    assert answer.json()["outputs"][0]["data"] == plain


@pytest.mark.parametrize(
    ("of_all", "of_one", "binary"),
    [
        (None, None, False),
        (None, True, True),
        (None, False, False),
        (True, None, True),
        (True, True, True),
        (True, False, False),
        (False, True, True),
    ],
)
def test_binary_answers_are_for_who_asks(
    server: Running, of_all: bool | None, of_one: bool | None, binary: bool
) -> None:
    asked = request(outputs=[{"name": "probabilities"}])
    if of_all is not None:
        asked["parameters"] = {"binary_data_output": of_all}
    if of_one is not None:
        asked["outputs"][0]["parameters"] = {"binary_data": of_one}
    plain = server.predict({"events": EVENTS}).json()["probabilities"]
    answer = server.http.post(INFER, json=asked)
    assert answer.status_code == 200, answer.text
    if not binary:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["outputs"][0]["data"] == plain
        return
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[LENGTH])
    [output] = json.loads(answer.content[:length])["outputs"]
    raw = answer.content[length:]
    assert output["parameters"] == {"binary_data_size": len(raw)}
    assert "data" not in output
    assert [value for (value,) in struct.iter_unpack("<f", raw)] == plain


@pytest.mark.parametrize(
    ("data", "changes", "said"),
    [
        (PACKED[:-1], {}, "inputs[0].data[1] must be 43 bytes, its length; got 42 bytes"),
        (PACKED + b"\x01", {}, "inputs[0].data[2] must be a length of four; got 1 bytes"),
        (PACKED, {"size": 5}, f"binary_data_size must be {len(PACKED)}, the bytes behind the JSON"),
        (PACKED, {"size": -5}, "binary_data_size must be"),
        (PACKED, {"size": "5"}, "inputs[0].parameters.binary_data_size must be"),
        (PACKED, {"length": "many"}, "inference-header-content-length must be at most the body's"),
        (PACKED, {"length": 10_000}, "inference-header-content-length must be at most the body's"),
        (PACKED, {"length": "9" * 5000}, "inference-header-content-length must be at most"),
        (PACKED, {"length": -1}, "inference-header-content-length must be at most the body's"),
        (PACKED, {"length": 10}, "body must be an inference request in JSON"),
        (packed(b"{}", b"\xff"), {}, "inputs[0].data[1] must be UTF-8"),
        (packed(b"{}", b'{"features":7}'), {}, "inputs[0].data[1].features must be an object"),
        (packed(b"{}"), {}, "product is the number of elements, 1; got [2]"),
        (bytes(4 * 2), {}, "inputs[0].data[0] must be a JSON object"),
    ],
    ids=range(14),
)
def test_torn_tensors_are_refused(
    server: Running, data: bytes, changes: dict[str, Any], said: str
) -> None:
    answer = ask(server, data, **changes)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_bytes_behind_the_json_belong_to_a_tensor(server: Running) -> None:
    head = json.dumps(request()).encode()
    answer = server.http.post(INFER, content=head + b"more", headers={LENGTH: str(len(head))})
    assert answer.status_code == 400
    assert answer.json()["error"] == "inputs[0].parameters.binary_data_size must be 4; got nothing"


def test_very_many_empty_elements_are_too_many(server: Running) -> None:
    answer = ask(server, bytes(90_000))
    assert answer.status_code == 413
    assert "must be at most 50" in answer.json()["error"]


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=40))
def test_no_tensor_hurts(server: Running, data: bytes) -> None:
    answer = ask(server, data)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


def test_the_version_that_is_served_may_be_asked_for(server: Running) -> None:
    named, plain = (
        server.http.post(f"/v2/models/clicks{path}/infer", json=request())
        for path in ("/versions/7", "")
    )
    assert named.status_code == 200, named.text
    assert named.content == plain.content
    for path in ("/infer", "/ready", "/config", ""):
        method = "POST" if path == "/infer" else "GET"
        body = request() if path == "/infer" else None
        answer = server.http.request(method, f"/v2/models/clicks/versions/8{path}", json=body)
        assert answer.status_code == 404
        assert answer.json() == {"error": "version must be 7, the one served; got 8"}


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
    assert about["versions"] == ["7"]
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


def test_watchers_are_told_of_the_events_that_were_answered() -> None:
    class Recorder:
        seen = staticmethod(lambda asked: told.append(asked))

    told: list[Asked] = []
    model = hosted()
    model.watchers = (Recorder(),)
    answer = inference.infer(model, {"headers": []}, json.dumps(request()).encode(), NOW)
    [asked] = told
    assert asked.body == [json.dumps(event).encode() for event in EVENTS]
    assert (asked.now_ms, asked.served) == (NOW, model.served)
    found = json.loads(answer.body)["outputs"][0]["data"]
    assert asked.probabilities.tolist() == found
    assert answer.predictions == len(found) == len(EVENTS)
