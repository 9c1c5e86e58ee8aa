"""The hot path: a request's body -> its answer, before any router or request object."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter, time

from starlette.types import Receive, Scope, Send

from ctr.features.request import RequestError
from ctr.observe.server import ModelMetrics
from ctr.serve import answers
from ctr.serve.answers import Answer
from ctr.serve.body import Disconnected, discard, has_body, read
from ctr.serve.wire import CLOSE, Reply

log = logging.getLogger(__name__)

FAULT = RequestError(500, "server", "a fault", "without one; its log says more")

Work = Callable[[Scope, bytes, int], Answer]
"""A request's ASGI scope, its body and the time of its receipt (ms) -> the answer."""

Failure = Callable[[RequestError], tuple[int, bytes]]
"""What is wrong with a request -> status and body of the answer."""


def plain_failure(failure: RequestError) -> tuple[int, bytes]:
    """The status that the error carries, and what, where and wanted as JSON."""
    return failure.status, answers.error(failure)


class Endpoint:
    """POST a body, get ``work``'s answer; counted and timed in ``metrics``.

    ``work`` runs to its end in the event loop's thread. It is the one place where requests and
    updates of the model meet, and there they take turns: no lock, and no answer from two
    versions. An endpoint is an ASGI application; ``ctr.serve.protocol`` calls ``answer`` itself
    for a request that needs nothing of that.

    ``inflates`` has compressed bodies read (gzip, deflate), which are refused otherwise.
    """

    def __init__(
        self,
        work: Work,
        metrics: ModelMetrics,
        max_body_bytes: int,
        failure: Failure = plain_failure,
        clock: Callable[[], float] = time,
        inflates: bool = False,
    ) -> None:
        self._work, self._metrics, self.max_body_bytes = work, metrics, max_body_bytes
        self._failure, self._clock, self._inflates = failure, clock, inflates

    def answer(self, scope: Scope, body: bytes, started: float) -> Reply:
        """The answer to a whole body, whatever happens; ``started`` by ``perf_counter``."""
        try:
            answer = self._work(scope, body, int(self._clock() * 1000))
        except RequestError as error:
            return self._refusal(error, started)
        except Exception:  # whatever it is: logged, counted and answered like any other
            log.exception("a request failed")
            return self._refusal(FAULT, started)
        self._metrics.answered(200, answer.predictions, perf_counter() - started)
        return Reply(200, answer.headers, answer.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        unread = False
        try:
            if scope["method"] != "POST":
                raise RequestError(405, "method", scope["method"], "POST")
            body = await read(scope, receive, self.max_body_bytes, self._inflates)
        except RequestError as error:
            reply, unread = self._refusal(error, started), has_body(scope)
        except Disconnected:
            return
        else:
            reply = self.answer(scope, body, started)
        await send_reply(reply, receive, send, unread)

    def _refusal(self, error: RequestError, started: float) -> Reply:
        status, body = self._failure(error)
        self._metrics.answered(status, 0, perf_counter() - started)
        return Reply(status, answers.headers(status), body)


async def send_reply(reply: Reply, receive: Receive, send: Send, unread: bool) -> None:
    """Send a reply by ASGI; with a body ``unread`` the connection is closed, but not at once."""
    status, headers, body = reply
    listed = [*headers, (b"content-length", b"%d" % len(body))]
    if unread:
        listed.append(CLOSE)
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body, "more_body": unread})
    if unread:
        await discard(receive)
        await send({"type": "http.response.body", "body": b""})
