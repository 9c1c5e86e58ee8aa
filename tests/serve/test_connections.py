"""All that HTTP/1.1 allows a client to do with a connection, on bare sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from .conftest import LIMITS
from .raw import BODY, PREDICT, connected, whole_request
from .running import Feed, Running, random_model, running, whole

INFER = b'{"inputs":[{"name":"events","datatype":"BYTES","shape":[1],"data":["{}"]}]}'


def predicts(server: Running) -> bool:
    return server.predict({"events": [{"features": {}}]}).status_code == 200


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    with connected(server) as client:
        client.send(whole_request() + whole_request(b"?") + whole_request())
        answers = [client.answer() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 422, 200]
    assert answers[0].body == answers[2].body


def test_a_request_may_come_byte_by_byte(server: Running) -> None:
    with connected(server) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in (whole_request(), whole_request()):
            for byte in request:
                client.send(bytes([byte]))
            assert client.answer().status == 200


@pytest.mark.parametrize("size", [1, 64_000, 99_000])
def test_bodies_of_many_reads_are_whole(server: Running, size: int) -> None:
    body = b'{"events":[{"features":{"user":"u1"}}]%b}' % (b" " * size)
    with connected(server) as client:
        client.send(whole_request())
        expected = client.answer().body
        for part in (1000, 30_000, 99_000):
            request = whole_request(body)
            for i in range(0, len(request), part):
                client.send(request[i : i + part])
            assert client.answer().body == expected


def test_chunks_are_put_together(server: Running) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (BODY[:7], BODY[7:30], BODY[30:]))
    with connected(server) as client:
        client.send(PREDICT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        chunked = client.answer()
        client.send(whole_request())
        plain = client.answer()
        assert (chunked.status, chunked.body) == (plain.status, plain.body)


def test_trailers_are_nobodys(server: Running) -> None:
    chunk = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    trailers = b"Content-Encoding: gzip\r\nAuthorization: Bearer x\r\n"
    with connected(server) as client:
        client.send(PREDICT + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        client.send(b"0\r\n" + trailers + b"\r\n" + whole_request())
        assert [client.answer().status for _ in range(2)] == [200, 200]


def test_a_body_may_wait_to_be_asked_for(server: Running) -> None:
    head = whole_request(BODY, b"Expect: 100-continue").removesuffix(BODY)
    with connected(server) as client:
        for _ in range(2):
            client.send(head)
            assert client.answer().status == 100
            client.send(BODY)
            assert client.answer().status == 200


def test_a_large_body_is_refused_before_it_is_sent(server: Running) -> None:
    size = LIMITS.max_body_bytes + 1
    with connected(server) as client:
        client.send(PREDICT + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size)
        answer = client.answer()
        assert (answer.status, answer.error()["path"]) == (413, "body")


def test_who_sends_a_large_body_all_the_same_gets_the_answer(server: Running) -> None:
    size = 20 * LIMITS.max_body_bytes
    with connected(server) as client:
        client.send(PREDICT + b"Content-Length: %d\r\n\r\n" % size)
        client.send(b" " * size)
        assert client.answer().status == 413
        assert client.rest() == b""  # and is then closed
    assert predicts(server)


def test_the_connection_goes_on_after_too_many_rows(server: Running) -> None:
    many = b'{"events":[' + b",".join([b"{}"] * (LIMITS.max_rows + 1)) + b"]}"
    with connected(server) as client:
        client.send(whole_request(many) + whole_request())
        assert [client.answer().status for _ in range(2)] == [413, 200]


@pytest.mark.parametrize(
    "upgrade",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    ],
    ids=["http 2", "websocket"],
)
def test_an_upgrade_is_not_given_and_the_request_answered(
    server: Running, upgrade: tuple[bytes, ...]
) -> None:
    request = whole_request(BODY, *upgrade)
    with connected(server) as client:
        client.send(whole_request())
        expected = client.answer().body
        client.send(request)  # as Java's client sends its first one
        assert client.answer().body == expected
        client.send(request[:-20])
        client.send(request[-20:] + request + whole_request())
        assert [client.answer().body for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1\r\n", True),
        (b"HTTP/1.1\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1\r\nConnection: close\r\n", False),
        (b"HTTP/1.0\r\n", False),
        (b"HTTP/1.0\r\nConnection: keep-alive\r\n", False),
    ],
)
def test_connections_are_kept_as_the_client_says(server: Running, head: bytes, kept: bool) -> None:
    length = b"Content-Length: %d\r\n\r\n" % len(BODY)
    with connected(server) as client:
        client.send(b"POST /v1/predict " + head + length + BODY)
        answer = client.answer()
        assert answer.status == 200
        assert answer.headers.get("connection") == (None if kept else "close")
        if kept:
            client.send(whole_request())
            assert client.answer().status == 200
        else:
            assert client.rest() == b""


def test_every_way_to_the_same_answer(server: Running) -> None:
    """The short way of a usual request, and uvicorn's, by which all others go."""
    ways = [
        whole_request(),
        whole_request(BODY, b"Connection: close"),
        whole_request(BODY, b"Expect: none"),
        whole_request().replace(b"/v1/predict", b"/v1/models/clicks/predict"),
        whole_request().replace(b"/v1/predict", b"/v1/predict?a=b"),
        whole_request().replace(b"/v1/predict", b"/v1/%70redict"),
        whole_request().replace(b"/v1/predict", b"http://example.org/v1/predict"),
    ]
    bodies = set()
    for way in ways:
        with connected(server) as client:
            client.send(way)
            answer = client.answer()
            assert answer.headers["content-type"] == "application/json"
            assert "date" in answer.headers
            bodies.add(answer.body)
    assert len(bodies) == 1


