"""The Open Inference Protocol (V2) over HTTP, in JSON: events go in as a BYTES tensor.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod
from typing import Any

import msgspec

from ctr import __version__
from ctr.features.request import RequestError, parse_events
from ctr.serve import answers
from ctr.serve.hosted import Hosted

EVENTS, PROBABILITIES = "events", "probabilities"
_DATA = "inputs[0].data"

SERVER = {"name": "ctr", "version": __version__, "extensions": []}
"""What ``GET /v2`` answers."""


class Tensor(msgspec.Struct):
    """An input: element i (row-major) is the JSON of event i."""

    name: str
    shape: list[int]
    datatype: str
    data: list[str | list[str]]
    parameters: dict[str, Any] = {}


class Wanted(msgspec.Struct):
    """An output asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The body of an inference request."""

    inputs: list[Tensor]
    outputs: list[Wanted] = []
    id: str | None = None
    parameters: dict[str, Any] = {}


_decode = msgspec.json.Decoder(InferRequest).decode


def metadata(name: str) -> dict[str, Any]:
    """What ``GET /v2/models/NAME`` answers."""
    return {
        "name": name,
        "platform": "ctr",
        "inputs": [{"name": EVENTS, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": PROBABILITIES, "datatype": "FP32", "shape": [-1]}],
    }


def infer(hosted: Hosted, body: bytes, now_ms: int) -> tuple[bytes, int]:
    """The answer to an inference request, and how many predictions it has."""
    served = hosted.current()
    request = _request(body)
    events = _events(request, hosted.max_rows)
    batch = parse_events(served.parser, events, now_ms, _DATA)
    probabilities = served.model.predict(batch)
    output = {
        "name": PROBABILITIES,
        "datatype": "FP32",
        "shape": request.inputs[0].shape,
        "data": msgspec.Raw(answers.numbers(probabilities)),
    }
    answer: dict[str, Any] = {
        "model_name": hosted.name,
        "model_version": str(served.version),
        "parameters": {"event_time": served.event_time},
        "outputs": [output],
    }
    if request.id is not None:
        answer["id"] = request.id
    return answers.encode(answer), len(probabilities)


def failure(error: RequestError) -> tuple[int, bytes]:
    """The protocol's error: a sentence; what is wrong with a request is always 400."""
    status = 400 if error.status == 422 else error.status
    sentence = f"{error.path} must be {error.wanted}; got {answers.shortened(error.got)}"
    return status, answers.encode({"error": sentence})


def _request(body: bytes) -> InferRequest:
    try:
        return _decode(body)
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


def _events(request: InferRequest, max_rows: int) -> list[bytes]:
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
    for k, output in enumerate(request.outputs):
        if output.name != PROBABILITIES:
            raise RequestError(422, f"outputs[{k}].name", output.name, PROBABILITIES)
    events = [element.encode("utf-8", "replace") for element in _flat(tensor.data)]
    if len(events) > max_rows:
        raise RequestError(413, _DATA, f"{len(events)} elements", f"at most {max_rows}")
    shape = tensor.shape
    if not shape or min(shape) < 0 or prod(shape) != len(events):
        wanted = f"lengths whose product is the number of elements, {len(events)}"
        raise RequestError(422, "inputs[0].shape", str(shape), wanted)
    return events


def _flat(data: list[str | list[str]]) -> Iterable[str]:
    for element in data:
        if isinstance(element, str):
            yield element
        else:
            yield from element
