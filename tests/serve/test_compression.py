"""Compressed bodies: what comes out, and what is refused before it costs anything."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.features.request import RequestError
from ctr.serve.compression import check, inflated

from .running import Running

LIMIT = 1000
COMPRESS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
INFER = "/v2/models/clicks/infer"
BODY = (
    b'{"inputs":[{"name":"events","datatype":"BYTES","shape":[1],'
    b'"data":["{\\"features\\":{\\"user\\":\\"u1\\"}}"]}]}'
)


def refusal(body: bytes, coding: str = "gzip", limit: int = LIMIT) -> RequestError:
    with pytest.raises(RequestError) as caught:
        inflated(body, coding, limit)
    return caught.value


@pytest.mark.parametrize("coding", COMPRESS)
@given(body=st.binary(max_size=LIMIT))
def test_what_went_in_comes_out(coding: str, body: bytes) -> None:
    assert inflated(COMPRESS[coding](body), coding, LIMIT) == body


@pytest.mark.parametrize("coding", COMPRESS)
def test_the_limit_is_that_of_the_content(coding: str) -> None:
    compress = COMPRESS[coding]
    assert len(inflated(compress(bytes(LIMIT)), coding, LIMIT)) == LIMIT
    assert refusal(compress(bytes(LIMIT + 1)), coding).status == 413


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_bomb_takes_no_memory(coding: str) -> None:
    bomb = COMPRESS[coding](bytes(50 << 20))
    tracemalloc.start()
    try:
        assert refusal(bomb, coding, limit=1 << 20).status == 413
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("coding", COMPRESS)
@given(body=st.binary(max_size=100))
def test_what_is_not_compressed_is_refused(coding: str, body: bytes) -> None:
    assert refusal(body, coding).status in (413, 422)


def test_damaged_torn_and_joined_streams_are_refused() -> None:
    whole = gzip.compress(BODY)
    for bad in (b"", BODY, whole[:-1], whole[:-8] + bytes(8), whole + whole, whole + b"?"):
        assert (refusal(bad).status, refusal(bad).path) == (422, "body")
    assert refusal(zlib.compress(BODY), "gzip").status == 422
    assert refusal(whole, "deflate").status == 422


def test_other_codings_are_refused_by_name() -> None:
    for coding in ("br", "zstd", "gzip, gzip", ""):
        with pytest.raises(RequestError) as caught:
            check(coding)
        assert (caught.value.status, caught.value.got) == (415, coding)


@pytest.mark.parametrize("coding", COMPRESS)
def test_events_may_be_sent_in_little(server: Running, coding: str) -> None:
    plain = server.http.post(INFER, content=BODY)
    headers = {"content-encoding": coding.upper()}
    answer = server.http.post(INFER, content=COMPRESS[coding](BODY), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.content == plain.content


def test_a_server_refuses_what_it_cannot_unpack(server: Running) -> None:
    for coding, body, status in (
        ("gzip", b"\x1f\x8b", 400),
        ("gzip", BODY, 400),
        ("deflate", zlib.compress(bytes(10_000_000)), 413),
        ("br", BODY, 415),
    ):
        answer = server.http.post(INFER, content=body, headers={"content-encoding": coding})
        assert answer.status_code == status
        assert " must be " in answer.json()["error"]
    assert server.http.post(INFER, content=BODY).status_code == 200