def test_versions_of_a_model_may_be_asked_for(server: Running) -> None:
    url = "/v2/models/clicks/versions/{}/infer"
    for version, status in ((7, 200), (6, 404), ("", 404), ("7/7", 404)):
        answer = server.http.post(url.format(version), content=INFER)
        assert answer.status_code == status


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_bodies_are_read_by_the_protocol_that_has_them(
    server: Running, coding: str
) -> None:
    import gzip
    import zlib

    compress = gzip.compress if coding == "gzip" else zlib.compress
    headers = {"Content-Encoding": coding}
    post = server.http.post
    infer, predict = "/v2/models/clicks/infer", "/v1/predict"
    assert post(infer, content=compress(INFER), headers=headers).status_code == 200
    assert post(infer, content=INFER[:50], headers=headers).status_code == 400
    assert post(predict, content=compress(BODY), headers=headers).status_code == 415
    bomb = compress(bytes(50 * LIMITS.max_body_bytes))
    assert post(infer, content=bomb, headers=headers).status_code == 413
    answer = post(infer, content=INFER, headers={"Content-Encoding": "br"})
    assert (answer.status_code, "content-encoding" in answer.json()["error"]) == (415, True)


def test_clients_that_leave_in_the_middle_are_forgotten(server: Running) -> None:
    before = server.metric("ctr_request_duration_seconds_count")
    for part in (b"POST", PREDICT, PREDICT + b"Content-Length: 500\r\n\r\n" + BODY):
        for _ in range(20):
            with connected(server) as client:
                client.send(part)
    reset = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    with connected(server) as client:  # one that is reset, not closed
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        client.send(PREDICT + b"Content-Length: 500\r\n\r\n" + BODY)
    assert predicts(server)
    assert server.metric("ctr_request_duration_seconds_count") == (before or 0) + 1


def test_a_server_that_ends_answers_what_has_begun() -> None:
    feed = Feed()
    with running(feed) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        request = whole_request()
        with connected(server) as begun, connected(server) as idle:
            idle.send(request)
            assert idle.answer().status == 200
            begun.send(request[:-10])
            server.wait(lambda: _all_is_read(server))
            server.server.stop()
            assert idle.rest() == b""  # closed as soon as the end begins
            begun.send(request[-10:])
            answer = begun.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert begun.rest() == b""
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/livez")


def _all_is_read(server: Running) -> bool:
    """Whether nothing that was sent to the server waits in a socket."""
    port = f":{server.server.port:04X}"
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return all(found[4].endswith(":00000000") for found in sockets if found[1].endswith(port))
