"""The ASGI application: predictions by a lookup of their path, all else by Starlette's router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import time

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ctr.serve import inference
from ctr.serve.endpoint import Endpoint
from ctr.serve.following import Following
from ctr.serve.hosted import Hosted
from ctr.serve.pages import Pages, refused


class Application:
    """Serves ``hosted`` models (the first is the default one) and keeps each up to date.

    While the application runs (ASGI lifespan), every ``following`` follows its model's updates
    in a thread of its own.
    """

    def __init__(
        self,
        hosted: Sequence[Hosted],
        following: Sequence[Following],
        registry: CollectorRegistry,
        max_body_bytes: int,
        clock: Callable[[], float] = time,
    ) -> None:
        self._following = following
        self._endpoints: dict[str, Endpoint] = {}
        for model in hosted:
            predict = Endpoint(model.answer, model.metrics, max_body_bytes, clock=clock)
            infer = Endpoint(
                partial(inference.infer, model),
                model.metrics,
                max_body_bytes,
                inference.failure,
                clock,
            )
            self._endpoints.setdefault("/v1/predict", predict)
            self._endpoints[f"/v1/models/{model.name}/predict"] = predict
            self._endpoints[f"/v2/models/{model.name}/infer"] = infer
        pages = Pages({model.name: model for model in hosted}, registry, clock)
        self._routes = Starlette(
            routes=pages.routes(),
            exception_handlers={HTTPException: refused},
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await self._routes(scope, receive, send)

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
