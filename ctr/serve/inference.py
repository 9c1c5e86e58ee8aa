"""The Open Inference Protocol (V2) over HTTP: events go in as a BYTES tensor, JSON or binary.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and, for tensors behind the JSON, the binary tensor data extension:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.types import Scope

from ctr import __version__
from ctr.features.request import RequestError, parse_events
from ctr.serve import answers, tensors
from ctr.serve.answers import Answer, Header
from ctr.serve.hosted import Hosted, Served
from ctr.serve.watching import Asked
from ctr.types import Float32

EVENTS, PROBABILITIES = "events", "probabilities"

SERVER = {
    "name": "ctr",
    "version": __version__,
    "extensions": ["binary_tensor_data", "model_configuration", "model_repository"],
}
"""What ``GET /v2`` answers."""

_DATA = "inputs[0].data"
_LENGTH = "inference-header-content-length"
_BINARY: Header = (b"content-type", b"application/octet-stream")


class InputParameters(msgspec.Struct):
    """What may be said of an input; other parameters are passed over."""

    binary_data_size: int | None = None
    shared_memory_region: str | None = None


class Tensor(msgspec.Struct):
    """An input: element i (row-major) is the JSON of event i."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: InputParameters = msgspec.field(default_factory=InputParameters)


class OutputParameters(msgspec.Struct):
    """What may be said of an output."""

    binary_data: bool | None = None
    classification: int | None = None
    shared_memory_region: str | None = None


class Wanted(msgspec.Struct):
    """An output asked for."""

    name: str
    parameters: OutputParameters = msgspec.field(default_factory=OutputParameters)


class RequestParameters(msgspec.Struct):
    """What may be said of a request."""

    binary_data_output: bool = False


class InferRequest(msgspec.Struct):
    """The JSON of an inference request."""

    inputs: list[Tensor]
    outputs: list[Wanted] = []
    id: str | None = None
    parameters: RequestParameters = msgspec.field(default_factory=RequestParameters)

    @property
    def wants_binary(self) -> bool:
        """Whether the probabilities are to follow the JSON instead of standing in it."""
        for output in self.outputs:
            if output.parameters.binary_data is not None:
                return output.parameters.binary_data
        return self.parameters.binary_data_output


_decode = msgspec.json.Decoder(InferRequest).decode


