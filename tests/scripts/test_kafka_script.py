"""scripts/kafka runs a real broker: its life, and that Kafka's features are all there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, KafkaTimeoutError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kafka"
NOT_RUNNING = 3
Run = Callable[..., subprocess.CompletedProcess[str]]


def command(data: Path, name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), name, "--data", str(data), *map(str, arguments)]


def run_script(data: Path, name: str, *arguments: object, **environment: str):
    return subprocess.run(
        command(data, name, *arguments),
        env=os.environ | {"CTR_KAFKA_ENGINE": "java"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """scripts/kafka on data folders of this test's, all of which are stopped at its end."""
    used: set[Path] = set()

    def run_here(folder: str, name: str, *arguments: object, **environment: str):
        used.add(tmp_path / folder)
        return run_script(tmp_path / folder, name, *arguments, **environment)

    yield run_here
    for data in used:
        run_script(data, "stop")


def state(data: Path) -> dict[str, object]:
    return json.loads((data / "broker.json").read_text())


def make_topic(bootstrap: str, name: str, **configs: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 1, 1, topic_configs=configs)])


def values(bootstrap: str, topic: str, **settings: object) -> list[tuple[bytes, bytes]]:
    """Keys and values of a one-partition topic, from its start to its end as of now."""
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None, **settings
    )
    with closing(consumer):
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        found, deadline = [], time.monotonic() + 30
        while consumer.position(partition) < end and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=200).values():
                found += [(record.key, record.value) for record in records]
    return found


# ---- its life


def test_life_of_a_broker(run: Run, tmp_path: Path) -> None:
    assert run("a", "status").returncode == NOT_RUNNING
    started = run("a", "start", "--port", "0")
    assert started.returncode == 0, started.stderr
    bootstrap = started.stdout.strip()
    first = state(tmp_path / "a")
    assert bootstrap == f"127.0.0.1:{first['port']}"
    make_topic(bootstrap, "kept")

    again = run("a", "start")
    assert (again.stdout.strip(), state(tmp_path / "a")) == (bootstrap, first)
    told = run("a", "status")
    assert told.returncode == 0
    assert bootstrap in told.stdout
    assert str(first["pid"]) in told.stdout

    assert run("a", "stop").returncode == 0
    assert run("a", "status").returncode == NOT_RUNNING
    assert run("a", "stop").returncode == 0
    assert (tmp_path / "a" / "data" / ".kafka_cleanshutdown").exists()
    assert "shut down completed" in (tmp_path / "a" / "logs" / "server.log").read_text()

    assert run("a", "start").stdout.strip() == bootstrap
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        assert "kept" in admin.list_topics()


