"""``ctr models``, ``hold`` and ``release``: a model's versions, and going back to one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctr.model.follow import TopicFollower
from ctr.model.follow_files import DirectoryFollower
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.snapshot import SnapshotStore
from ctr.model.topic import TopicWriter
from ctr.model.update import Follower
from ctr.settings import Features
from ctr.settings import Kafka as KafkaSettings
from tests.cli.conftest import Command, Said
from tests.cli.test_errors import one_line

SPEC = Features(bits=10)
SNAPSHOTS = "state/clicks/snapshots"
DIRECTORY = ("--name", "clicks", "--directory", SNAPSHOTS)


class Published:
    """Versions 1 to 3 in the directory of snapshots and, if there is a broker, on the topic."""

    def __init__(self, broker: str = "") -> None:
        self.store = SnapshotStore(SNAPSHOTS)
        self.image = Image(SPEC.bits, "float32")
        self.writer: TopicWriter | None = None
        self.version = 0
        if broker:
            kafka = KafkaSettings(bootstrap_servers=broker)
            self.writer = TopicWriter(kafka, "ctr.clicks.model", "a session")
            self.writer.claim()
            self.version = self.writer.version
        for _ in range(3):
            self.publish()

    def publish(self) -> None:
        self.version += 1
        self.image.update([0], np.full((1, 64), self.version / 8, np.float32))
        manifest = Manifest(
            version=self.version,
            model="clicks",
            spec=SPEC,
            events_learned=1_000_000 * self.version,
            event_time=1_700_000_000_000,
            metrics={"log_loss": 0.25, "normalized_entropy": None, "calibration": 1.5},
            published=1_700_000_000_000 + 1000 * self.version,
        ).describing(self.image.model)
        if self.writer is not None:
            manifest = self.writer.publish(manifest, self.image).manifest
        self.store.write(manifest, self.image.model)


@pytest.fixture
def published(ctr: Command) -> Published:
    return Published()


def served(follower: Follower, version: int, held: bool) -> None:
    """Wait until a server would serve this."""
    for _ in range(60):
        update = follower.poll(0.2)
        if update is not None:
            update.commit()
            if update.manifest.version == version:
                assert update.held == held
                return
    raise AssertionError(follower.last_error)


def tree(said: Said) -> dict[str, Any]:
    assert (said.code, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    return found


def test_the_table_of_a_directory(ctr: Command, published: Published) -> None:
    said = ctr("models", *DIRECTORY)
    assert (said.code, said.err) == (0, "")
    first, blank, *table = said.out.splitlines()
    assert first.startswith("clicks: version 3 is live, published ")
    assert first.endswith(f"on the directory {SNAPSHOTS}")
    assert blank == ""
    assert table[0].split("  ")[0].strip() == "version"
    assert len({line.index(name) for line in table[:1] for name in ("NE",)}) == 1
    versions = [line.split()[0] for line in table[1:]]
    assert versions == ["3", "2", "1"]
    assert "2023-11-14 22:13:23 UTC" in table[1]
    assert "3,000,000" in table[1]
    assert table[1].split()[-4:] == ["0.25000", "-", "1.5000", "live"]
    assert table[2].endswith("1.5000")
    # every column ends where its title does
    for title in ("version", "events learned", "log loss", "calibration"):
        end = table[0].index(title) + len(title)
        assert all(line[end - 1] != " " for line in table[1:])


def test_the_same_as_json(ctr: Command, published: Published) -> None:
    found = tree(ctr("models", *DIRECTORY, "--json"))
    assert (found["model"], found["held"], found["problem"]) == ("clicks", None, "")
    assert found["live"]["version"] == 3
    rows = found["snapshots"]
    assert [(row["version"], row["live"], row["held"]) for row in rows] == [
        (1, False, False),
        (2, False, False),
        (3, True, False),
    ]
    last = rows[-1]
    assert last["bytes"] == Path(last["path"]).stat().st_size
    assert last["nonzero_weights"] == 64
    assert last["metrics"]["normalized_entropy"] is None


def test_back_and_forth_in_a_directory(ctr: Command, published: Published) -> None:
    follower = DirectoryFollower(SNAPSHOTS)
    served(follower, 3, held=False)
    said = ctr("hold", "1", *DIRECTORY, "--reason", "a poisoned hour")
    assert said.out == (
        "version 1 of clicks is held (live is 3): every server of the directory "
        f"{SNAPSHOTS} goes to it\n"
    )
    served(follower, 1, held=True)
    found = tree(ctr("models", *DIRECTORY, "--json"))
    assert (found["held"]["version"], found["held"]["reason"]) == (1, "a poisoned hour")
    assert "@" in found["held"]["by"]
    assert [row["held"] for row in found["snapshots"]] == [True, False, False]
    head = ctr("models", *DIRECTORY).out.splitlines()[1]
    assert head.startswith("version 1 is held since 20")
    assert head.endswith(": a poisoned hour")
    published.publish()
    assert follower.poll(0.2) is None

    said = ctr("release", *DIRECTORY)
    where = f"every server of the directory {SNAPSHOTS}"
    assert said.out == f"{where} goes to the newest version of clicks\n"
    served(follower, 4, held=False)
    said = ctr("release", *DIRECTORY)
    assert said.out == f"no version of clicks is held on the directory {SNAPSHOTS}\n"


def test_a_hold_that_nobody_can_read_is_released_too(ctr: Command, published: Published) -> None:
    Path(SNAPSHOTS, "hold").write_text("the old one")
    said = ctr("models", *DIRECTORY)
    assert "must hold a version; it has 'the old one'" in said.err
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()[-3:]] == ["3", "2", "1"]
    said = ctr("release", *DIRECTORY)
    assert (said.code, "it is removed" in said.err) == (0, True)
    assert not Path(SNAPSHOTS, "hold").exists()


def test_a_snapshot_that_cannot_be_read_is_shown_as_such(
    ctr: Command, published: Published
) -> None:
    published.store.stored()[-1].path.write_bytes(b"not a model")
    said = ctr("models", *DIRECTORY)
    assert said.out.startswith("clicks: version 2 is live")
    assert "is not a file of kind 'CTRMODL'" in said.out.splitlines()[3]
    said = ctr("hold", "3", *DIRECTORY)
    one_line(said.err, "is not a file of kind 'CTRMODL'")
    assert not Path(SNAPSHOTS, "hold").exists()


def test_a_hold_needs_a_stored_version(ctr: Command, published: Published) -> None:
    said = ctr("hold", "9", *DIRECTORY)
    one_line(said.err, f"version must be one stored in {SNAPSHOTS}: 1, 2, 3; got 9")
    assert said.code == 1
    assert ctr("hold", "-1", *DIRECTORY).code == 2
    assert ctr("hold", "newest", *DIRECTORY).code == 2
    assert ctr("hold", *DIRECTORY).code == 2


@pytest.mark.parametrize("command", [["models"], ["hold", "1"], ["release"], ["gate"]])
def test_where_nothing_is_published(ctr: Command, command: list[str]) -> None:
    said = ctr(*command, *DIRECTORY)
    wanted = "publish.directory must be a directory that a trainer publishes to"
    assert wanted in said.err
    if command == ["models"]:
        assert f"no snapshots in {SNAPSHOTS}" in said.out
    else:
        assert said.code == 1
    said = ctr(*command, "--set", "publish.to=none")
    one_line(said.err, "publish.to must be 'kafka' or 'directory'; got 'none'")


@pytest.mark.parametrize("command", [["models"], ["hold", "1"], ["release"], ["gate"]])
def test_a_broker_that_is_away(ctr: Command, command: list[str], free_port: int) -> None:
    address = f"127.0.0.1:{free_port}"
    one_line(ctr("gate", "override", "--bootstrap-servers", address).err, "cannot reach")
    said = ctr(*command, "--bootstrap-servers", address)
    if command == ["models"]:
        assert said.err == f"which version is live is not known: cannot reach {address}\n"
        assert said.out.startswith("clicks: live version not known, on the topic")
        assert said.code == 0
    else:
        one_line(said.err, f"cannot reach {address}")
        assert said.code == 1


# ---- on a topic


@pytest.fixture
def topic(ctr: Command, own_kafka: Any) -> Iterator[tuple[Published, list[str]]]:
    """Published versions, and the options that say where."""
    made = Published(own_kafka.bootstrap)
    yield made, ["--name", "clicks", "--bootstrap-servers", own_kafka.bootstrap]
    assert made.writer is not None
    made.writer.close()


def test_back_and_forth_on_a_topic(ctr: Command, topic: tuple[Published, list[str]]) -> None:
    published, where = topic
    follower = TopicFollower(KafkaSettings(bootstrap_servers=where[-1]), "ctr.clicks.model")
    served(follower, 3, held=False)
    found = tree(ctr("models", *where, "--json"))
    assert (found["live"]["version"], found["held"]) == (3, None)
    assert [row["live"] for row in found["snapshots"]] == [False, False, True]
    said = ctr("hold", "2", *where, "--reason", "a poisoned hour")
    assert said.out.startswith("version 2 of clicks is held (live is 3): every server of the topic")
    served(follower, 2, held=True)
    late = TopicFollower(KafkaSettings(bootstrap_servers=where[-1]), "ctr.clicks.model")
    served(late, 2, held=True)
    published.publish()
    found = tree(ctr("models", *where, "--json"))
    assert found["live"]["version"] == 4
    assert (found["held"]["version"], found["held"]["reason"]) == (2, "a poisoned hour")
    assert found["held"]["time"] > 1_700_000_000_000
    said = ctr("models", *where)
    assert "version 2 is held since 20" in said.out
    assert [line.split()[-1] for line in said.out.splitlines()[-4:]] == [
        "live",
        "1.5000",
        "held",
        "1.5000",
    ]
    one_line(ctr("hold", "9", *where).err, ": 1, 2, 3, 4; got 9")
    ctr("release", *where, "--reason", "mended")
    for one in (follower, late):
        served(one, 4, held=False)
        one.close()
    assert ctr("release", *where).out.startswith("no version of clicks is held on the topic")
    for words in (["gate"], ["gate", "override"], ["hold", "1"], ["release"]):
        one_line(ctr(*words, *where, "--topic", "none").err, "there is no topic none")
