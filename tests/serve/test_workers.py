"""Several processes on one port with one model, each of which may end at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ctr.errors import SettingError
from ctr.features.parser import Parser
from ctr.model import snapshot
from ctr.model.image import Image
from ctr.model.manifest import Manifest
from ctr.model.topic import TopicWriter
from ctr.serve.workers import WorkerError, Workers
from ctr.settings import Config, Kafka, Serve
from ctr.types import Records

from .running import BITS, SPEC, manifest, random_model
from .test_run import wait_until_refused
from .workers_process import REQUEST, ROWS, Counting, weight

SCRIPT = Path(__file__).with_name("workers_process.py")


def probability(version: int) -> float:
    """The answer of a version: 20 features and the bias have the same weight."""
    return float(1 / (1 + np.exp(-21 * np.float32(weight(version)))))


class Cluster:
    """A server of several processes, by the process that started the others."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.admin_url, self.url = self._line(), self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("http://127.0.0.1:"), line
        return line

    def go_on(self, last: int) -> None:
        """Have versions come up to ``last``."""
        assert self.process.stdin is not None
        print(last, file=self.process.stdin, flush=True)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", httpx.URL(self.url).port or 0

    def workers(self) -> list[int]:
        """The ids of the processes that answer."""
        task = Path(f"/proc/{self.process.pid}/task")
        found = [(one / "children").read_text().split() for one in task.iterdir()]
        return sorted(int(pid) for pids in found for pid in pids)

    def metrics(self) -> dict[str, float]:
        """Every series that is shown, by name and labels; asked again when a worker is killed."""
        while True:
            try:
                text = httpx.get(f"{self.admin_url}/metrics", timeout=30).text
            except httpx.TransportError:
                continue
            families = text_string_to_metric_families(text)
            samples = (sample for family in families for sample in family.samples)
            return {s.name + json.dumps(s.labels, sort_keys=True): s.value for s in samples}

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics()[name + json.dumps({"model": "clicks", **labels}, sort_keys=True)]

    def wait_for_version(self, version: int) -> None:
        def there() -> bool:
            name = 'ctr_served_model_version{"model": "clicks"}'
            return self.metrics().get(name, 0) >= version

        wait(there)
        # every worker has it as soon as it is asked, and makes its parser then
        for _ in range(4):
            assert httpx.post(f"{self.url}/v1/predict", content=REQUEST, timeout=60).is_success


