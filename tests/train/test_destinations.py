"""What every place to publish to promises a trainer, and lets an operator say to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ctr.config import load
from ctr.errors import CtrError
from ctr.model import control
from ctr.model.control_files import ControlFiles
from ctr.model.gate import Order, Status
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore
from ctr.model.standing import Standing
from ctr.settings import Config, Features
from ctr.train.destinations import Destination, DirectoryDestination, TopicDestination

BITS = 10
MANIFEST = Manifest(version=0, spec=Features(bits=BITS))


def image_of(value: float) -> Image:
    image = Image(BITS, "float32")
    image.update([3], np.full((1, 64), value, np.float32))
    return image


class InDirectory:
    """A directory, with an operator beside it."""

    def __init__(self, path: Path) -> None:
        self.store = SnapshotStore(path / "snapshots")
        self.config = load(environment={}, overrides={"publish.directory": str(path / "snapshots")})
        self._control = ControlFiles(self.store)

    def open(self, session: str) -> Destination:
        return DirectoryDestination(self.config, self.store)

    def give(self, order: Order) -> None:
        self._control.give(order)

    def said(self) -> Status | None:
        return self._control.status()


class OnTopic:
    """A model topic, with an operator beside it."""

    def __init__(self, path: Path, bootstrap: str, topic: str) -> None:
        self.config: Config = load(
            environment={},
            overrides={"kafka.bootstrap_servers": bootstrap, "publish.topic": topic},
        )
        self.store = SnapshotStore(path / "snapshots")
        self.topic = topic

    def open(self, session: str) -> Destination:
        return TopicDestination(self.config, session, self.store)

    def give(self, order: Order) -> None:
        control.order(self.config.kafka, self.topic, order)

    def said(self) -> Status | None:
        standing = Standing(self.config.kafka, self.topic)
        try:
            assert standing.read()
            return standing.status
        finally:
            standing.close()


Place = InDirectory | OnTopic
Open = Callable[[str], Destination]


@pytest.fixture(params=["directory", "topic"])
def place(request, tmp_path) -> Place:
    if request.param == "directory":
        return InDirectory(tmp_path)
    topic = request.getfixturevalue("topic_name")
    return OnTopic(tmp_path, request.getfixturevalue("kafka").bootstrap, topic)


@pytest.fixture
def open_destination(place) -> Iterator[Open]:
    opened: list[Destination] = []

    def opening(session: str) -> Destination:
        opened.append(place.open(session))
        return opened[-1]

    yield opening
    for destination in opened:
        destination.close()


def test_versions_go_on_and_are_stored(place: Place, open_destination: Open) -> None:
    destination = open_destination("one")
    destination.claim(4)
    image = image_of(0.5)
    for version in (5, 6):
        published, size = destination.publish(MANIFEST, image)
        assert (published, size > 100) == (version, True)
    again = open_destination("two")
    again.claim(0)
    assert again.publish(MANIFEST, image)[0] == 7
    again.close()
    assert place.store.read(7).model.digest == image.model.digest


def test_an_operator_is_heard_while_versions_go_out(place: Place, open_destination: Open) -> None:
    destination = open_destination("one")
    destination.claim(0)
    image = image_of(0.5)
    destination.publish(MANIFEST, image)
    assert destination.order() is None
    first, second = Order.override(time.time(), 60), Order.restore(time.time())
    place.give(first)
    destination.publish(MANIFEST, image)
    assert destination.order() == destination.order() == first
    place.give(first)
    place.give(second)
    assert destination.order() == second
    assert destination.publish(MANIFEST, image)[0] == 3
    again = open_destination("two")
    again.claim(0)
    assert again.order() == second


def test_what_is_said_can_be_read(place: Place, open_destination: Open) -> None:
    destination = open_destination("one")
    destination.claim(0)
    status = Status(open=False, reason="a test", figures={"calibration": float("inf")})
    destination.say(status)
    said = place.said()
    assert said is not None
    assert said.figures == {"calibration": None}
    destination.say(Status(open=True))
    assert place.said() == Status(open=True)
    assert destination.publish(MANIFEST, image_of(0.5))[0] == 1


def test_orders_come_through_an_outage(own_kafka, tmp_path, topic_name) -> None:
    place = OnTopic(tmp_path, own_kafka.bootstrap, topic_name)
    destination = place.open("one")
    destination.claim(0)
    destination.publish(MANIFEST, image_of(0.5))
    assert destination.order() is None
    own_kafka.stop()
    with pytest.raises(CtrError, match=topic_name):
        destination.order()
    own_kafka.start()
    order = Order.override(time.time(), 60)
    place.give(order)
    deadline = time.monotonic() + 60
    while (heard := until_heard(destination)) != order:
        assert time.monotonic() < deadline, heard
    destination.close()


def until_heard(destination: Destination) -> Order | None:
    try:
        return destination.order()
    except CtrError:  # a broker that has just come back
        return None