def test_two_data_folders_started_at_once_are_two_brokers(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    starts = [
        subprocess.Popen(
            command(data, "start", "--port", 0, "--engine", "java"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for data in folders
    ]
    try:
        outputs = [start.communicate() for start in starts]
        assert [start.returncode for start in starts] == [0, 0], outputs
        addresses = [out.strip() for out, _ in outputs]
        assert len(set(addresses)) == 2
        make_topic(addresses[0], "only-in-one")
        with closing(KafkaAdminClient(bootstrap_servers=addresses[1])) as admin:
            assert "only-in-one" not in admin.list_topics()
    finally:
        for data in folders:
            run_script(data, "stop")


def test_starts_at_once_on_one_folder_are_one_broker(tmp_path: Path) -> None:
    data = tmp_path / "a b"  # a space in the path as well
    start = command(data, "start", "--port", 0, "--engine", "java")
    starts = [subprocess.Popen(start, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        addresses = {process.communicate()[0].strip() for process in starts}
        assert addresses == {f"127.0.0.1:{state(data)['port']}"}
    finally:
        run_script(data, "stop")


def test_data_survive_a_kill(own_kafka, topic_name: str) -> None:
    make_topic(own_kafka.bootstrap, topic_name)
    with closing(KafkaProducer(bootstrap_servers=own_kafka.bootstrap, acks="all")) as producer:
        producer.send(topic_name, b"v", key=b"k").get(10)
    killed = own_kafka.pid
    os.kill(killed, signal.SIGKILL)
    own_kafka.start()
    assert own_kafka.pid != killed
    assert values(own_kafka.bootstrap, topic_name) == [(b"k", b"v")]


def test_it_stops_when_its_owner_ends(run: Run, tmp_path: Path) -> None:
    owner = subprocess.Popen(["sleep", "600"])
    try:
        started = run("a", "start", "--port", "0", "--owner", owner.pid)
        assert started.returncode == 0, started.stderr
    finally:
        owner.kill()  # it is not waited for: a process that has ended but is not collected counts
    deadline = time.monotonic() + 30
    while run("a", "status").returncode != NOT_RUNNING and time.monotonic() < deadline:
        time.sleep(0.2)
    owner.wait()
    assert run("a", "status").returncode == NOT_RUNNING


def test_a_start_that_is_interrupted_leaves_nothing_running(tmp_path: Path) -> None:
    data = tmp_path / "a"
    start = subprocess.Popen(
        command(data, "start", "--port", 0, "--engine", "java"), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while "pid" not in (state(data) if (data / "broker.json").exists() else {}):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    start.send_signal(signal.SIGINT)
    assert start.wait(30) in (0, 130)  # 0: it was ready before the signal came
    if start.returncode == 0:
        run_script(data, "stop")
    assert run_script(data, "status").returncode == NOT_RUNNING
    # the broker was told to end; under load that takes a moment
    while Path(f"/proc/{state(data)['pid']}").exists():
        assert time.monotonic() < deadline + 30
        time.sleep(0.05)


# ---- what it says when it cannot


def test_a_port_in_use_is_named(run: Run) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = run("a", "start", "--port", port)
    assert refused.returncode == 1
    assert f"port {port} is in use" in refused.stderr
    assert refused.stdout == ""


def test_a_broker_that_ends_at_once_shows_its_log(run: Run) -> None:
    failed = run("a", "start", "--port", "0", CTR_KAFKA_JAVA_OPTS="-XX:NoSuchOption")
    assert failed.returncode == 1
    assert "NoSuchOption" in failed.stderr
    assert run("a", "status").returncode == NOT_RUNNING


def test_a_process_that_does_not_answer_is_not_running_well(own_kafka) -> None:
    os.kill(own_kafka.pid, signal.SIGSTOP)
    try:
        told = run_script(own_kafka.data, "status")
    finally:
        os.kill(own_kafka.pid, signal.SIGCONT)
    assert told.returncode == 1
    assert "not answering" in told.stdout
    assert run_script(own_kafka.data, "status").returncode == 0


def test_the_jars_are_fetched_once_and_whole(tmp_path: Path) -> None:
    """Three at once into an empty cache: one of them downloads, all find every jar."""
    environment = os.environ | {"CTR_KAFKA_CACHE": str(tmp_path)}
    prefetch = command(tmp_path / "data", "prefetch", "--engine", "java")
    fetches = [
        subprocess.Popen(prefetch, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [fetch.communicate()[1] for fetch in fetches]
    assert [fetch.returncode for fetch in fetches] == [0, 0, 0], told
    assert sum("getting the jars" in text for text in told) == 1
    (folder,) = (entry for entry in tmp_path.iterdir() if entry.is_dir())
    jars = {jar.name.rpartition("-")[0] for jar in folder.iterdir()}
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl"} <= jars


DOCKER = """#!/bin/sh
# Stands in for the docker command: an engine is there, and its kafka is a real broker.
echo "$@" >>{log}
port=$CTR_KAFKA_PORT
unset CTR_KAFKA_ENGINE
script="{python} {script}"
case "$*" in
    info|"compose version") exit 0 ;;
    *" up --detach kafka") $script start --engine java --data {data} --port $port ;;
    *" ps --quiet --status running kafka") $script status --data {data} | grep ^running || true ;;
    *" stop kafka") $script stop --data {data} ;;
    *) exit 64 ;;
esac
"""


def test_with_an_engine_it_is_the_compose_service(run: Run, tmp_path: Path, free_port: int) -> None:
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    inside, log = tmp_path / "inside", tmp_path / "docker.log"
    docker.write_text(DOCKER.format(log=log, python=sys.executable, script=SCRIPT, data=inside))
    docker.chmod(0o755)
    here = {"PATH": f"{docker.parent}:{os.environ['PATH']}", "CTR_KAFKA_ENGINE": "auto"}
    try:
        started = run("a", "start", "--port", free_port, **here)
        assert (started.returncode, started.stdout) == (0, f"127.0.0.1:{free_port}\n")
        assert "(docker)" in started.stderr
        assert run("a", "status", **here).returncode == 0
        assert run("a", "stop", **here).returncode == 0
        assert run("a", "status", **here).returncode == NOT_RUNNING
    finally:
        run_script(inside, "stop")
    assert f"--file {SCRIPT.parent.parent / 'docker-compose.yml'}" in log.read_text()


# ---- what it can do


def test_transactions(kafka, topic_name: str) -> None:
    make_topic(kafka.bootstrap, topic_name)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic_name)
    with closing(producer):
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic_name, b"taken back", key=b"a")
        producer.flush()
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send(topic_name, b"kept", key=b"a")
        producer.flush()
        producer.commit_transaction()
    committed = values(kafka.bootstrap, topic_name, isolation_level="read_committed")
    assert committed == [(b"a", b"kept")]
    assert len(values(kafka.bootstrap, topic_name, isolation_level="read_uncommitted")) == 2


def test_a_compacted_topic_is_compacted_while_one_waits(kafka, topic_name: str) -> None:
    settings = {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.01"}
    make_topic(kafka.bootstrap, topic_name, **{"cleanup.policy": "compact"}, **settings)
    deadline = time.monotonic() + 60
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        for number in range(50):
            producer.send(topic_name, b"%d" % number, key=b"the same")
        producer.send(topic_name, b"untouched", key=b"another").get(10)
        # compaction leaves the newest segment alone, so newer records have to follow
        while len(left := values(kafka.bootstrap, topic_name)) > 5:
            assert time.monotonic() < deadline, left
            time.sleep(0.5)
            producer.send(topic_name, b"last", key=b"the same").get(10)
    assert (b"another", b"untouched") in left
    assert left[-1] == (b"the same", b"last")


def test_a_record_of_ten_megabytes_goes_through(kafka, topic_name: str) -> None:
    make_topic(kafka.bootstrap, topic_name)
    large = os.urandom(10_485_760)
    with closing(
        KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=16_000_000)
    ) as producer:
        producer.send(topic_name, large, key=b"k").get(30)
    assert values(kafka.bootstrap, topic_name) == [(b"k", large)]


def test_a_misspelt_topic_is_not_made(kafka, topic_name: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_block_ms=1500)
    with closing(producer), pytest.raises((KafkaTimeoutError, KafkaError)):
        producer.send(topic_name, b"lost").get(5)
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        assert topic_name not in admin.list_topics()
