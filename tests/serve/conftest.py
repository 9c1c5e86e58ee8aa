"""One served model for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ctr.settings import Serve

from .running import Feed, Running, random_model, running, whole

LIMITS = Serve(max_body_bytes=100_000, max_rows=50)


@pytest.fixture(scope="package")
def server() -> Iterator[Running]:
    """A server with version 7 of a random model, and limits that a test can reach."""
    feed = Feed()
    with running(feed, LIMITS) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        yield server
