"""Every route but the predictions: health, status, metadata, metrics, the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ctr import __version__
from ctr.features.request import RequestError
from ctr.model import gate
from ctr.observe.dashboard import PAGE
from ctr.serve import answers, inference, openapi
from ctr.serve.hosted import Hosted
from ctr.settings import Serve


class Refused(HTTPException):
    """What a page cannot answer, in the words of every other error."""

    def __init__(self, said: RequestError) -> None:
        super().__init__(said.status)
        self.said = said


class Pages:
    """The handlers; ``hosted`` are the models by name, the first one the default. ``settings``
    are the limits that the API's description tells.
    """

    def __init__(
        self,
        hosted: Mapping[str, Hosted],
        registry: CollectorRegistry,
        clock: Callable[[], float],
        settings: Serve | None = None,
    ) -> None:
        self._hosted, self._registry, self._clock = hosted, registry, clock
        self._settings = settings or Serve()
        self._started = clock()

    def routes(self, admin: bool | None = None) -> list[Route]:
        """What the router routes: all of it, or the part of the admin address, or the rest.

        Both parts have the health routes, the list of models and a description of what they
        have themselves. Predictions come here only when there is no such model.
        """
        found: list[Route] = []
        if admin is not False:
            found += self._operation()
        if admin is not True:
            found += self._prediction()
        found += [
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Route("/v1/models", self.models),
        ]
        paths = [route.path for route in found] + [openapi.PATH]
        if admin is not True:
            paths.append("/v1/predict")
        described = openapi.document(paths, list(self._hosted), self._settings)

        async def description(request: Request) -> Response:
            return _json(described)

        return [*found, Route(openapi.PATH, description)]

    def _operation(self) -> list[Route]:
        return [
            Route("/", self.dashboard),
            Route("/metrics", self.metrics),
            Route("/v1/status", self.status),
            Route("/v1/models/{name}", self.model),
        ]

    def _prediction(self) -> list[Route]:
        routes = [
            Route("/v1/models/{name}/predict", self.unknown, methods=["POST"]),
            Route("/v2", self.v2_server),
            Route("/v2/health/live", self.v2_live),
            Route("/v2/health/ready", self.v2_ready),
            Route("/v2/repository/index", self.v2_index, methods=["POST"]),
        ]
        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            routes += [
                Route(model, self.v2_model),
                Route(f"{model}/ready", self.v2_model_ready),
                Route(f"{model}/config", self.v2_model_config),
                Route(f"{model}/infer", self.unknown, methods=["POST"]),
            ]
        return routes

    async def dashboard(self, request: Request) -> Response:
        return Response(PAGE, media_type="text/html")

    async def metrics(self, request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), headers={"content-type": kind})

    async def live(self, request: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def ready(self, request: Request) -> Response:
        missing = self._missing()
        if missing:
            return Response(f"no model yet: {', '.join(missing)}\n", 503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    async def status(self, request: Request) -> Response:
        now = self._clock()
        return _json(
            {
                "version": __version__,
                "uptime_seconds": now - self._started,
                "models": [_status(hosted, now) for hosted in self._hosted.values()],
            }
        )

    async def models(self, request: Request) -> Response:
        found = [hosted.summary() | _gate(hosted) for hosted in self._hosted.values()]
        return _json({"default": next(iter(self._hosted)), "models": found})

    async def model(self, request: Request) -> Response:
        return _json(_status(self._find(request), self._clock()))

    async def unknown(self, request: Request) -> Response:
        """A prediction that no model's own route has taken."""
        self._find(request)
        raise Refused(_no_route(request))

    async def v2_server(self, request: Request) -> Response:
        return _json(inference.SERVER)

    async def v2_live(self, request: Request) -> Response:
        return _json({"live": True})

    async def v2_ready(self, request: Request) -> Response:
        ready = not self._missing()
        return _json({"ready": ready, "live": True}, 200 if ready else 503)

    async def v2_index(self, request: Request) -> Response:
        return _json([inference.index(hosted) for hosted in self._hosted.values()])

    async def v2_model(self, request: Request) -> Response:
        return _json(inference.metadata(self._find(request)))

    async def v2_model_config(self, request: Request) -> Response:
        return _json(inference.configuration(self._find(request)))

    async def v2_model_ready(self, request: Request) -> Response:
        hosted = self._find(request)
        ready = hosted.served is not None
        return _json({"name": hosted.name, "ready": ready}, 200 if ready else 503)

    def _missing(self) -> list[str]:
        return [name for name, hosted in self._hosted.items() if hosted.served is None]

    def _find(self, request: Request) -> Hosted:
        """The model of the path, in the version of the path when that has one."""
        name = request.path_params["name"]
        found = self._hosted.get(name)
        if found is None:
            wanted = f"one of {answers.names(self._hosted)}"
            raise Refused(RequestError(404, "model", name, wanted))
        try:
            inference.check_version(found, request.path_params.get("version"))
        except RequestError as error:
            raise Refused(error) from None
        return found


async def refused(request: Request, error: Exception) -> Response:
    """404 and 405 in the words of every other error."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if isinstance(error, Refused):
        said = error.said
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
        said = RequestError(405, "method", request.method, headers["Allow"])
    else:
        said = _no_route(request)
    if request.url.path.startswith("/v2"):
        body = inference.failure(said)[1]
    else:
        body = answers.error(said)
    return Response(body, error.status_code, headers, "application/json")


def _status(hosted: Hosted, now: float) -> dict[str, Any]:
    """All there is to say of a model, with its gate and its watchers where it has them."""
    watching = {watcher.role: watcher.status() for watcher in hosted.watchers}
    return hosted.status(now) | _gate(hosted) | watching


def _gate(hosted: Hosted) -> dict[str, Any]:
    """What the version says of the gate that let it out."""
    said = gate.status_in(hosted.served.manifest) if hosted.served else None
    return {} if said is None else {"gate": msgspec.to_builtins(said)}


def _no_route(request: Request) -> RequestError:
    return RequestError(404, "path", request.url.path, "a route of this server")


def _json(value: Any, status: int = 200) -> Response:
    return Response(answers.encode(value), status, media_type="application/json")
