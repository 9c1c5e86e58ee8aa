"""How a fetch response comes off the socket: once, into the memory that it stays in.

kafka-python reads 4096 bytes at a time and copies a response five times before its records can be
looked at. Like ``ctr.stream.fetch`` this is made of private names, which are looked at there.
"""

from __future__ import annotations

import ssl
from typing import Any

import numpy as np
from kafka.errors import KafkaConnectionError
from kafka.net.compat import KafkaNetClient
from kafka.net.transport import KafkaSSLTransport
from kafka.protocol.parser import KafkaProtocol

_LARGE = 1 << 16
_READ_BYTES = 1 << 16
_HEADER_BYTES = 4


class ConsumerClient(KafkaNetClient):  # type: ignore[misc]
    """The consumer's network client, which never makes a topic by asking for it."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        self.cluster.config["allow_auto_create_topics"] = False


class WideClient(ConsumerClient):
    """The same, with ``Responses`` on every connection."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        build = self._manager._build_transport

        async def build_wide(node: Any, timeout_at: float | None = None) -> Any:
            transport = await build(node, timeout_at=timeout_at)
            receive = _receive_tls if isinstance(transport, KafkaSSLTransport) else _receive
            scratch = memoryview(bytearray(_READ_BYTES))
            transport._sock_recv = lambda: receive(transport, scratch)
            return transport

        self._manager._build_transport = build_wide


class Response:
    """The bytes of a response while it comes, and then for its decoder: KafkaBytes' methods.

    What is read of it and is not small is a view of it, not a copy.
    """

    def __init__(self, size: int) -> None:
        self._bytes, self._at = np.empty(size, np.uint8).data, 0

    def __len__(self) -> int:
        return len(self._bytes)

    def rest(self) -> memoryview:
        """What is not filled yet."""
        return self._bytes[self._at :]

    def write(self, data: Any) -> None:
        self._bytes[self._at : self._at + len(data)] = data
        self._at += len(data)

    def read(self, size: int | None = None) -> bytes | memoryview:
        start = self._at
        self._at = min(len(self), len(self) if size is None else start + size)
        part = self._bytes[start : self._at]
        return part if len(part) >= _LARGE else part.tobytes()

    def seek(self, at: int) -> None:
        self._at = at

    def tell(self) -> int:
        return self._at


class Responses(KafkaProtocol):  # type: ignore[misc]
    """The protocol of a connection, with a ``Response`` in place of a KafkaBytes."""

    def receive_bytes(self, data: Any) -> list[tuple[int, Any]]:
        """As KafkaProtocol's: the responses that ``data`` completes."""
        left, responses = memoryview(data), []
        while left:
            if not self._receiving:
                left = self._begin(left)
            if self._receiving:
                size = len(self._rbuffer) - self._rbuffer.tell()
                self._rbuffer.write(left[:size])
                left = left[size:]
                if self._rbuffer.tell() == len(self._rbuffer):
                    self._rbuffer.seek(0)
                    responses.append(self._process_response(self._rbuffer))
                    self._reset_buffer()
        return responses

    def _begin(self, data: memoryview) -> memoryview:
        """Take the size that stands before a response; returns what is left of ``data``."""
        wanted = _HEADER_BYTES - self._header.tell()
        self._header.write(data[:wanted])
        if self._header.tell() == _HEADER_BYTES:
            size = int.from_bytes(self._header, "big", signed=True)
            self._validate_frame_size(size)
            self._rbuffer, self._receiving = Response(size), True
        return data[wanted:]

    def room(self) -> memoryview:
        """Where all but the last byte of a large response may be received; else of no length.

        The last one comes by way of ``receive_bytes``, which then sees that it is complete.
        """
        if not self._receiving or len(self._rbuffer) - self._rbuffer.tell() < _LARGE:
            return memoryview(b"")
        room: memoryview = self._rbuffer.rest()[:-1]
        return room

    def received(self, size: int) -> None:
        """So much of ``room`` was filled."""
        self._rbuffer.seek(self._rbuffer.tell() + size)


def _responses(transport: Any) -> Responses:
    """The protocol of the connection, made one of ours when its first bytes come."""
    parser = transport._protocol.parser
    if not isinstance(parser, Responses):
        parser.__class__ = Responses
    return parser  # type: ignore[no-any-return]


def _receive(transport: Any, scratch: memoryview) -> tuple[memoryview, Exception | None]:
    """What ``_sock_recv`` returns: bytes that came, and the error that ends the connection."""
    responses = _responses(transport)
    room = responses.room()
    try:
        size = transport._sock.recv_into(room or scratch)
    except (BlockingIOError, InterruptedError):
        return scratch[:0], None
    except OSError as error:
        return scratch[:0], KafkaConnectionError(error)
    if size == 0:
        return scratch[:0], KafkaConnectionError("socket disconnected")
    if room:
        responses.received(size)
    return scratch[: 0 if room else size], None


def _receive_tls(transport: Any, scratch: memoryview) -> tuple[bytes, Exception | None]:
    """The same through TLS, whose layer must be emptied: what it holds wakes no selector."""
    responses = _responses(transport)
    parts: list[bytes] = []
    while True:
        room = responses.room() if not parts else b""
        try:
            size = transport._sock.recv_into(room or scratch)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(parts), None
        except OSError as error:
            return b"".join(parts), KafkaConnectionError(error)
        if size == 0:
            return b"".join(parts), KafkaConnectionError("socket disconnected")
        if room:
            responses.received(size)
        else:
            parts.append(bytes(scratch[:size]))
