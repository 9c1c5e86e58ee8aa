"""The Open Inference Protocol by its official client, unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from .conftest import LIMITS
from .running import Feed, Running, running

EVENTS: list[dict[str, Any]] = [
    {"features": {"user": f"u{k}", "ad": "a9", "price": 0.5 + k, "tags": ["naïve", "日本"]}}
    for k in range(6)
]
SHAPES = [(6,), (6, 1), (1, 6), (2, 3), (1, 2, 1, 3)]


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with connected(server) as client:
        yield client


def connected(server: Running) -> Any:
    host, port = server.address
    return triton.InferenceServerClient(f"{host}:{port}")


def tensor(
    events: list[dict[str, Any]] = EVENTS,
    shape: tuple[int, ...] | None = None,
    binary: bool = True,
    name: str = "events",
) -> Any:
    data = np.array([json.dumps(event).encode() for event in events], np.object_)
    data = data.reshape(shape or (len(events),))
    found = triton.InferInput(name, list(data.shape), "BYTES")
    found.set_data_from_numpy(data, binary_data=binary)
    return found


def output(**asked: Any) -> Any:
    return triton.InferRequestedOutput("probabilities", **asked)


def expected(server: Running) -> list[float]:
    return list(server.predict({"events": EVENTS}).json()["probabilities"])


def test_what_a_client_asks_first(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("clicks")
    assert client.is_model_ready("clicks", "7")
    assert not client.is_model_ready("clicks", "6")
    assert not client.is_model_ready("other")
    about = client.get_server_metadata()
    assert about["name"] == "ctr"
    assert "binary_tensor_data" in about["extensions"]


@pytest.mark.parametrize("version", ["", "7"])
def test_metadata_and_configuration(client: Any, version: str) -> None:
    metadata = client.get_model_metadata("clicks", version)
    assert metadata["name"] == "clicks"
    assert metadata["versions"] == ["7"]
    assert metadata["platform"]
    [events], [probabilities] = metadata["inputs"], metadata["outputs"]
    assert events == {"name": "events", "datatype": "BYTES", "shape": [-1]}
    assert probabilities == {"name": "probabilities", "datatype": "FP32", "shape": [-1]}
    config = client.get_model_config("clicks", version)
    assert config["name"] == "clicks"
    assert config["input"] == [{"name": "events", "data_type": "TYPE_STRING", "dims": [-1]}]
    [index] = client.get_model_repository_index()
    assert index == {"name": "clicks", "version": "7", "state": "READY", "reason": ""}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("asked", ["all", "binary", "json"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_infer(
    server: Running, client: Any, shape: tuple[int, ...], asked: str, binary: bool
) -> None:
    outputs = None if asked == "all" else [output(binary_data=asked == "binary")]
    result = client.infer("clicks", [tensor(shape=shape, binary=binary)], outputs=outputs)
    found = result.as_numpy("probabilities")
    assert (found.dtype, found.shape) == (np.float32, shape)
    assert found.ravel().tolist() == expected(server)
    response = result.get_response()
    assert response["model_version"] == "7"
    assert "id" not in response
    assert ("data" in result.get_output("probabilities")) == (asked == "json")


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_requests_may_be_compressed(
    server: Running, client: Any, algorithm: str, binary: bool
) -> None:
    result = client.infer(
        "clicks",
        [tensor(binary=binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("probabilities").tolist() == expected(server)


def test_id_version_and_parameters(server: Running, client: Any) -> None:
    result = client.infer(
        "clicks",
        [tensor()],
        model_version="7",
        request_id="request 42",
        sequence_id=3,
        priority=1,
        timeout=1_000_000,
        parameters={"campaign": "spring"},
    )
    assert result.get_response()["id"] == "request 42"
    assert result.as_numpy("probabilities").tolist() == expected(server)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_no_events(client: Any, binary: bool) -> None:
    found = client.infer("clicks", [tensor([], binary=binary)]).as_numpy("probabilities")
    assert found.shape == (0,)


def test_requests_at_once(server: Running) -> None:
    host, port = server.address
    with triton.InferenceServerClient(f"{host}:{port}", concurrency=4) as client:
        waiting = [client.async_infer("clicks", [tensor()], request_id=str(k)) for k in range(20)]
        results = [one.get_result() for one in waiting]
    assert [result.get_response()["id"] for result in results] == [str(k) for k in range(20)]
    for result in results:
        assert result.as_numpy("probabilities").tolist() == expected(server)


def other_type() -> Any:
    found = triton.InferInput("events", [1], "FP32")
    found.set_data_from_numpy(np.zeros(1, np.float32))
    return found


def other_shape() -> Any:
    found = tensor()
    found.set_shape([7])
    return found


def without_data() -> Any:
    return triton.InferInput("events", [1], "BYTES")


def in_shared_memory() -> Any:
    found = tensor()
    found.set_shared_memory("region", 100)
    return found


def of_bytes(value: bytes) -> Any:
    found = triton.InferInput("events", [1], "BYTES")
    found.set_data_from_numpy(np.array([value], np.object_))
    return found


MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "model": ({"model_name": "other"}, "404", "model must be one of clicks; got other"),
    "version": ({"model_version": "6"}, "404", "version must be 7, the one served; got 6"),
    "tensor's name": ({"inputs": [tensor(name="image")]}, "400", "must be events; got image"),
    "type": ({"inputs": [other_type()]}, "400", "inputs[0].datatype must be BYTES; got FP32"),
    "shape": ({"inputs": [other_shape()]}, "400", "number of elements, 6; got [7]"),
    "two tensors": ({"inputs": [tensor(), tensor()]}, "400", "inputs must be one tensor"),
    "no tensors": ({"inputs": []}, "400", "inputs must be one tensor; got 0 tensors"),
    "no data": ({"inputs": [without_data()]}, "400", "inputs[0].data must be there; got nothing"),
    "memory": ({"inputs": [in_shared_memory()]}, "400", "shared_memory_region must be absent"),
    "event": ({"inputs": [of_bytes(b"[]")]}, "400", "inputs[0].data[0] must be a JSON object"),
    "encoding": ({"inputs": [of_bytes(b'{"a":"\xff"}')]}, "400", "inputs[0].data[0] must be UTF-8"),
    "empty": ({"inputs": [of_bytes(b"")]}, "400", "inputs[0].data[0] must be a JSON object"),
    "rows": ({"inputs": [tensor([{}] * 51)]}, "413", "must be at most 50"),
    "bytes": ({"inputs": [of_bytes(b" " * 100_000)]}, "413", "body must be at most 100000 bytes"),
    "output": (
        {"outputs": [triton.InferRequestedOutput("classes")]},
        "400",
        "outputs[0].name must be probabilities; got classes",
    ),
    "classes": ({"outputs": [output(class_count=3)]}, "400", "classification must be absent"),
    "outputs": ({"outputs": [output(), output()]}, "400", "outputs must be probabilities alone"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("algorithm", [None, "gzip"])
def test_mistakes_are_told(
    server: Running, client: Any, mistake: str, algorithm: str | None
) -> None:
    asked, status, message = MISTAKES[mistake]
    arguments = {"model_name": "clicks", "inputs": [tensor()], **asked}
    with pytest.raises(InferenceServerException) as caught:
        client.infer(**arguments, request_compression_algorithm=algorithm)
    assert caught.value.status() == status
    assert message in caught.value.message()
    assert client.infer("clicks", [tensor()]).as_numpy("probabilities").tolist() == expected(server)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_small_body_that_holds_much_is_refused(client: Any, algorithm: str) -> None:
    bomb = of_bytes(b" " * (500 * LIMITS.max_body_bytes))
    with pytest.raises(InferenceServerException) as caught:
        client.infer("clicks", [bomb], request_compression_algorithm=algorithm)
    assert caught.value.status() == "413"
    assert client.is_server_live()


def test_what_is_not_offered_is_said_so(client: Any) -> None:
    for ask in (
        lambda: client.load_model("clicks"),
        lambda: client.unload_model("clicks"),
        lambda: client.get_inference_statistics("clicks"),
        lambda: client.get_trace_settings(),
        lambda: client.get_system_shared_memory_status(),
        lambda: client.get_model_metadata("clicks", "9"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.status() == "404"
        assert " must be " in caught.value.message()


def test_before_a_model_it_lives_and_is_not_ready() -> None:
    with running(Feed()) as empty, connected(empty) as client:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("clicks")
        assert client.get_model_metadata("clicks")["versions"] == []
        assert client.get_model_repository_index()[0]["state"] == "UNAVAILABLE"
        with pytest.raises(InferenceServerException) as caught:
            client.infer("clicks", [tensor()])
        assert caught.value.status() == "503"
