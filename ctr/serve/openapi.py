"""The description of the HTTP interface (OpenAPI 3.1): what ``/openapi.json`` answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from ctr import __version__
from ctr.serve import examples
from ctr.serve.schemas import Schema, ref, schemas
from ctr.settings import Serve

PATH = "/openapi.json"

UNDESCRIBED = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer")
"""Routes that no JSON schema can tell: as many elements as the product of a shape's lengths."""

_INTRODUCTION = """\
Click probabilities from a model that is updated while it serves.

`POST /v2/models/{name}/infer` is the Open Inference Protocol's and described there. Its tensors are
one input, `events` (BYTES: the JSON of an event each), and one output, `probabilities` (FP32)."""

_JSON, _TEXT, _HTML = "application/json", "text/plain", "text/html"
_OPENMETRICS = "application/openmetrics-text"
_STRING: Schema = {"type": "string"}

_STATUS = {
    400: "The request is not right.",
    401: "An API key is wanted, and none that is known was sent.",
    404: "There is no such model or version.",
    405: "Another method is wanted.",
    408: "The request took longer to arrive than `serve.request_seconds`.",
    413: "The body, or its number of rows, is over the limit.",
    415: "The body is compressed.",
    422: "The body is not a request: `path` says where.",
    500: "A fault of the server, which its log describes.",
    503: "No model yet, or too much to do at the moment.",
}
_OF_ALL, _OF_A_BODY = (400, 401, 405, 408, 500, 503), (413, 415, 422)

_HEADERS: dict[int, tuple[str, Schema]] = {
    401: ("WWW-Authenticate", _STRING),
    405: ("Allow", _STRING),
    503: ("Retry-After", {"type": "integer", "minimum": 0}),
}


class _Route(NamedTuple):
    """What a route answers: a schema for each media type; ``unready`` is that of a 503 which says
    that a model is not loaded. Health routes are ``public``: they never want a key.
    """

    name: str
    summary: str
    content: dict[str, Schema]
    unready: dict[str, Schema] | None = None
    public: bool = False
    method: str = "get"


def _json(name: str) -> dict[str, Schema]:
    return {_JSON: ref(name)}


_PREDICTION = _json("Prediction")

_ROUTES = {
    "/": _Route("dashboard", "The dashboard.", {_HTML: _STRING}),
    "/livez": _Route("live", "200 while the process runs.", {_TEXT: _STRING}, public=True),
    "/readyz": _Route(
        "ready", "200 when every model is loaded.", {_TEXT: _STRING}, {_TEXT: _STRING}, public=True
    ),
    "/metrics": _Route("metrics", "For Prometheus.", {_TEXT: _STRING, _OPENMETRICS: _STRING}),
    PATH: _Route("description", "This description.", {_JSON: {"type": "object"}}),
    "/v1/status": _Route("status", "All there is to say of the server.", _json("Status")),
    "/v1/models": _Route("models", "The models and their versions.", _json("Models")),
    "/v1/models/{name}": _Route("model", "All there is to say of a model.", _json("Model")),
    "/v1/predict": _Route(
        "predict", "Predictions of the default model.", _PREDICTION, method="post"
    ),
    "/v1/models/{name}/predict": _Route(
        "predictWithModel", "Predictions of a model.", _PREDICTION, method="post"
    ),
    "/v2": _Route("server", "What the server is.", _json("InferenceServer")),
    "/v2/health/live": _Route(
        "serverLive", "200 while the process runs.", _json("Live"), public=True
    ),
    "/v2/health/ready": _Route(
        "serverReady",
        "200 when every model is loaded.",
        _json("Ready"),
        _json("Ready"),
        public=True,
    ),
    "/v2/repository/index": _Route(
        "index", "The models and their versions.", _json("RepositoryIndex"), method="post"
    ),
}
_OF_A_MODEL = {
    "": _Route("tensors", "What goes in and what comes out.", _json("InferenceModel")),
    "/ready": _Route(
        "modelReady", "200 when it is loaded.", _json("ModelReady"), _json("ModelReady")
    ),
    "/config": _Route("config", "The tensors in Triton's words.", _json("ModelConfiguration")),
}
for _path, _route in _OF_A_MODEL.items():
    _ROUTES[f"/v2/models/{{name}}{_path}"] = _route
    _ROUTES[f"/v2/models/{{name}}/versions/{{version}}{_path}"] = _route._replace(
        name=f"{_route.name}OfVersion"
    )


def document(paths: Collection[str], models: Sequence[str], settings: Serve) -> dict[str, Any]:
    """The description of ``paths``, as a server of ``models`` has them.

    Limits are those of ``settings``. With ``keys_file``, all but the health routes want a key.
    """
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "ctr", "version": __version__, "description": _INTRODUCTION},
        "paths": {
            path: {_ROUTES[path].method: _operation(path, _ROUTES[path])}
            for path in paths
            if path not in UNDESCRIBED
        },
        "components": {
            "schemas": schemas(settings.max_rows),
            "parameters": {
                "name": _in_path("name", "Name of a model.", enum=list(models)),
                "version": _in_path("version", "The version that is served.", pattern="^[0-9]+$"),
            },
            "responses": {
                f"{prefix}{status}": _error(status, schema)
                for prefix, schema in (("v1.", "Error"), ("v2.", "InferenceError"))
                for status in _STATUS
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    if settings.keys_file:
        document["security"] = [{"bearer": []}, {"key": []}]
    return document


def _operation(path: str, route: _Route) -> dict[str, Any]:
    parameters = re.findall(r"{(\w+)}", path)
    predicts = route.content is _PREDICTION
    statuses = [*_OF_ALL, *([404] if parameters else []), *(_OF_A_BODY if predicts else [])]
    family = "v2" if path.startswith("/v2") else "v1"
    responses: dict[str, Any] = {
        "200": {"description": "The answer.", "content": _content(route.content)},
        **{str(s): {"$ref": f"#/components/responses/{family}.{s}"} for s in sorted(statuses)},
    }
    if route.unready:
        error = _error(503, "Error" if family == "v1" else "InferenceError")
        content = error["content"] | _content(route.unready)
        if _JSON in route.unready:
            content[_JSON] = {"schema": {"anyOf": [route.unready[_JSON], ref("InferenceError")]}}
        responses["503"] = {"description": "Not every model is loaded.", "content": content}
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary}
    if parameters:
        operation["parameters"] = [{"$ref": f"#/components/parameters/{p}"} for p in parameters]
    if predicts:
        body = {"schema": ref("PredictRequest"), "examples": examples.REQUESTS}
        operation["requestBody"] = {"required": True, "content": {_JSON: body}}
        responses["200"]["content"][_JSON]["examples"] = examples.ANSWERS
    if route.public:
        operation["security"] = []
    return {**operation, "responses": responses}


def _content(schemas: dict[str, Schema]) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}


def _in_path(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", **schema},
    }


def _error(status: int, schema: str) -> dict[str, Any]:
    content = _content(_json(schema))
    if status == 400:
        content |= _content({_TEXT: _STRING})  # said of what is not even HTTP
    response: dict[str, Any] = {"description": _STATUS[status], "content": content}
    if status in _HEADERS:
        name, value = _HEADERS[status]
        response["headers"] = {name: {"required": True, "schema": value}}
    return response
