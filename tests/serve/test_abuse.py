"""Clients that mean harm, or do it: each gets a clear answer, and nobody else notices."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ctr.serve.limits import MAX_HEAD_BYTES, MAX_HEADERS, MAX_URL_BYTES
from ctr.settings import Features, Serve

from .raw import BODY, PREDICT, Client, connected, whole_request
from .running import Feed, Running, random_model, running, whole

STRICT = Serve(
    max_body_bytes=100_000,
    max_rows=50,
    request_seconds=0.4,
    max_requests=8,
    max_connections=24,
)
SPEC = Features(bits=10, max_features=20, max_event_bytes=1024)


@pytest.fixture(scope="module")
def strict() -> Iterator[Running]:
    """A server with narrow limits."""
    feed = Feed()
    with running(feed, STRICT) as server:
        feed.put(whole(7, random_model(SPEC), SPEC))
        server.wait_for_version(7)
        yield server


@pytest.fixture(autouse=True)
def still_good(strict: Running) -> Iterator[None]:
    """Whatever a test does, others are answered as before, and nothing of it stays."""
    with connected(strict) as client:
        client.send(whole_request())
        before = client.answer()
    assert before.status == 200
    yield
    with connected(strict) as client:
        client.send(whole_request())
        after = client.answer()
        assert (after.status, after.body) == (200, before.body)
    strict.wait(lambda: connections(strict) == 0, 20)


def connections(server: Running) -> float | None:
    return server.registry.get_sample_value("ctr_open_connections", {"address": "predictions"})


def refusals(server: Running, reason: str) -> float:
    labels = {"address": "predictions", "reason": reason}
    return server.registry.get_sample_value("ctr_refusals_total", labels) or 0


# ---- what is wrong at first sight

CHUNKED = PREDICT + b"Transfer-Encoding: chunked\r\n\r\n"
HIDDEN = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"

MALFORMED = {
    "not http": b"hello there\r\n\r\n",
    "binary": b"\x00\x01\x02\xff\xfe\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http 9.9": b"GET /livez HTTP/9.9\r\n\r\n",
    "no number": PREDICT + b"Content-Length: many\r\n\r\n",
    "negative": PREDICT + b"Content-Length: -1\r\n\r\n",
    "signed": PREDICT + b"Content-Length: +39\r\n\r\n" + BODY,
    "hexadecimal": PREDICT + b"Content-Length: 0x27\r\n\r\n" + BODY,
    "endless number": PREDICT + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "no length": PREDICT + b"Content-Length: \r\n\r\n" + BODY,
    "blank in length": PREDICT + b"Content-Length: 3 9\r\n\r\n" + BODY,
    "two lengths": PREDICT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "one length twice": PREDICT + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": PREDICT + b"Content-Length: 3, 3\r\n\r\nabc",
    "length and chunks": PREDICT
    + b"Content-Length: 39\r\nTransfer-Encoding: chunked\r\n\r\n"
    + HIDDEN,
    "chunks and length": PREDICT
    + b"Transfer-Encoding: chunked\r\nContent-Length: 39\r\n\r\n"
    + HIDDEN,
    "unknown coding": PREDICT + b"Transfer-Encoding: xchunked\r\n\r\n" + HIDDEN,
    "gzip in chunks": PREDICT + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + HIDDEN,
    "chunks twice": PREDICT + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + HIDDEN,
    "chunks of old": CHUNKED.replace(b"/1.1", b"/1.0") + HIDDEN,
    "no coding": PREDICT + b"Transfer-Encoding: identity\r\n\r\n" + HIDDEN,
    "chunked before gzip": PREDICT + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + HIDDEN,
    "chunk of no number": CHUNKED + b"zz\r\n",
    "chunk of huge number": CHUNKED + b"f" * 40 + b"\r\n",
    "chunk of negative number": CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "blank before colon": b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded": b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c: d\r\n\r\n",
    "nul in name": b"GET /livez HTTP/1.1\r\nHo\x00st: x\r\n\r\n",
    "nul in value": b"GET /livez HTTP/1.1\r\nHost: \x00\r\n\r\n",
    "nul in url": b"GET /live\x00z HTTP/1.1\r\nHost: x\r\n\r\n",
    "newlines alone": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "return alone": b"GET /livez HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
    "bytes in url": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "no url": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad url": b"GET http://[::bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad url, upgrade": b"GET http://[::bad HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "proxy": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower case": b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_http_is_refused(strict: Running, request_bytes: bytes) -> None:
    before = refusals(strict, "malformed")
    with connected(strict) as client:
        client.send(request_bytes)
        client.refusal(400)
    assert refusals(strict, "malformed") == before + 1


@pytest.mark.parametrize("line", [b"GET /livez", b"GET /livez HTTP/2.0", b"GET /livez HTTP/0.9"])
def test_other_versions_of_http_are_refused(strict: Running, line: bytes) -> None:
    with connected(strict) as client:
        client.send(line + b"\r\nHost: x\r\n\r\n")
        assert client.refusal(505)["wanted"] == "HTTP/1.1"


def test_a_refusal_says_what_was_wrong(strict: Running) -> None:
    with connected(strict) as client:
        client.send(MALFORMED["length and chunks"])
        error = client.refusal(400)
    assert error["path"] == "request"
    assert "Content-Length" in error["got"] or "Transfer-Encoding" in error["got"]


HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
LONG_QUERY = b"POST /v1/predict?" + b"a" * MAX_URL_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n"

TOO_MUCH = {
    "10000 headers": (431, HEAD + b"a: b\r\n" * 10_000 + b"\r\n"),
    "one header too many": (431, HEAD + b"a: b\r\n" * MAX_HEADERS + b"\r\n"),
    "a long header": (431, HEAD + b"a: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n"),
    "a long name": (431, HEAD + b"a" * MAX_HEAD_BYTES + b": b\r\n\r\n"),
    "an endless header": (431, HEAD + b"a: " + b"b" * 2_000_000),
    "endless headers": (431, HEAD + b"a: b\r\n" * 300_000),
    "a long url": (414, b"GET /" + b"a" * MAX_URL_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a long query": (
        414,
        PREDICT.replace(b"predict", b"predict?" + b"a" * MAX_URL_BYTES) + b"\r\n",
    ),
    "an endless url": (414, b"GET /" + b"a" * 2_000_000),
    "an endless chunk extension": (400, CHUNKED + b"1;a=" + b"b" * 2_000_000),
    "endless trailers": (400, CHUNKED + b"0\r\n" + b"a: b\r\n" * 300_000),
    "an endless trailer": (400, CHUNKED + b"0\r\na: " + b"b" * 2_000_000),
}


@pytest.mark.parametrize(("status", "request_bytes"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much_around_a_body_is_refused(
    strict: Running, status: int, request_bytes: bytes
) -> None:
    with connected(strict) as client:
        client.send(request_bytes)
        client.refusal(status)


def test_what_is_just_within_the_limits_is_served(strict: Running) -> None:
    many = b"a: b\r\n" * (MAX_HEADERS - 1) + b"\r\n"
    with connected(strict) as client:
        client.send(HEAD + many)
        assert client.answer().status == 200
        client.send(whole_request(BODY, *[b"a: b"] * (MAX_HEADERS - 2)))
        assert client.answer().status == 200
        client.send(whole_request().replace(b"predict", b"predict?" + b"a" * 4000))
        assert client.answer().status == 200


ODD = {
    "bad escapes": (404, b"GET /%zz%f HTTP/1.1\r\nHost: x\r\n\r\n"),
    "escaped bytes": (404, b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "escaped route": (200, b"GET /%6civez HTTP/1.1\r\nHost: x\r\n\r\n"),
    "way up": (404, b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"),
    "two slashes": (404, b"GET //livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    "slash behind": (404, b"GET /livez/ HTTP/1.1\r\nHost: example.org\r\n\r\n"),
    "strange host": (404, b"GET /nothing HTTP/1.1\r\nHost: [::bad\r\n\r\n"),
    "no host": (200, b"GET /livez HTTP/1.1\r\n\r\n"),
    "lines before": (200, b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    "other method": (405, b"DELETE /v1/predict HTTP/1.1\r\nHost: x\r\n\r\n"),
    "options": (405, b"OPTIONS /v1/predict HTTP/1.1\r\nHost: x\r\n\r\n"),
    "post to a page": (405, b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    "no body": (422, b"POST /v1/predict HTTP/1.1\r\nHost: x\r\n\r\n"),
    "empty body": (422, whole_request(b"")),
    "form": (422, whole_request(b"a=b&c=d", b"Content-Type: application/x-www-form-urlencoded")),
    "compressed": (415, whole_request(BODY, b"Content-Encoding: br")),
}


@pytest.mark.parametrize(("status", "request_bytes"), ODD.values(), ids=ODD)
def test_odd_requests_get_their_answer(strict: Running, status: int, request_bytes: bytes) -> None:
    with connected(strict) as client:
        client.send(request_bytes)
        answer = client.answer()
        assert answer.status == status
        if status >= 400:
            answer.error()
        if status == 405:
            assert answer.headers["allow"]


def test_head_has_no_body(strict: Running) -> None:
    with connected(strict) as client:
        for path, status in ((b"/livez", 200), (b"/v1/predict", 405), (b"/nothing", 404)):
            client.send(b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert client.reader.readline().split()[1] == b"%d" % status
            while client.reader.readline() != b"\r\n":
                pass
        client.send(whole_request())
        assert client.answer().status == 200


# ---- bodies

BODIES = {
    "deep": (b"[" * 60_000, "body", 422),
    "deep event": (b'{"events":[%b1%b]}' % (b'{"a":' * 40, b"}" * 40), "body", 422),
    "long event": (b'{"events":[{},{"features":{"a":"%b"}}]}' % (b"x" * 2000), "events[1]", 422),
    "many features": (
        b'{"events":[{"features":{"a":[%b]}}]}' % b",".join(b'"%d"' % i for i in range(30)),
        "events[0]",
        422,
    ),
    "many events": (b'{"events":[%b]}' % b",".join([b"{}"] * 51), "events", 413),
    "many candidates": (
        b'{"context":{},"candidates":[%b]}' % b",".join([b"{}"] * 51),
        "candidates",
        413,
    ),
    "not utf-8": (b'{"events":[{"features":{"a":"\xff"}}]}', "body", 422),
    "nul": (b'{"events":[{"features":{"a":"\x00"}}]}', "body", 422),
    "nan": (b'{"events":[{"features":{"a":NaN}}]}', "body", 422),
    "huge number": (b'{"events":[{"features":{"a":1e999}}]}', "events[0].features.a", 422),
}


@pytest.mark.parametrize(("body", "path", "status"), BODIES.values(), ids=BODIES)
def test_bodies_are_limited_too(strict: Running, body: bytes, path: str, status: int) -> None:
    with connected(strict) as client:
        client.send(whole_request(body))
        answer = client.answer()
        assert (answer.status, answer.error()["path"]) == (status, path)
        client.send(whole_request())  # the connection is none the worse for it
        assert client.answer().status == 200


@pytest.mark.parametrize("size", [STRICT.max_body_bytes + 1, 10**9, 10**18])
def test_a_body_too_large_by_its_length(strict: Running, size: int) -> None:
    with connected(strict) as client:
        client.send(PREDICT + b"Content-Length: %d\r\n\r\n" % size)
        answer = client.answer()
        assert (answer.status, answer.error()["path"]) == (413, "body")
        assert answer.headers["connection"] == "close"


def test_a_body_too_large_in_chunks(strict: Running) -> None:
    with connected(strict) as client:
        client.send(CHUNKED + (b"400\r\n" + b" " * 1024 + b"\r\n") * 200)
        answer = client.answer()
        assert (answer.status, answer.error()["path"]) == (413, "body")
        assert answer.headers["connection"] == "close"


def test_a_length_that_promises_too_little_is_found_out(strict: Running) -> None:
    with connected(strict) as client:
        client.send(PREDICT + b"Content-Length: 2\r\n\r\n" + BODY)
        assert client.answer().status == 422
        client.refusal(400)


def test_unfinished_bodies_are_limited_together() -> None:
    feed = Feed()
    limits = Serve(max_body_bytes=4096, max_connections=500)
    part = PREDICT + b"Content-Length: 4096\r\n\r\n" + b" " * 4000
    with running(feed, limits) as server, ExitStack() as stack:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        clients = [stack.enter_context(connected(server)) for _ in range(40)]
        for client in clients:
            client.send(part)
        server.wait(lambda: refusals(server, "requests") >= 40 - 32)
        late = stack.enter_context(connected(server))
        late.send(part)
        assert "unfinished" in late.refusal(503)["wanted"]
        late = stack.enter_context(connected(server))
        late.send(whole_request())
        assert late.answer().status == 200


# ---- time


def drip(client: Client, data: bytes, seconds: float = 0.03) -> None:
    """Send byte by byte until the other side has had enough, or all is sent."""
    for i in range(len(data)):
        if not client.send(data[i : i + 1]):
            return
        time.sleep(seconds)
    pytest.fail("nobody minded")


SLOW = {
    "head": (b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 500),
    "second request": (whole_request(), b"GET /livez HTTP/1.1\r\nA: " + b"b" * 500),
    "body": (PREDICT + b"Content-Length: 600\r\n\r\n", b" " * 500),
    "chunks": (CHUNKED, b"1\r\n \r\n" * 100),
    "body of a page": (b"GET /livez HTTP/1.1\r\nContent-Length: 600\r\n\r\n", b" " * 500),
}


@pytest.mark.parametrize(("first", "then"), SLOW.values(), ids=SLOW)
def test_who_is_slow_is_told_so(strict: Running, first: bytes, then: bytes) -> None:
    with connected(strict) as client:
        client.send(first)
        if first == whole_request() or first.startswith(b"GET"):
            assert client.answer().status == 200
        drip(client, then)
        if not first.startswith(b"GET"):
            assert "serve.request_seconds = 0.4" in client.refusal(408)["wanted"]


@pytest.mark.parametrize("part", [b"P", PREDICT, PREDICT + b"Content-Length: 9\r\n\r\n{", CHUNKED])
def test_who_stops_in_the_middle_is_told_so(strict: Running, part: bytes) -> None:
    before = refusals(strict, "slow")
    with connected(strict) as client:
        client.send(part)
        client.refusal(408)
    assert refusals(strict, "slow") == before + 1


@pytest.mark.parametrize("sent", [b"", b"\r\n" * 20])
def test_who_asks_nothing_is_told_nothing(strict: Running, sent: bytes) -> None:
    with connected(strict) as client:
        client.send(sent)
        assert client.rest() == b""


@pytest.mark.parametrize(
    "request_bytes", [b"GET /v1/models/clicks HTTP/1.1\r\nHost: x\r\n\r\n", whole_request()]
)
def test_who_does_not_take_the_answers_is_cut_off(request_bytes: bytes) -> None:
    feed = Feed()
    with running(feed, Serve(request_seconds=0.4, max_requests=1_000_000)) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        with connected(server, room=4096) as client:
            while client.send(request_bytes * 20):
                pass
            server.wait(lambda: connections(server) == 0, 20)
        assert refusals(server, "unread") + refusals(server, "overload") > 0


def test_half_of_a_connection_is_enough_for_an_answer(strict: Running) -> None:
    for request in (whole_request(), HEAD + b"\r\n", whole_request() + HEAD + b"\r\n"):
        with connected(strict) as client:
            client.send(request)
            client.end()
            for _ in range(request.count(b"HTTP/1.1")):
                assert client.answer().status == 200
            assert client.rest() == b""


@pytest.mark.parametrize("part", [b"P", PREDICT, whole_request()[:-1], CHUNKED + b"4\r\n{"])
def test_half_of_a_request_is_not(strict: Running, part: bytes) -> None:
    with connected(strict) as client:
        client.send(part)
        client.end()
        client.refusal(400)


# ---- many


def test_connections_are_limited(strict: Running) -> None:
    with ExitStack() as stack:
        most = [stack.enter_context(connected(strict)) for _ in range(STRICT.max_connections)]
        strict.wait(lambda: connections(strict) == STRICT.max_connections)
        for _ in range(10):
            with connected(strict) as client:
                client.send(whole_request())
                answer = client.answer()
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert answer.headers["connection"] == "close"
                assert answer.error()["path"] == "connection"
                assert client.rest() == b""
        most[0].send(whole_request())
        assert most[0].answer().status == 200


def test_a_flood_of_connections_passes(strict: Running) -> None:
    with ExitStack() as stack:
        for _ in range(400):
            client = stack.enter_context(connected(strict))
            client.send(b"GET /livez")
            assert (connections(strict) or 0) <= STRICT.max_connections
    strict.wait(lambda: connections(strict) == 0)


def test_unfinished_requests_are_limited(strict: Running) -> None:
    part = PREDICT + b"Content-Length: 50\r\n\r\n{"
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(strict)) for _ in range(STRICT.max_requests + 1)]
        for client in clients:
            client.send(part)
            time.sleep(0.005)
        answer = clients[-1].answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "serve.max_requests = 8" in answer.error()["wanted"]
        for request in (whole_request(), HEAD + b"\r\n"):  # who needs no waiting gets by
            client = stack.enter_context(connected(strict))
            client.send(request)
            assert client.answer().status == 200


def test_many_requests_at_once_are_answered_in_order(strict: Running) -> None:
    pages = [b"GET /nothing/%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(100)]
    with connected(strict) as client:
        client.send(b"".join(pages))
        answers = [client.answer() for _ in pages]
        found = [i for i, answer in enumerate(answers) if answer.status == 404]
        assert len(found) >= STRICT.max_requests
        for i in found:
            assert answers[i].error()["got"] == f"/nothing/{i}"
        refused = [answer for answer in answers if answer.status != 404]
        assert all(answer.status == 503 for answer in refused)
        client.send(whole_request())
        assert client.answer().status == 200


def test_good_and_bad_ones_mixed_keep_their_order(strict: Running) -> None:
    mixed = (
        (whole_request(), 200),
        (whole_request(b"?"), 422),
        (HEAD + b"\r\n", 200),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (whole_request(), 200),
        (CHUNKED + b"1\r\n?\r\n0\r\n\r\n", 422),
    )
    with connected(strict) as client:
        client.send(b"".join(request for request, _ in mixed) + b"GET /\x00 HTTP/1.1\r\n\r\n")
        assert [client.answer().status for _ in mixed] == [status for _, status in mixed]
        client.refusal(400)


@pytest.mark.parametrize("good", [whole_request(), HEAD + b"\r\n", whole_request() * 3])
@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"\x00", 400),
        (b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET", 408),
    ],
    ids=["garbage", "headers", "stops"],
)
def test_what_comes_before_something_bad_is_answered(
    strict: Running, good: bytes, bad: bytes, status: int
) -> None:
    with connected(strict) as client:
        client.send(good + bad)
        for _ in range(good.count(b"HTTP/1.1")):
            assert client.answer().status == 200
        client.refusal(status)


# ---- noise


@pytest.mark.parametrize("seed", range(4))
def test_noise_does_no_harm(strict: Running, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(60):
        noise = draw.randbytes(draw.choice((1, 10, 100, 10_000)))
        with connected(strict) as client:
            client.send(noise)
            client.end()
            answer = client.rest()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("seed", range(4))
def test_requests_with_errors_of_transmission_do_no_harm(strict: Running, seed: int) -> None:
    draw = random.Random(seed)
    chunks = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    for _ in range(60):
        data = bytearray(draw.choice((whole_request(), chunks, whole_request() * 2)))
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            what = draw.random()
            if what < 0.5:
                data[at] = draw.randrange(256)
            elif what < 0.75:
                del data[at : at + draw.randint(1, 20)]
            else:
                data[at:at] = draw.choice((b"\r\n", b"\x00", b":", b" ", b"9", bytes(data[:at])))
        with connected(strict) as client:
            client.send(bytes(data))
            client.end()
            answer = client.rest()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in answer


def resident() -> int:
    """Bytes of this process's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_thousands_of_bad_requests_leave_nothing_behind(strict: Running) -> None:
    kinds = [
        *(
            MALFORMED["not http"],
            MALFORMED["length and chunks"],
            TOO_MUCH["one header too many"][1],
        ),
        *(PREDICT, CHUNKED + b"5\r\n{", whole_request(b"?"), whole_request()[:-1]),
        *(PREDICT + b"Content-Length: 1000000\r\n\r\n{", HEAD + b"\r\n" + b"\x00"),
    ]

    def abuse(times: int) -> None:
        for _ in range(times):
            for kind in kinds:
                with connected(strict) as client:
                    client.send(kind)
                    client.end()
                    client.rest()
        strict.wait(lambda: connections(strict) == 0)
        gc.collect()

    abuse(50)
    objects, memory = len(gc.get_objects()), resident()
    abuse(250)
    assert len(gc.get_objects()) - objects < 1000
    assert resident() - memory < 16 << 20
