"""Updates while requests come: one version an answer, and a server that outlives its follower."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpx
import numpy as np
import pytest

from ctr.errors import ModelTopicError
from ctr.features.parser import Parser
from ctr.model.sparse import SparseModel
from ctr.model.update import Update
from ctr.settings import Features
from ctr.types import Records

from .running import BITS, SPEC, Feed, Running, manifest, random_model, running, uniform, whole

FEATURES = {f"f{k}": f"v{k}" for k in range(19)}
EVENTS = {"events": [{"features": FEATURES}] * 3}
ROW = len(FEATURES) + 1  # and the bias


def weight(version: int) -> float:
    """What every weight of a version is."""
    return 0.001 * version - 0.1


def probability(version: int) -> float:
    return float(1 / (1 + np.exp(-ROW * np.float32(weight(version)))))


def ask_until(server: Running, done: threading.Event) -> list[int]:
    """Ask in a loop; the versions that answered, in order. Every answer must be of one version."""
    seen = []
    with httpx.Client(base_url=server.url) as http:
        while not done.is_set():
            answer = http.post("/v1/predict", json=EVENTS)
            assert answer.status_code == 200
            said = answer.json()
            version = said["model"]["version"]
            assert said["probabilities"] == pytest.approx([probability(version)] * 3, rel=1e-5)
            seen.append(version)
    return seen


def test_no_answer_mixes_versions() -> None:
    """Every weight changes with every update, in place: a torn version gives another number."""
    last, feed = 200, Feed()
    model = SparseModel(BITS)
    model.patch(uniform(weight(1)))
    with running(feed) as server:
        feed.put(whole(1, model))
        server.wait_for_version(1)
        done = threading.Event()
        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(ask_until, server, done) for _ in range(3)]
            try:
                for version in range(2, last + 1):
                    staged = model.stage(uniform(weight(version)), replace=True)
                    feed.put(Update(manifest(version), model, staged))
                    server.wait_for_version(version)
            finally:
                done.set()
            for future in asking:
                seen = future.result()
                assert seen == sorted(seen)
                assert len(set(seen)) > 20
        assert server.metric("ctr_model_updates_total") == last
        assert server.metric("ctr_served_model_version") == last
        assert server.metric("ctr_follow_failures_total") == 0


def test_the_parser_changes_with_the_weights() -> None:
    """Another table, other crosses, another seed: each version is read with its own features."""
    specs = [
        SPEC,
        Features(bits=12),
        Features(bits=12, hash_seed=7),
        Features(bits=12, hash_seed=7, crosses=[["user", "site"]], time_features=["hour", "dow"]),
        Features(bits=12, hash_seed=7, features="", columns={"price": "linear"}),
    ]
    features = {"user": "u1", "site": "s1"}
    event = {"ts": 1_700_000_000_000, "price": 2.5, "features": features, **features}
    records = Records.of([json.dumps(event).encode()])
    feed, model = Feed(), random_model(specs[0], density=1)
    with running(feed) as server:
        previous: list[float] = []
        for version, (before, spec) in enumerate(pairwise([specs[0], *specs]), start=1):
            if spec.bits != before.bits:
                model = random_model(spec, density=1)
            # the same weights throughout: what the answer changes by is the parser
            feed.put(whole(version, model, spec))
            server.wait_for_version(version)
            answer = server.predict({"events": [event]})
            parsed = Parser(spec, predicting=True).parse(records)
            assert answer.json()["probabilities"] == model.predict(parsed.batch).tolist()
            assert answer.json()["probabilities"] != previous
            previous = answer.json()["probabilities"]
            status = server.http.get("/v1/models/clicks").json()
            assert status["features"]["bits"] == spec.bits
            assert status["features"]["crosses"] == spec.crosses


def test_an_older_version_may_come_back() -> None:
    feed = Feed()
    with running(feed) as server:
        for version in (5, 6, 5):
            update = whole(version, random_model(seed=version))
            update.held = version == 5
            feed.put(update)
            server.wait_for_version(version)
            server.wait(lambda: server.metric("ctr_served_model_version") == version)  # noqa: B023
        assert server.http.get("/v1/models").json()["models"] == [
            {
                "name": "clicks",
                "ready": True,
                "version": 5,
                "event_time": 1_700_000_000_005,
                "held": True,
            }
        ]
        assert server.metric("ctr_served_model_held") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelTopicError("the topic is of a later format"), "the topic is of a later format"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError('a bug')"),
    ],
)
def test_a_follower_in_trouble_leaves_the_model_answering(error: Exception, said: str) -> None:
    feed = Feed()
    with running(feed) as server:
        feed.put(whole(1, random_model()))
        server.wait_for_version(1)
        before = server.predict(EVENTS).content
        feed.put(error)
        server.wait(lambda: server.metric("ctr_follow_failures_total") == 1)
        assert server.predict(EVENTS).content == before
        following = server.http.get("/v1/status").json()["models"][0]["following"]
        assert following == {"failures": 1, "last_failure": said}
        feed.put(whole(2, random_model(seed=2)))
        server.wait_for_version(2)
        assert server.predict(EVENTS).content != before
    assert feed.closed


def test_features_that_this_version_cannot_read_are_refused() -> None:
    """The model goes on as it was, and a later version that can be read is taken."""
    feed = Feed()
    unreadable = Features(bits=BITS, crosses=[["user", "user"]])
    with running(feed) as server:
        feed.put(whole(1, random_model()))
        server.wait_for_version(1)
        before = server.predict(EVENTS).content
        feed.put(whole(2, random_model(seed=2), unreadable))
        server.wait(lambda: server.metric("ctr_follow_failures_total") == 1)
        assert server.predict(EVENTS).content == before
        assert "crosses" in server.http.get("/v1/status").text
        feed.put(whole(3, random_model(seed=3)))
        server.wait_for_version(3)
        assert server.predict(EVENTS).json()["model"]["version"] == 3
