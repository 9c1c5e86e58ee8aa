"""Responses off a socket, however they are cut up: what kafka-python makes of the same bytes."""

from __future__ import annotations

import random
import select
import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.errors import InvalidReceiveError
from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.parser import KafkaProtocol

from ctr.stream.responses import Responses, _receive, _receive_tls

VERSION = 12
LIMIT = 10_000_000


def protocol(kind: type[KafkaProtocol], requests: int) -> Any:
    """A connection's protocol that waits for so many fetch responses."""
    made = kind(client_id="test", receive_message_max_bytes=LIMIT)
    for _ in range(requests):
        made.send_request(
            FetchRequest(
                version=VERSION,
                replica_id=-1,
                max_wait_ms=1,
                min_bytes=1,
                max_bytes=1,
                isolation_level=0,
                session_id=0,
                session_epoch=0,
                topics=[],
                forgotten_topics_data=[],
                rack_id="",
            )
        )
    return made


def encoded(number: int, records: bytes) -> bytes:
    topic = FetchResponse.FetchableTopicResponse
    partition = topic.PartitionData(
        version=VERSION,
        partition_index=number,
        error_code=0,
        high_watermark=5,
        last_stable_offset=5,
        log_start_offset=0,
        aborted_transactions=[],
        preferred_read_replica=-1,
        records=records,
    )
    response = FetchResponse(
        version=VERSION,
        throttle_time_ms=0,
        error_code=0,
        session_id=0,
        responses=[topic(version=VERSION, topic="events", partitions=[partition])],
    )
    response.with_header(correlation_id=number)
    return bytes(response.encode(framed=True, header=True))


def content(found: list[tuple[int, Any]]) -> list[tuple[int, int, bytes]]:
    partitions = [(number, r.responses[0].partitions[0]) for number, r in found]
    return [(n, p.partition_index, bytes(p.records)) for n, p in partitions]


def records(sizes: list[int]) -> list[bytes]:
    return [random.Random(n).randbytes(size) for n, size in enumerate(sizes)]


SIZES = st.lists(st.sampled_from([0, 1, 900, 65_400, 65_500, 70_000, 300_000]), max_size=5)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.lists(st.integers(1, 200_000), min_size=1, max_size=8))
def test_the_same_as_kafka_python(sizes: list[int], cuts: list[int]) -> None:
    sent = [encoded(n + 1, data) for n, data in enumerate(records(sizes))]
    stream, ours, theirs = b"".join(sent), [], []
    mine, its = protocol(Responses, len(sizes)), protocol(KafkaProtocol, len(sizes))
    at, turn = 0, 0
    while at < len(stream):
        piece = stream[at : at + cuts[turn % len(cuts)]]
        ours += mine.receive_bytes(piece)
        theirs += its.receive_bytes(piece)
        at, turn = at + len(piece), turn + 1
    assert content(ours) == content(theirs)
    assert [data for _, _, data in content(ours)] == records(sizes)


@pytest.mark.parametrize("receive", [_receive, _receive_tls])
@settings(deadline=None, max_examples=25)
@given(SIZES, st.integers(0, 1000))
def test_off_a_socket(receive: Any, sizes: list[int], seed: int) -> None:
    stream = b"".join(encoded(n + 1, data) for n, data in enumerate(records(sizes)))
    here, there = socket.socketpair()
    chance = random.Random(seed)

    def send() -> None:
        at = 0
        while at < len(stream):
            size = chance.choice([1, 3, 5000, 66_000, 400_000])
            there.sendall(stream[at : at + size])
            at += size
        there.close()

    sender = threading.Thread(target=send)
    sender.start()
    here.setblocking(False)
    # what kafka-python made for the connection becomes ours with the first bytes
    connection = SimpleNamespace(parser=protocol(KafkaProtocol, len(sizes)))
    transport = SimpleNamespace(_sock=here, _protocol=connection)
    scratch, found, error = memoryview(bytearray(1 << 16)), [], None
    while error is None:
        select.select([here], [], [], 20)
        data, error = receive(transport, scratch)
        found += connection.parser.receive_bytes(data)
    sender.join()
    here.close()
    assert str(error).endswith("socket disconnected")
    assert [data for _, _, data in content(found)] == records(sizes)


@pytest.mark.parametrize("size", [-1, LIMIT + 1])
def test_a_size_that_cannot_be(size: int) -> None:
    with pytest.raises(InvalidReceiveError):
        protocol(Responses, 1).receive_bytes(size.to_bytes(4, "big", signed=True))
