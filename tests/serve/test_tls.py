"""TLS: certificates that are right, wrong, renewed; clients with and without one."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from ctr.errors import SettingError
from ctr.serve import tls
from ctr.settings import Serve

from .raw import PREDICT, connected, whole_request
from .running import Feed, Running, random_model, running, whole


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def written(certificate: trustme.LeafCert, directory: Path, name: str = "server") -> Serve:
    """Settings of a server with this certificate."""
    chain, key = directory / f"{name}.pem", directory / f"{name}.key"
    chain.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return Serve(tls_certificate=str(chain), tls_key=str(key), request_seconds=0.5)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def secure(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    feed = Feed()
    settings = written(authority.issue_cert("localhost"), tmp_path_factory.mktemp("tls"))
    with running(feed, settings) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        yield server


def test_predictions_are_encrypted(secure: Running, authority: trustme.CA) -> None:
    assert secure.url.startswith("https://")
    with connected(secure, trusting(authority)) as client:
        for _ in range(2):
            client.send(whole_request())
            assert client.answer().status == 200
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.version() == "TLSv1.3"


def test_old_versions_and_strangers_are_refused(secure: Running, authority: trustme.CA) -> None:
    old = trusting(authority)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError), connected(secure, old):
        pass
    everybody = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError), connected(secure, everybody):
        pass


def test_abuse_of_an_encrypted_connection(secure: Running, authority: trustme.CA) -> None:
    trust = trusting(authority)
    for data, status in (
        (b"\x00\x01\x02\r\n", 400),
        (PREDICT + b"Content-Length: x\r\n\r\n", 400),
        (PREDICT, 408),
        (PREDICT + b"Content-Length: 100000000000\r\n\r\n", 413),
    ):
        with connected(secure, trust) as client:
            client.send(data)
            assert client.answer().status == status
    with connected(secure, trust) as client:  # gone in the middle of it
        client.send(whole_request()[:-5])
    with connected(secure, trust) as client:
        client.send(whole_request())
        assert client.answer().status == 200


def test_a_slow_or_absent_handshake_ends(secure: Running) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    for part in (b"", hello):
        with socket.create_connection(secure.address, timeout=20) as opened:
            opened.sendall(part)
            assert opened.recv(100) in (b"",)


def test_what_is_not_tls_is_refused(secure: Running, authority: trustme.CA) -> None:
    with connected(secure) as client:
        client.send(whole_request())
        assert not client.rest().startswith(b"HTTP")
    with connected(secure, trusting(authority)) as client:
        client.send(whole_request())
        assert client.answer().status == 200


# ---- clients' certificates


def test_clients_need_a_certificate_that_is_known(authority: trustme.CA, tmp_path: Path) -> None:
    clients = trustme.CA()
    ca = tmp_path / "clients.pem"
    clients.cert_pem.write_to_path(str(ca))
    settings = written(authority.issue_cert("localhost"), tmp_path)
    feed = Feed()
    with running(feed, _with(settings, tls_client_ca=str(ca))) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        known, stranger, nobody = (trusting(authority) for _ in range(3))
        clients.issue_cert("someone").configure_cert(known)
        trustme.CA().issue_cert("someone").configure_cert(stranger)
        for context in (stranger, nobody):
            assert asked(server, context) == b""
        assert asked(server, known).startswith(b"HTTP/1.1 200 ")


def asked(server: Running, context: ssl.SSLContext) -> bytes:
    """The first line of the answer to a prediction request; nothing if there is none."""
    try:
        with connected(server, context) as client:
            client.socket.sendall(whole_request())
            return client.reader.readline()
    except (ssl.SSLError, ConnectionResetError):
        return b""


# ---- files


def _with(settings: Serve, **changes: str) -> Serve:
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return Serve(**{**values, **changes})


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls.context(Serve()) is None


@pytest.mark.parametrize("name", ["tls_key", "tls_client_ca"])
def test_a_key_or_ca_alone_is_an_error(name: str) -> None:
    with pytest.raises(SettingError, match=rf"serve\.tls_certificate must be .*serve\.{name}"):
        tls.context(_with(Serve(), **{name: "file"}))


def test_errors_say_which_file_and_why(authority: trustme.CA, tmp_path: Path) -> None:
    good = written(authority.issue_cert("localhost"), tmp_path)
    other = written(authority.issue_cert("localhost"), tmp_path, "other")
    text, empty, broken = tmp_path / "text", tmp_path / "empty", tmp_path / "broken"
    text.write_text("hello\n")
    empty.write_text("")
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    locked = tmp_path / "locked"
    locked.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ")
    for changes, key, said in (
        ({"tls_certificate": str(tmp_path / "none")}, "tls_certificate", "No such file"),
        ({"tls_key": str(tmp_path / "none")}, "tls_key", "No such file"),
        ({"tls_client_ca": str(tmp_path / "none")}, "tls_client_ca", "No such file"),
        ({"tls_certificate": str(text)}, "tls_certificate", "a PEM file with a CERTIFICATE"),
        ({"tls_certificate": str(broken)}, "tls_certificate", "PEM certificate"),
        ({"tls_key": str(empty)}, "tls_key", "a PEM file with a PRIVATE KEY"),
        ({"tls_key": str(locked)}, "tls_key", "without a passphrase"),
        ({"tls_key": other.tls_key}, "tls_key", f"the private key of {good.tls_certificate}"),
        ({"tls_key": ""}, "tls_certificate", "a PEM file with a PRIVATE KEY"),
        ({"tls_client_ca": str(text)}, "tls_client_ca", "a PEM file with a CERTIFICATE"),
        ({"tls_client_ca": str(broken)}, "tls_client_ca", "PEM certificates"),
    ):
        with pytest.raises(SettingError) as raised:
            tls.context(_with(good, **changes))
        assert str(raised.value).startswith(f"serve.{key} must be ")
        assert said in str(raised.value)


def test_certificate_and_key_may_be_one_file(authority: trustme.CA, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(both))
    assert tls.context(Serve(tls_certificate=str(both))) is not None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def serial(context: ssl.SSLContext, trust: ssl.SSLContext) -> str:
    """The serial number that a server with this context shows, by a handshake in memory."""
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    server = context.wrap_bio(pipes[0], pipes[1], server_side=True)
    client = trust.wrap_bio(pipes[1], pipes[0], server_hostname="localhost")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = client.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_a_renewed_certificate_is_used_by_new_connections(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, trust = Clock(), trusting(authority)
    settings = written(authority.issue_cert("localhost"), tmp_path)
    context = tls.context(settings, clock)
    assert context is not None
    first = serial(context, trust)
    new = authority.issue_cert("localhost")
    Path(settings.tls_certificate).write_bytes(new.cert_chain_pems[0].bytes())
    clock.now += 2
    # certificate and key do not match for a moment: the old ones stay, whole
    assert {serial(context, trust) for _ in range(3)} == {first}
    assert "the certificate read before stays" in caplog.text
    Path(settings.tls_key).write_bytes(new.private_key_pem.bytes())
    clock.now += 2
    serial(context, trust)  # the handshake that notices
    assert serial(context, trust) != first
