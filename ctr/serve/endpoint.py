"""The hot path: a bare ASGI endpoint, before any router or request object."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter, time

from starlette.types import Receive, Scope, Send

from ctr.features.request import RequestError
from ctr.observe.server import ModelMetrics
from ctr.serve import answers
from ctr.serve.body import Disconnected, TooLarge, discard, read

log = logging.getLogger(__name__)

FAULT = RequestError(500, "server", "a fault", "without one; its log says more")

Work = Callable[[bytes, int], tuple[bytes, int]]
"""A request's body and the time of its receipt (ms) -> the answer and how many predictions."""

Failure = Callable[[RequestError], tuple[int, bytes]]
"""What is wrong with a request -> status and body of the answer."""


def plain_failure(failure: RequestError) -> tuple[int, bytes]:
    """The status that the error carries, and what, where and wanted as JSON."""
    return failure.status, answers.error(failure)


class Endpoint:
    """POST a body, get ``work``'s answer; counted and timed in ``metrics``.

    ``work`` runs to its end in the event loop's thread. It is the one place where requests and
    updates of the model meet, and there they take turns: no lock, and no answer from two
    versions.
    """

    def __init__(
        self,
        work: Work,
        metrics: ModelMetrics,
        max_body_bytes: int,
        failure: Failure = plain_failure,
        clock: Callable[[], float] = time,
    ) -> None:
        self._work, self._metrics, self._limit = work, metrics, max_body_bytes
        self._failure, self._clock = failure, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        predictions, unread = 0, False
        try:
            if scope["method"] != "POST":
                raise RequestError(405, "method", scope["method"], "POST")
            body = await read(scope, receive, self._limit)
            answer, predictions = self._work(body, int(self._clock() * 1000))
            status = 200
        except RequestError as error:
            status, answer = self._failure(error)
            unread = isinstance(error, TooLarge)
        except Disconnected:
            return
        except Exception:  # whatever it is: logged, counted and answered like any other
            log.exception("a request failed")
            status, answer = self._failure(FAULT)
        headers = answers.headers(status, answer)
        if unread:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": unread})
        self._metrics.answered(status, predictions, perf_counter() - started)
        if unread:
            await discard(receive)
            await send({"type": "http.response.body", "body": b""})
