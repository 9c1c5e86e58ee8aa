"""Every route but the predictions: health, status, metadata, metrics, the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ctr import __version__
from ctr.features.request import RequestError
from ctr.observe.dashboard import PAGE
from ctr.serve import answers, inference
from ctr.serve.hosted import Hosted


class Pages:
    """The handlers; ``hosted`` are the models by name, the first one the default."""

    def __init__(
        self,
        hosted: Mapping[str, Hosted],
        registry: CollectorRegistry,
        clock: Callable[[], float],
    ) -> None:
        self._hosted, self._registry, self._clock = hosted, registry, clock
        self._started = clock()

    def routes(self) -> list[Route]:
        """What the router routes; predictions come here only when there is no such model."""
        model = "/models/{name}"
        return [
            Route("/", self.dashboard),
            Route("/metrics", self.metrics),
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Route("/v1/status", self.status),
            Route("/v1/models", self.models),
            Route(f"/v1{model}", self.model),
            Route(f"/v1{model}/predict", self.model, methods=["POST"]),
            Route("/v2", self.v2_server),
            Route("/v2/health/live", self.v2_live),
            Route("/v2/health/ready", self.v2_ready),
            Route(f"/v2{model}", self.v2_model),
            Route(f"/v2{model}/ready", self.v2_model_ready),
            Route(f"/v2{model}/infer", self.v2_model, methods=["POST"]),
        ]

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
                "models": [hosted.status(now) for hosted in self._hosted.values()],
            }
        )

    async def models(self, request: Request) -> Response:
        found = [hosted.summary() for hosted in self._hosted.values()]
        return _json({"default": next(iter(self._hosted)), "models": found})

    async def model(self, request: Request) -> Response:
        return _json(self._find(request).status(self._clock()))

    async def v2_server(self, request: Request) -> Response:
        return _json(inference.SERVER)

    async def v2_live(self, request: Request) -> Response:
        return _json({"live": True})

    async def v2_ready(self, request: Request) -> Response:
        ready = not self._missing()
        return _json({"ready": ready, "live": True}, 200 if ready else 503)

    async def v2_model(self, request: Request) -> Response:
        return _json(inference.metadata(self._find(request).name))

    async def v2_model_ready(self, request: Request) -> Response:
        hosted = self._find(request)
        ready = hosted.served is not None
        return _json({"name": hosted.name, "ready": ready}, 200 if ready else 503)

    def _missing(self) -> list[str]:
        return [name for name, hosted in self._hosted.items() if hosted.served is None]

    def _find(self, request: Request) -> Hosted:
        name = request.path_params["name"]
        found = self._hosted.get(name)
        if found is None:
            raise HTTPException(404, f"one of {answers.names(self._hosted)}", {"got": name})
        return found


async def refused(request: Request, error: Exception) -> Response:
    """404 and 405 in the words of every other error."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    headers = dict(error.headers or {})
    if "got" in headers:
        said = RequestError(404, "model", headers.pop("got"), error.detail)
    elif error.status_code == 405:
        said = RequestError(405, "method", request.method, headers.get("Allow", "another"))
    else:
        said = RequestError(error.status_code, "path", path, "a route of this server")
    if path.startswith("/v2"):
        body = inference.failure(said)[1]
    else:
        body = answers.error(said)
    return Response(body, error.status_code, headers, "application/json")


def _json(value: Any, status: int = 200) -> Response:
    return Response(answers.encode(value), status, media_type="application/json")
