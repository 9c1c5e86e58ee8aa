"""TLS for the server: a context from the settings, with certificates that may be renewed."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NoReturn

from ctr.errors import SettingError
from ctr.settings import Serve

_CHECK_SECONDS = 1.0

log = logging.getLogger(__name__)


def context(settings: Serve, clock: Callable[[], float] = monotonic) -> ssl.SSLContext | None:
    """TLS 1.2 or later with the certificate of ``settings``; None when it has none.

    With ``tls_client_ca``, clients need a certificate that it signed. A certificate or key that
    changes is used by connections opened a second later, if the two are right; else the ones
    before stay, and that is said. Raises SettingError for files that are not right at the start.
    """
    if not settings.tls_certificate:
        for name in ("tls_key", "tls_client_ca"):
            if getattr(settings, name):
                wanted = f"set, for there is serve.{name}"
                raise SettingError("serve.tls_certificate", "", wanted)
        return None
    made = _made(settings)
    # called at the start of every handshake, whether the client names a server or not
    made.sni_callback = _Renewal(settings, clock).look
    return made


def _made(settings: Serve) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # a handshake costs the server more than the client: one a connection
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    _load(made, settings)
    if settings.tls_client_ca:
        _text("serve.tls_client_ca", settings.tls_client_ca, "CERTIFICATE")
        try:
            made.load_verify_locations(settings.tls_client_ca)
        except (ssl.SSLError, OSError) as error:
            _refuse("serve.tls_client_ca", settings.tls_client_ca, "PEM certificates", error)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _load(made: ssl.SSLContext, settings: Serve) -> None:
    """Certificate and key; SettingError says which is wrong and how."""
    certificate, key = settings.tls_certificate, settings.tls_key or settings.tls_certificate
    named = "serve.tls_key" if settings.tls_key else "serve.tls_certificate"
    _text("serve.tls_certificate", certificate, "CERTIFICATE")
    if "ENCRYPTED" in _text(named, key, "PRIVATE KEY"):
        raise SettingError(named, key, "a private key without a passphrase")
    try:
        made.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingError(named, key, f"the private key of {certificate}") from None
        _refuse("serve.tls_certificate", certificate, "PEM certificate, with a PEM key", error)


def _text(name: str, path: str, holds: str) -> str:
    """A PEM file's text."""
    try:
        text = Path(path).read_text("ascii", "replace")
    except OSError as error:
        raise SettingError(name, path, f"a PEM file ({error.strerror})") from None
    if f"{holds}-----" not in text:
        raise SettingError(name, path, f"a PEM file with a {holds}")
    return text


def _refuse(name: str, path: str, wanted: str, error: Exception) -> NoReturn:
    reason = getattr(error, "reason", None) or str(error)
    raise SettingError(name, path, f"{wanted} ({reason})") from None


class _Renewal:
    """Loads certificate and key again after they changed, when somebody connects."""

    def __init__(self, settings: Serve, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._seen = self._identity()
        self._next_check = clock() + _CHECK_SECONDS

    def look(self, connection: object, name: str | None, made: ssl.SSLContext) -> None:
        """See whether the files have changed, if nobody has within a second."""
        now = self._clock()
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_SECONDS
        seen = self._identity()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            # tried elsewhere first: what fails here would leave the context without a key
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._settings)
            _load(made, self._settings)
        except SettingError as error:
            log.warning("%s; the certificate read before stays", error)
        else:
            log.info("serve.tls_certificate was read again")

    def _identity(self) -> list[tuple[int, int, int]]:
        found = []
        for path in (self._settings.tls_certificate, self._settings.tls_key):
            try:
                at = os.stat(path)
                found.append((at.st_ino, at.st_size, at.st_mtime_ns))
            except OSError:
                found.append((0, 0, 0))
        return found
