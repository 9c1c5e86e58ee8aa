"""HTTP/1.1 as uvicorn speaks it, made safe against clients that do not behave.

uvicorn (with httptools) reads requests and runs the ASGI application. What it leaves to proxies is
added here: limits of heads and of time, of connections and of unfinished requests, and errors in
the words of all others, in their turn. A request that comes whole with one read pays for none of
it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sized
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ctr.features.request import RequestError
from ctr.serve.endpoint import FAULT
from ctr.serve.limits import MAX_HEAD_BYTES, MAX_URL_BYTES, Traffic
from ctr.serve.queued import Queued, too_many
from ctr.serve.wire import Wire, refusal

_UPGRADING = frozenset((b"upgrade", b"connection", b"http2-settings"))

log = logging.getLogger(__name__)


class _Flow(FlowControl):
    """Reads nothing more while requests wait for their turn: uvicorn reads on with each answer,
    and so holds as many requests as a client cares to send.
    """

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()


class LimitedConnection(HttpToolsProtocol):
    """One connection of a ``traffic``. A subclass keeps ``_begun``, ``_size`` and ``_own`` up to
    date with what the parser finds, and calls ``_arrived`` when a request is whole.
    """

    traffic: Traffic
    wire: Wire

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.active = self.traffic.now
        # the request that arrives
        self._begun = False  # and is not whole
        self._size = -1  # bytes of its body so far; -1 before that
        self._own = False  # ``cycle`` is its
        self._first = True  # the first of this read
        self._read_bytes = 0
        # while it is waited for
        self._timed = False  # there is a deadline
        self._waiting = False  # it came with several reads
        self._size_before = self._quiet = self._held = 0
        self._running: RequestResponseCycle | None = None  # the one to be answered first
        # the end
        self._refused = False  # whatever still comes is thrown away
        self._farewell = b""  # the refusal, while answers before it are to be sent
        self._ended = False  # the client will send no more
        self._closing = False  # the server stops

    # ---- the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.flow = _Flow(self.transport, self.pipeline)
        self._timed = self.traffic.enter(self, self.loop)
        if not self._timed:
            most = self.traffic.settings.max_connections
            wanted = f"one of at most serve.max_connections = {most}; try again"
            self._refuse(RequestError(503, "connection", "one too many", wanted), "connections")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._running is not None:
            self._running.disconnected = True  # uvicorn says so to the newest only
        super().connection_lost(exc)
        self._arrived()
        while self.pipeline:
            self._forget()
        self.traffic.leave(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._first = True
        self._read_bytes = len(data)
        rest = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._refuse(_meaning(error), "malformed")
            return
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        if rest is not None:
            self._read_on(rest)
        elif self._begun:
            self._wait(len(data))

    def eof_received(self) -> bool | None:  # type: ignore[override]
        keep_open = self.transport.can_write_eof()
        if self._own and self.cycle.response_started:
            return False  # what was not to be read will not come
        if self._begun and not self._refused:
            wanted = "whole before the connection's end"
            self._refuse(RequestError(400, "request", "a part of it", wanted), "incomplete")
        if self._refused:
            return bool(self._farewell) and keep_open
        self._ended = True
        return not self._answered and keep_open

    def pause_writing(self) -> None:
        super().pause_writing()
        self.traffic.stalled.add(self, self.traffic.now)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.traffic.stalled.discard(self)

    def shutdown(self) -> None:
        """The server stops: what has begun is answered first."""
        self._closing = True
        if not self._begun:
            super().shutdown()
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        # in place of uvicorn's: no timer is set after each answer, the sweep does without
        self.server_state.total_requests += 1
        self.active = self.traffic.now
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._running = cycle
            task = self.loop.create_task(cycle.run_asgi(app))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)
            self.flow.resume_reading()
        elif self._farewell:
            self._leave(self._farewell)
        elif self._ended:
            self.transport.close()
        else:
            self.flow.resume_reading()

    def _read_on(self, rest: bytes) -> None:
        """An upgrade is asked for and not given (RFC 9110, 7.8): read the request without it."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            error = RequestError(400, "method", "CONNECT", "one of a server, not of a proxy")
            self._refuse(error, "malformed")
            return
        version = self.parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        head += [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] not in _UPGRADING]
        if not self.parser.should_keep_alive():
            head.append(b"connection: close\r\n")
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join((*head, b"\r\n", rest)))

    # ---- the traffic calls

    @property
    def idle(self) -> bool:
        """Whether nothing is asked and nothing to be answered."""
        return not self._begun and self._answered

    def late(self) -> None:
        """The time to send a whole request is up."""
        self._timed = False
        if self.flow.read_paused and not self._answered:
            self._time()  # it is we who keep the client waiting
        elif self._begun:
            seconds = self.traffic.settings.request_seconds
            wanted = f"whole within serve.request_seconds = {seconds:g}"
            self._refuse(RequestError(408, "request", "a part of it", wanted), "slow")
        else:
            self.traffic.metrics.refused("silent")
            self.drop()

    def stuck(self) -> None:
        """The time to take the answer is up."""
        self.traffic.metrics.refused("unread")
        self.transport.abort()

    def drop(self) -> None:
        """End it, whatever there is still to send."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    # ---- waiting for the rest of a request

    def _wait(self, count: int) -> None:
        """A request has begun and is not whole after a read of ``count`` bytes."""
        traffic = self.traffic
        if not self._waiting:
            self._waiting = True
            self._size_before, self._quiet = self._size, 0
            traffic.unfinished += 1
            self._time()
            if traffic.unfinished > traffic.settings.max_requests:
                self._refuse(too_many(traffic), "requests")
                return
        elif self._size != self._size_before:
            self._size_before, self._quiet = self._size, 0
        else:
            # a head, or what surrounds chunks: nothing that anybody needs much of
            self._quiet += count
            if self._quiet > MAX_HEAD_BYTES:
                self._refuse(self._too_long(), "malformed")
                return
        if not self._own or not self.cycle.response_started:
            held = max(self._size, 0)
            traffic.held_bytes += held - self._held
            self._held = held
            if traffic.held_bytes > traffic.most_held:
                wanted = f"within {traffic.most_held} bytes of unfinished requests; try again"
                error = RequestError(503, "request", f"{traffic.held_bytes} bytes", wanted)
                self._refuse(error, "requests")

    def _too_long(self) -> RequestError:
        if self._size >= 0:
            wanted = f"a body with at most {MAX_HEAD_BYTES} bytes around a chunk"
            return RequestError(400, "request", "more", wanted)
        if len(self.url) > MAX_URL_BYTES:
            return RequestError(414, "url", "more", f"at most {MAX_URL_BYTES} bytes")
        return RequestError(431, "headers", "more", f"at most {MAX_HEAD_BYTES} bytes")

    def _time(self) -> None:
        self._timed = True
        self.traffic.arriving.add(self, self.traffic.now)

    def _arrived(self) -> None:
        """The request is whole, or nothing more is expected of it."""
        if self._timed:
            self._timed = False
            self.traffic.arriving.discard(self)
        if self._waiting:
            self._waiting = False
            self.traffic.unfinished -= 1
            self.traffic.held_bytes -= self._held
            self._held = 0

    # ---- refusing

    @property
    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, error: RequestError, reason: str) -> None:
        """Read no more, answer with ``error`` when all before is answered, and close."""
        self._refused = True
        self._arrived()
        self.traffic.metrics.refused(reason)
        common = self.server_state.default_headers
        farewell = self.wire.encoded(refusal(error), common, close=True)
        cycle = self.cycle
        if self._answered:
            if self._own:
                self.transport.close()  # this one is answered too, only its body was not read
            else:
                self._leave(farewell)
        elif not self._own:
            self._farewell = farewell
        elif self.pipeline and self.pipeline[0][0] is cycle:
            self._forget()
            self._farewell = farewell
        elif cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected, cycle.waiting_for_100_continue = True, False
            cycle.message_event.set()
            self._leave(farewell)

    def _forget(self) -> None:
        """Drop the newest of the requests that wait for their turn."""
        _, app = self.pipeline.popleft()
        if isinstance(app, Queued):
            app.forget()

    def _leave(self, farewell: bytes) -> None:
        """Say the last, then let the client go on for a little, so that it gets to read it."""
        if self.traffic.overcrowded:
            self.transport.abort()
            return
        self.traffic.open.discard(self)
        self.traffic.lingering.add(self, self.traffic.now)
        self.transport.write(farewell)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()


def _meaning(error: httptools.HttpParserError) -> RequestError:
    """What the parser, or a method that it called, found wrong."""
    cause = error.__context__
    if isinstance(cause, RequestError):
        return cause
    if cause is None or isinstance(cause, httptools.HttpParserError | UnicodeError):
        return RequestError(400, "request", str(cause or error), "HTTP/1.1 (RFC 9112)")
    log.error("a request could not be read", exc_info=cause)
    return FAULT
