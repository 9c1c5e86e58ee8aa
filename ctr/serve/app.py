"""The ASGI applications: predictions by a lookup of their path, all else by Starlette's router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import time
from typing import Protocol

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from ctr.serve import answers, inference
from ctr.serve.body import has_body
from ctr.serve.endpoint import FAULT, Endpoint, plain_failure, send_reply
from ctr.serve.hosted import Hosted
from ctr.serve.keys import Keys
from ctr.serve.pages import Pages, refused
from ctr.serve.wire import Reply
from ctr.settings import Serve

OPEN = frozenset(("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"))
"""What answers without an API key: those who ask are the platform's probes."""

_VERSIONS = "/versions/"
_INFER = "/infer"


class Background(Protocol):
    """What runs for as long as the application, as ``Following`` does."""

    def start(self, loop: asyncio.AbstractEventLoop, /) -> None: ...

    def stop(self) -> None: ...


class Application:
    """Serves ``hosted`` models (the first is the default one) and keeps each up to date.

    While the application runs (ASGI lifespan), every ``following`` brings its model's updates.
    With an admin address (``settings.admin_port``), what that has is not here. With ``keys`` all
    but the health routes wants one of them.
    """

    def __init__(
        self,
        hosted: Sequence[Hosted],
        following: Sequence[Background],
        registry: CollectorRegistry,
        settings: Serve,
        clock: Callable[[], float] = time,
        keys: Keys | None = None,
    ) -> None:
        self._following, self._keys = following, keys
        self._endpoints: dict[str, Endpoint] = {}
        limit = settings.max_body_bytes
        for model in hosted:
            predict = Endpoint(model.guarded(model.answer), model.metrics, limit, clock=clock)
            work = model.guarded(partial(inference.infer, model))
            infer = Endpoint(work, model.metrics, limit, inference.failure, clock, inflates=True)
            self._endpoints.setdefault("/v1/predict", predict)
            self._endpoints[f"/v1/models/{model.name}/predict"] = predict
            self._endpoints[f"/v2/models/{model.name}{_INFER}"] = infer
        pages = Pages({model.name: model for model in hosted}, registry, clock, settings)
        admin = None if settings.admin_port < 0 else False
        self._routes = _router(pages, admin, self._lifespan)

    @property
    def endpoints(self) -> dict[bytes, Endpoint]:
        """The predictions by their paths, for ``ctr.serve.protocol``."""
        return {path.encode(): endpoint for path, endpoint in self._endpoints.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if self._keys is not None and not await admitted(self._keys, scope, receive, send):
                return
            endpoint = self._endpoints.get(path) or self._of_a_version(path, scope)
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await self._routes(scope, receive, send)

    def _of_a_version(self, path: str, scope: Scope) -> Endpoint | None:
        """``/v2/models/NAME/versions/VERSION/infer``: the same, if that version is served."""
        before, found, version = path.removesuffix(_INFER).partition(_VERSIONS)
        if not found or not path.endswith(_INFER) or "/" in version:
            return None
        scope["path_params"] = {"version": version}
        return self._endpoints.get(before + _INFER)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        for following in self._following:
            following.start(loop)
        try:
            yield
        finally:
            for following in self._following:
                await loop.run_in_executor(None, following.stop)


class AdminApplication:
    """What only operators are to see, for an address of its own: metrics, dashboard, status."""

    def __init__(
        self,
        hosted: Sequence[Hosted],
        registry: CollectorRegistry,
        settings: Serve,
        clock: Callable[[], float] = time,
        keys: Keys | None = None,
    ) -> None:
        self._keys = keys
        pages = Pages({model.name: model for model in hosted}, registry, clock, settings)
        self._routes = _router(pages, True, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and self._keys is not None
            and not await admitted(self._keys, scope, receive, send)
        ):
            return
        await self._routes(scope, receive, send)


async def admitted(keys: Keys, scope: Scope, receive: Receive, send: Send) -> bool:
    """Whether a request may go on; one that may not is answered with 401."""
    if scope["path"] in OPEN or keys.admit(scope["headers"]):
        return True
    failure = inference.failure if scope["path"].startswith("/v2") else plain_failure
    status, body = failure(keys.refusal(scope["headers"]))
    await send_reply(Reply(status, answers.headers(status), body), receive, send, has_body(scope))
    return False


def _router(pages: Pages, admin: bool | None, lifespan: Lifespan[Starlette] | None) -> ASGIApp:
    handlers = {HTTPException: refused, Exception: _fault}
    app = Starlette(routes=pages.routes(admin), exception_handlers=handlers, lifespan=lifespan)
    # a redirect would be to whatever the request's Host header says
    app.router.redirect_slashes = False
    return app


async def _fault(request: Request, error: Exception) -> Response:
    """Whatever a page did wrong; uvicorn logs it."""
    status, body = plain_failure(FAULT)
    return Response(body, status, media_type="application/json")
