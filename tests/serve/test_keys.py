"""API keys: who may ask, and that nobody else learns one."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from ctr.errors import SettingError
from ctr.serve.keys import MAX_NAMES, Keys
from ctr.settings import Serve

from .raw import PREDICT, connected
from .running import Feed, Running, random_model, running, whole

ALICE, BOB, OTHER = "a" * 20, "b" * 20, "0123456789abcdef"
LINES = f"# who may ask\n\nalice {ALICE}\n  bob\t{BOB}  \nbob {OTHER}\n"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    written(path, LINES)
    return path


def written(path: Path, text: str, mode: int = 0o600) -> None:
    """Put a new file in the place of the one before, as one should."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(mode)
    os.replace(new, path)


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + key.encode())]


def by_name(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-api-key", key.encode()), (b"accept", b"*/*")]


@pytest.mark.parametrize("headers", [bearer, by_name])
def test_known_keys_are_let_in_and_counted_by_name(file: Path, headers) -> None:
    names: list[str] = []
    keys = Keys(str(file), names.append)
    for key in (ALICE, BOB, OTHER):
        assert keys.admit(headers(key))
    assert names == ["alice", "bob", "bob"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearer(""),
        bearer(ALICE[:-1]),
        bearer(ALICE + "a"),
        bearer("alice"),
        by_name("#"),
        by_name("alice " + ALICE),
        [(b"authorization", ALICE.encode())],
        [(b"authorization", b"Basic " + ALICE.encode())],
        [(b"authorization", b"Bearer \xff\x00")],
        [(b"cookie", ALICE.encode())],
    ],
)
def test_others_are_not(file: Path, headers: list[tuple[bytes, bytes]]) -> None:
    names: list[str] = []
    keys = Keys(str(file), names.append)
    assert not keys.admit(headers)
    assert names == []
    said = keys.refusal(headers)
    assert said.status == 401
    assert ALICE[:10] not in str(said)


def test_the_scheme_may_be_in_any_case(file: Path) -> None:
    assert Keys(str(file)).admit([(b"authorization", b"bEARER  " + ALICE.encode() + b" ")])


def test_a_new_file_is_read_within_a_second(file: Path) -> None:
    clock = Clock()
    keys = Keys(str(file), clock=clock)
    written(file, f"carol {'c' * 16}\n")
    assert keys.admit(bearer(ALICE))  # not looked at yet
    clock.now += 1
    assert not keys.admit(bearer(ALICE))
    assert keys.admit(bearer("c" * 16))


WRONG = {
    "": "a file with lines of NAME KEY",
    "# nobody\n": "a file with lines of NAME KEY",
    "alice\n": "lines of NAME KEY (line 1 has 1 words)",
    f"x {ALICE}\nalice {ALICE} more\n": "line 2 has 3 words",
    f"al/ice {ALICE}\n": "names of A-Z a-z 0-9 . _ - (line 1)",
    f"{'n' * 65} {ALICE}\n": "names of",
    "alice short\n": "keys of 16 to 512 visible ASCII characters (line 1)",
    f"alice {ALICE}é\n": "keys of 16",
    f"alice {ALICE}\nbob {ALICE}\n": "a key of its own for each name (bob has another's)",
    "".join(f"n{i} {ALICE}{i}\n" for i in range(MAX_NAMES + 1)): f"at most {MAX_NAMES} names",
    f"alice {ALICE}\n" * 60_000: "bytes",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_a_wrong_file_is_an_error_that_tells_no_key(file: Path, text: str, said: str) -> None:
    written(file, text)
    with pytest.raises(SettingError) as raised:
        Keys(str(file))
    assert str(raised.value).startswith("serve.keys_file must be ")
    assert said in str(raised.value)
    assert "aaaa" not in str(raised.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"serve\.keys_file must be .*No such file"):
        Keys(str(tmp_path / "none"))


def test_as_many_names_as_may_be(file: Path) -> None:
    written(file, "".join(f"n{i} {ALICE}{i}\n" for i in range(MAX_NAMES)))
    keys = Keys(str(file))
    assert all(keys.admit(bearer(f"{ALICE}{i}")) for i in range(MAX_NAMES))


def test_a_new_file_that_is_wrong_changes_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keys = Keys(str(file), clock=clock)
    for spoil in (lambda: written(file, f"alice {BOB} {BOB}\n"), file.unlink):
        spoil()
        caplog.clear()
        for _ in range(3):
            clock.now += 2
            assert keys.admit(bearer(ALICE))
        assert len(caplog.messages) == 1  # said once
        assert "the keys read before stay" in caplog.text
        assert BOB not in caplog.text
    written(file, f"bob {BOB}\n")
    clock.now += 2
    assert keys.admit(bearer(BOB))
    assert not keys.admit(bearer(ALICE))


def test_a_file_for_everybody_to_read_is_said(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    Keys(str(file))
    assert not caplog.messages
    written(file, LINES, 0o644)
    Keys(str(file))
    assert "can be read by everybody" in caplog.text


# ---- at a server


def counted(server: Running, name: str) -> float | None:
    return server.registry.get_sample_value("ctr_key_requests_total", {"key": name})


def test_a_server_with_keys(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    feed = Feed()
    with running(feed, Serve(keys_file=str(file))) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        http = server.http
        good = {"Authorization": f"Bearer {ALICE}"}
        for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert http.get(path).status_code == 200
        for path in ("/", "/metrics", "/v1/status", "/v1/models", "/v2/models/clicks", "/nothing"):
            for wrong in ({}, {"Authorization": "Bearer 123"}, {"X-API-Key": f"{ALICE}x"}):
                answer = http.get(path, headers=wrong)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
            assert http.get(path, headers=good).status_code != 401
        body = {"events": [{"features": {"user": "u1"}}]}
        before = counted(server, "bob") or 0
        answer = http.post("/v1/predict", json=body)
        assert (answer.status_code, answer.json()["error"]["path"]) == (401, "key")
        assert http.post("/v1/predict", json=body, headers={"X-API-Key": BOB}).status_code == 200
        assert counted(server, "bob") == before + 1
        answer = http.post("/v2/models/clicks/infer", json=body)
        assert (answer.status_code, list(answer.json())) == (401, ["error"])
        assert isinstance(answer.json()["error"], str)
        metrics = http.get("/metrics", headers=good).text
        labels = {"address": "predictions", "reason": "key"}
        assert server.registry.get_sample_value("ctr_refusals_total", labels) == 20
        assert all(secret not in metrics + caplog.text for secret in (ALICE, BOB, OTHER))


def test_the_body_of_a_stranger_is_not_read(file: Path) -> None:
    feed = Feed()
    with running(feed, Serve(keys_file=str(file))) as server, connected(server) as client:
        client.send(PREDICT + b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")


# ---- the admin address


def test_the_routes_of_an_admin_address_are_only_there() -> None:
    feed = Feed()
    with running(feed, Serve(admin_port=0)) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        admin = server.server.admin_url
        for path in ("/metrics", "/", "/v1/status"):
            answer = server.http.get(path)
            assert answer.status_code == 404
            assert server.http.get(f"{admin}{path}").status_code == 200
        for path in ("/livez", "/readyz", "/v1/models"):
            assert server.http.get(path).status_code == 200
            assert server.http.get(f"{admin}{path}").status_code == 200
        body = {"events": []}
        assert server.predict(body).status_code == 200
        assert server.http.post(f"{admin}/v1/predict", json=body).status_code == 404
