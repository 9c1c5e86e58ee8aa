"""Clients that do not behave, on bare sockets: the server answers what it can and lives on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest

from .conftest import LIMITS
from .running import Running

BODY = b'{"events":[{"features":{"user":"u1"}}]}'
PREDICT = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\n"


@contextmanager
def connection(server: Running) -> Iterator[tuple[socket.socket, BinaryIO]]:
    with (
        socket.create_connection(server.address, timeout=10) as opened,
        opened.makefile("rb") as reader,
    ):
        yield opened, reader


def read_answer(reader: BinaryIO) -> tuple[int, bytes]:
    """Status and body of one answer."""
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return status, reader.read(length)


def predicts(server: Running) -> bool:
    return server.predict({"events": [{"features": {}}]}).status_code == 200


def whole_request(body: bytes = BODY) -> bytes:
    return PREDICT + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    with connection(server) as (opened, reader):
        opened.sendall(whole_request() + whole_request(b"?") + whole_request())
        answers = [read_answer(reader) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 422, 200]
    assert answers[0] == answers[2]


def test_a_request_may_come_byte_by_byte(server: Running) -> None:
    with connection(server) as (opened, reader):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in whole_request():
            opened.sendall(bytes([byte]))
        assert read_answer(reader)[0] == 200


def test_chunks_are_put_together(server: Running) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (BODY[:7], BODY[7:30], BODY[30:]))
    with connection(server) as (opened, reader):
        opened.sendall(PREDICT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        status, chunked = read_answer(reader)
        opened.sendall(whole_request())
        assert (status, chunked) == read_answer(reader)


def test_a_large_body_is_refused_before_it_is_sent(server: Running) -> None:
    size = LIMITS.max_body_bytes + 1
    with connection(server) as (opened, reader):
        opened.sendall(PREDICT + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size)
        status, body = read_answer(reader)
        assert status == 413
        assert b'"path":"body"' in body


def test_who_sends_a_large_body_all_the_same_gets_the_answer(server: Running) -> None:
    size = 20 * LIMITS.max_body_bytes
    with connection(server) as (opened, reader):
        opened.sendall(PREDICT + b"Content-Length: %d\r\n\r\n" % size)
        opened.sendall(b" " * size)
        assert read_answer(reader)[0] == 413
        assert reader.read() == b""  # and is then closed
    assert predicts(server)


def test_the_connection_goes_on_after_too_many_rows(server: Running) -> None:
    many = b'{"events":[' + b",".join([b"{}"] * (LIMITS.max_rows + 1)) + b"]}"
    with connection(server) as (opened, reader):
        opened.sendall(whole_request(many) + whole_request())
        assert [read_answer(reader)[0] for _ in range(2)] == [413, 200]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        PREDICT + b"Content-Length: many\r\n\r\n",
        PREDICT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        PREDICT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        PREDICT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        PREDICT + b"Content-Length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/9.9\r\n\r\n",
        b"GET http://[::bad HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        PREDICT + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=range(12),
)
def test_garbage_is_refused(server: Running, garbage: bytes) -> None:
    with connection(server) as (opened, reader):
        opened.sendall(garbage)
        opened.shutdown(socket.SHUT_WR)
        answer = reader.read()
    assert answer == b"" or answer.split()[1] in (b"400", b"404", b"411", b"422", b"500")
    assert predicts(server)


def test_clients_that_leave_in_the_middle_are_forgotten(server: Running) -> None:
    before = server.metric("ctr_request_duration_seconds_count")
    for part in (b"POST", PREDICT, PREDICT + b"Content-Length: 500\r\n\r\n" + BODY):
        for _ in range(20):
            with connection(server) as (opened, _reader):
                opened.sendall(part)
    with connection(server) as (opened, _reader):  # one that is reset, not closed
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        opened.sendall(PREDICT + b"Content-Length: 500\r\n\r\n" + BODY)
    assert predicts(server)
    assert server.metric("ctr_request_duration_seconds_count") == (before or 0) + 1
