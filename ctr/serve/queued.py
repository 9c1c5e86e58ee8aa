"""A pipelined request, which waits for the answers before its own."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from ctr.features.request import RequestError
from ctr.serve.body import has_body
from ctr.serve.endpoint import send_reply
from ctr.serve.limits import Traffic
from ctr.serve.wire import refusal


class Queued:
    """Runs ``app`` when it is its turn; 503 when there are too many already, or when its turn
    comes later than a request may take to arrive.
    """

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app, self._traffic = app, traffic
        self._latest = traffic.now + traffic.settings.request_seconds
        self._counted = traffic.unfinished < traffic.settings.max_requests
        traffic.unfinished += self._counted

    def forget(self) -> None:
        """It will not be called."""
        self._traffic.unfinished -= self._counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.forget()
        traffic = self._traffic
        if not self._counted:
            reason, error = "requests", too_many(traffic)
        elif traffic.now > self._latest:
            seconds = traffic.settings.request_seconds
            wanted = f"begun within serve.request_seconds = {seconds:g}; try again"
            reason, error = "overload", RequestError(503, "request", "a long wait", wanted)
        else:
            await self._app(scope, receive, send)
            return
        traffic.metrics.refused(reason)
        await send_reply(refusal(error), receive, send, has_body(scope))


def too_many(traffic: Traffic) -> RequestError:
    """The error for a request that would have to wait with too many others."""
    most = traffic.settings.max_requests
    wanted = f"one of at most serve.max_requests = {most}; try again"
    return RequestError(503, "request", "one too many", wanted)