def wait(good: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def maps(pid: int) -> int:
    """How many pieces of models a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:ctr-model")


@contextmanager
def cluster(*settings: str, seconds: float = 0.01) -> Iterator[Cluster]:
    """A server of two workers with version 1; killed if it still runs. The next versions come
    every so many ``seconds``, when they are asked for.
    """
    started = subprocess.Popen(
        [sys.executable, SCRIPT, "2", str(seconds), *settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pids: list[int] = []
    try:
        made = Cluster(started)
        made.wait_for_version(1)
        pids = made.workers()
        yield made
    finally:
        started.kill()
        started.communicate()
        wait(lambda: not any(map(alive, pids)))


class Asking:
    """A client that asks until told to stop, and checks that each answer is of one version."""

    def __init__(self, server: Cluster) -> None:
        self.versions: list[int] = []
        self.failures = 0
        self._url = server.url
        self._done = threading.Event()

    def stop(self) -> None:
        self._done.set()

    def run(self) -> None:
        while not self._done.is_set():
            with httpx.Client(base_url=self._url, timeout=60) as http:
                try:
                    while not self._done.is_set():
                        self._ask(http)
                except httpx.TransportError:  # its worker was killed
                    self.failures += 1

    def _ask(self, http: httpx.Client) -> None:
        answer = http.post("/v1/predict", content=REQUEST)
        assert answer.status_code == 200, answer.text
        said = answer.json()
        version = said["model"]["version"]
        assert np.abs(np.array(said["probabilities"]) / probability(version) - 1).max() < 1e-3
        self.versions.append(version)


@contextmanager
def asked(server: Cluster, clients: int) -> Iterator[list[Asking]]:
    """While several clients ask."""
    asking = [Asking(server) for _ in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(one.run) for one in asking]
        try:
            yield asking
        finally:
            for one in asking:
                one.stop()
        for future in running:
            future.result()


def test_no_answer_mixes_versions_while_updates_come() -> None:
    """All weights change with each of 300 versions, in place and to new memory."""
    last = 300
    with cluster() as server:
        before = server.metric("ctr_requests_total", code="200")
        half: dict[int, int] = {}
        with asked(server, 4) as asking:
            wait(lambda: all(len(one.versions) > 2 for one in asking))
            server.go_on(last // 2)
            server.wait_for_version(last // 2)
            pids = [server.process.pid, *server.workers()]
            half = {pid: maps(pid) for pid in pids}
            server.go_on(last)
            server.wait_for_version(last)
        for one in asking:
            assert one.failures == 0
            assert one.versions == sorted(one.versions)
            assert len(set(one.versions)) > 10
        own = 2 * 4  # requests of wait_for_version
        answered = sum(len(one.versions) for one in asking) + own
        assert server.metric("ctr_requests_total", code="200") == before + answered
        assert server.metric("ctr_predictions_total") == ROWS * (before + answered)
        assert server.metric("ctr_request_duration_seconds_count") == before + answered
        assert server.metric("ctr_model_updates_total") == last
        assert server.metric("ctr_follow_failures_total") == 0
        assert server.metric("ctr_worker_restarts_total") == 0
        assert all(maps(pid) <= half[pid] + 4 for pid in pids)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """One for the tests that do no harm to it."""
    with cluster("serve.admin_port=0") as made:
        yield made


def test_connections_are_shared_equally(server: Cluster) -> None:
    """But for a worker that the system lets wait, or that is just starting: tried until it is."""
    wait(lambda: min(shares(server, 32)) >= 14)


def shares(server: Cluster, count: int) -> list[int]:
    """How many of so many connections that are opened at once each worker gets."""
    opened = [socket.create_connection(server.address, timeout=20) for _ in range(count)]
    try:
        ports = {one.getsockname()[1] for one in opened}

        def found() -> list[int]:
            return [len(ports & accepted(pid, server.address[1])) for pid in server.workers()]

        wait(lambda: sum(found()) == count)
        return found()
    finally:
        for one in opened:
            one.close()


def accepted(pid: int, port: int) -> set[int]:
    """The clients' ports of the connections to ``port`` that a process has."""
    owned = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            owned.add(os.readlink(link))
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        (local, remote), inode = (int(end.rpartition(":")[2], 16) for end in fields[1:3]), fields[9]
        if local == port and f"socket:[{inode}]" in owned:
            found.add(remote)
    return found


def test_a_worker_that_is_killed_is_replaced_and_nothing_falls() -> None:
    with cluster(seconds=0.05) as server:
        victim = server.workers()[0]
        before = server.metrics()
        kept = "ctr_requests_total", "ctr_predictions_total", "ctr_request_duration_seconds_bucket"
        with asked(server, 4) as asking:
            server.go_on(10_000)
            wait(lambda: sum(len(one.versions) for one in asking) > 50)
            os.kill(victim, signal.SIGKILL)
            previous = before
            restarted = False
            while not restarted:
                now = server.metrics()
                for name, value in previous.items():
                    counts = re.match(r"\w+_(total|count|bucket)\{", name)
                    assert not counts or now[name] >= value, name
                previous = now
                restarted = (
                    now['ctr_worker_restarts_total{"model": "clicks"}'] == 1
                    and now['ctr_workers{"model": "clicks"}'] == 2
                )
            count = sum(len(one.versions) for one in asking)
            wait(lambda: sum(len(one.versions) for one in asking) > count + 50)
        assert victim not in server.workers()
        assert len(server.workers()) == 2
        failures = sum(one.failures for one in asking)
        answered = sum(len(one.versions) for one in asking)
        assert failures <= 4  # those that were connected to it, once each
        counted = server.metrics()
        total = 'ctr_requests_total{"code": "200", "model": "clicks"}'
        # what it had counted and not sent yet was not received by anybody
        assert answered <= counted[total] - before[total] <= answered + failures
        assert any(name.startswith(kept) for name in counted)


def test_no_connection_that_waits_is_lost_with_a_worker() -> None:
    """With both stopped, connections wait; then one of the two dies."""
    with cluster() as server:
        pids = server.workers()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(6) as pool:
                waiting = [
                    pool.submit(
                        httpx.post, f"{server.url}/v1/predict", content=REQUEST, timeout=120
                    )
                    for _ in range(6)
                ]
                wait(lambda: queued(server.address[1]) == len(waiting))
                os.kill(pids[0], signal.SIGKILL)
                os.kill(pids[1], signal.SIGCONT)
                assert [one.result().status_code for one in waiting] == [200] * 6
        finally:
            os.kill(pids[1], signal.SIGCONT)


def queued(port: int) -> int:
    """Connections that nobody has accepted yet."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "0A":
            return int(fields[4].rpartition(":")[2], 16)
    raise AssertionError(f"nobody listens on {port}")


def test_when_the_parent_is_killed_the_workers_end_and_leave_nothing() -> None:
    there = set(os.listdir("/dev/shm"))
    with cluster() as server:
        pids = server.workers()
        server.go_on(10_000)
        server.process.kill()
        wait(lambda: not any(map(alive, pids)), 30)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.address, timeout=5)
    assert not {name for name in set(os.listdir("/dev/shm")) - there if "ctr" in name}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_has_all_finish_what_they_began(number: signal.Signals) -> None:
    with cluster() as server:
        pids = server.workers()
        with (
            socket.create_connection(server.address, timeout=20) as begun,
            begun.makefile("rb") as reader,
        ):
            head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(REQUEST)}\r\n"
            begun.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            assert reader.readline().startswith(b"HTTP/1.1 100")  # it waits for the body now
            reader.readline()
            begun.sendall(REQUEST[:10])
            server.process.send_signal(number)
            wait(lambda: sum(map(alive, pids)) == 1)  # the other one has nothing to do
            wait_until_refused(server.address)
            begun.sendall(REQUEST[10:])
            assert reader.readline().startswith(b"HTTP/1.1 200")
            assert b'"probabilities":[' in reader.read()
        out, err = server.process.communicate(timeout=30)
        assert (server.process.returncode, out, err) == (0, "closed\nended\n", "")
        assert not any(map(alive, pids))


def test_metrics_of_all_are_on_the_admin_address_alone(server: Cluster) -> None:
    assert server.admin_url != server.url
    before = server.metric("ctr_requests_total", code="200")
    for _ in range(10):
        assert httpx.post(f"{server.url}/v1/predict", content=REQUEST).status_code == 200
    assert server.metric("ctr_requests_total", code="200") == before + 10
    assert httpx.get(f"{server.url}/metrics").status_code == 404
    status = httpx.get(f"{server.admin_url}/v1/status").json()["models"][0]
    assert (status["version"], status["ready"]) == (1, True)
    assert server.metrics()["process_cpu_seconds_total{}"] > 0


def test_a_worker_that_cannot_begin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(serve=Serve(port=0, workers=2))
    server = Workers(config, lambda allocate: Counting(allocate, 0))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="ended with 1 before all could answer"):
        server.run()


def test_what_no_worker_could_do_is_an_error_before_any_starts(tmp_path: Path) -> None:
    def follow(allocate: Any) -> Counting:
        raise AssertionError("nothing is to be followed")

    for wrong in (
        Serve(port=0, workers=2, keys_file=str(tmp_path / "no such file")),
        Serve(port=0, workers=2, tls_certificate=str(tmp_path / "no such file")),
        Serve(port=0, workers=2, shadow=str(tmp_path / "no such file")),
    ):
        with pytest.raises(SettingError, match="no such file"):
            Workers(Config(serve=wrong), follow)


@contextmanager
def command(*arguments: Any) -> Iterator[Callable[[bytes], list[Any]]]:
    """``ctr serve`` with two workers, as what asks it eight times; it ends with 0."""
    started = subprocess.Popen(
        [sys.executable, "-m", "ctr", "serve", "--workers", "2", "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stderr is not None
        lines = iter(started.stderr.readline, "")
        url = next(line.split()[-1] for line in lines if "serving clicks on http" in line)

        def ask(body: bytes) -> list[Any]:
            answers = [httpx.post(f"{url}/v1/predict", content=body) for _ in range(8)]
            assert {answer.status_code for answer in answers} <= {200, 503}
            return [answer.json() for answer in answers if answer.is_success]

        yield ask
        started.terminate()
        started.communicate(timeout=30)
        assert started.returncode == 0
    finally:
        started.kill()
        started.communicate()


def versions(answers: list[Any]) -> list[int]:
    return [answer["model"]["version"] for answer in answers]


def test_a_file_that_is_replaced_is_everybodys(tmp_path: Path) -> None:
    path = tmp_path / "clicks.model"
    snapshot.write(path, manifest(1), random_model())
    with command("--model", path) as ask:
        wait(lambda: versions(ask(REQUEST)) == [1] * 8)
        snapshot.write(path, manifest(2, SPEC), random_model(seed=2))
        wait(lambda: versions(ask(REQUEST)) == [2] * 8)


def test_a_topic_is_followed_by_all(kafka: Any, topic_name: str) -> None:
    """The whole first, then changes, which come to the model in place."""
    settings = Kafka(bootstrap_servers=kafka.bootstrap)
    published, pages = Image(BITS, "float32"), np.arange((1 << BITS) // 64)
    event = b'{"features":{"user":"u1","ad":"a1"}}'
    batch = Parser(SPEC, predicting=True).parse(Records.of([event])).batch
    writer = TopicWriter(settings, topic_name, "session")
    writer.claim()
    with command("--bootstrap-servers", kafka.bootstrap, "--topic", topic_name) as ask:
        for version in range(1, 6):
            published.update(pages, random_model(seed=version, density=1).pages().dense())
            writer.publish(Manifest(version=version, spec=SPEC), published)
            body = b'{"events":[' + event + b"]}"
            wait(lambda: versions(ask(body)) == [version] * 8)  # noqa: B023
            expected = published.model.predict(batch).tolist()
            assert [answer["probabilities"] for answer in ask(body)] == [expected] * 8
    writer.close()