def metadata(hosted: Hosted) -> dict[str, Any]:
    """What ``GET /v2/models/NAME`` answers."""
    served = hosted.served
    return {
        "name": hosted.name,
        "versions": [] if served is None else [str(served.version)],
        "platform": "ctr",
        "inputs": [{"name": EVENTS, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": PROBABILITIES, "datatype": "FP32", "shape": [-1]}],
    }


def configuration(hosted: Hosted) -> dict[str, Any]:
    """What ``GET /v2/models/NAME/config`` answers: the same in Triton's words."""
    return {
        "name": hosted.name,
        "platform": "ctr",
        "backend": "ctr",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [{"name": EVENTS, "data_type": "TYPE_STRING", "dims": [-1]}],
        "output": [{"name": PROBABILITIES, "data_type": "TYPE_FP32", "dims": [-1]}],
    }


def index(hosted: Hosted) -> dict[str, Any]:
    """What ``POST /v2/repository/index`` answers of one model."""
    served = hosted.served
    if served is None:
        return {"name": hosted.name, "state": "UNAVAILABLE", "reason": "no version yet"}
    return {"name": hosted.name, "version": str(served.version), "state": "READY", "reason": ""}


def check_version(hosted: Hosted, asked: str | None) -> None:
    """Raise RequestError (404) when a version is asked for and it is not the one served."""
    served = hosted.served
    version = "" if served is None else str(served.version)
    if asked is not None and asked != version:
        raise RequestError(404, "version", asked, f"{version or 'none yet'}, the one served")


def infer(hosted: Hosted, scope: Scope, body: bytes, now_ms: int) -> Answer:
    """The answer to an inference request.

    ``scope["path_params"]`` may have a ``version``: 404 unless it is the one that is served.
    """
    served = hosted.current()
    check_version(hosted, scope.get("path_params", {}).get("version"))
    request, binary = _request(scope, body)
    events = _events(request, binary, hosted.max_rows)
    batch = parse_events(served.parser, events, now_ms, _DATA)
    probabilities = served.model.predict(batch)
    if hosted.watchers:
        hosted.watched(Asked(events, now_ms, served, probabilities))
    return _answer(hosted.name, served, request, probabilities)


def failure(error: RequestError) -> tuple[int, bytes]:
    """The protocol's error: a sentence; what is wrong with a request is always 400."""
    status = 400 if error.status == 422 else error.status
    sentence = f"{error.path} must be {error.wanted}; got {answers.shortened(error.got)}"
    return status, answers.encode({"error": sentence})


def _answer(name: str, served: Served, request: InferRequest, probabilities: Float32) -> Answer:
    output: dict[str, Any] = {
        "name": PROBABILITIES,
        "datatype": "FP32",
        "shape": request.inputs[0].shape,
    }
    answer: dict[str, Any] = {
        "model_name": name,
        "model_version": str(served.version),
        "parameters": {"event_time": served.event_time},
        "outputs": [output],
    }
    if request.id is not None:
        answer["id"] = request.id
    if not request.wants_binary:
        output["data"] = msgspec.Raw(answers.numbers(probabilities))
        return Answer(answers.encode(answer), len(probabilities))
    raw = tensors.fp32(probabilities)
    output["parameters"] = {"binary_data_size": len(raw)}
    head = answers.encode(answer)
    length = (_LENGTH.encode(), b"%d" % len(head))
    return Answer(head + raw, len(probabilities), (_BINARY, length))


def _request(scope: Scope, body: bytes) -> tuple[InferRequest, bytes | None]:
    """The JSON of a request, and the tensors behind it: None when the body is JSON alone."""
    length = _json_length(scope, len(body))
    if length is None:
        return _decoded(body), None
    return _decoded(body[:length]), body[length:]


def _json_length(scope: Scope, size: int) -> int | None:
    for name, value in scope["headers"]:
        if name == _LENGTH.encode():
            if not value.isdigit() or len(value) > 18 or int(value) > size:
                got = value.decode("latin-1")
                raise RequestError(422, _LENGTH, got, f"at most the body's {size} bytes")
            return int(value)
    return None


def _decoded(text: bytes) -> InferRequest:
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        path = path.strip("`.")
        if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
            path = f"{path}.{missing[1]}".strip(".")
            raise RequestError(422, path, "nothing", "there") from None
        expected, _, got = what.partition(", got ")
        wanted = expected.removeprefix("Expected ")
        raise RequestError(422, path or "body", got, wanted) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(422, "body", str(error), "an inference request in JSON") from None


def _events(request: InferRequest, binary: bytes | None, max_rows: int) -> list[bytes]:
    """The elements of the one tensor, which must be of the kind that ``metadata`` says."""
    if len(request.inputs) != 1:
        raise RequestError(422, "inputs", f"{len(request.inputs)} tensors", "one tensor")
    tensor = request.inputs[0]
    for key, got, wanted in (
        ("name", tensor.name, EVENTS),
        ("datatype", tensor.datatype, "BYTES"),
    ):
        if got != wanted:
            raise RequestError(422, f"inputs[0].{key}", got, wanted)
    _check_outputs(request.outputs)
    events = _elements(tensor, binary, max_rows)
    if len(events) > max_rows:
        raise RequestError(413, _DATA, f"{len(events)} or more elements", f"at most {max_rows}")
    tensors.check_shape(tensor.shape, len(events), "inputs[0].shape")
    return events


def _check_outputs(outputs: list[Wanted]) -> None:
    if len(outputs) > 1:
        raise RequestError(422, "outputs", f"{len(outputs)} outputs", f"{PROBABILITIES} alone")
    for output in outputs:
        if output.name != PROBABILITIES:
            raise RequestError(422, "outputs[0].name", output.name, PROBABILITIES)
        for key in ("classification", "shared_memory_region"):
            if (got := getattr(output.parameters, key)) is not None:
                raise RequestError(422, f"outputs[0].parameters.{key}", str(got), "absent")


def _elements(tensor: Tensor, binary: bytes | None, max_rows: int) -> list[bytes]:
    """What the tensor holds, wherever it stands; a little more than ``max_rows`` at most."""
    size, region = tensor.parameters.binary_data_size, tensor.parameters.shared_memory_region
    where = "inputs[0].parameters."
    if region is not None:
        raise RequestError(422, f"{where}shared_memory_region", region, "absent")
    if size is None:
        if tensor.data is None:
            raise RequestError(422, _DATA, "nothing", "there")
        if binary:
            raise RequestError(422, f"{where}binary_data_size", "nothing", f"{len(binary)}")
        return tensors.flat(tensor.data, max_rows, _DATA)
    if tensor.data is not None:
        raise RequestError(422, _DATA, "data beside binary_data_size", "absent")
    if binary is None:
        raise RequestError(422, _LENGTH, "no such header", "there, with the length of the JSON")
    if size != len(binary):
        wanted = f"{len(binary)}, the bytes behind the JSON"
        raise RequestError(422, f"{where}binary_data_size", str(size), wanted)
    return tensors.elements(binary, max_rows, _DATA)
