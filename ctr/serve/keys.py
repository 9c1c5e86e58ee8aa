"""API keys from a file: who may ask, by name."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import monotonic

from ctr.errors import SettingError
from ctr.features.request import RequestError
from ctr.observe.server import ServerMetrics
from ctr.settings import Serve

MAX_NAMES = 100
_MAX_FILE_BYTES = 1 << 20
_CHECK_SECONDS = 1.0

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[!-~]{16,512}")

WANTED = "a key of serve.keys_file, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"

log = logging.getLogger(__name__)


class Keys:
    """The keys of a file of lines ``NAME KEY``, read again within a second of a change.

    A name may have several keys, as while one is replaced by another. A new file that is not
    right is said so once, and the keys before it stay. ``count`` is told the name with each
    request that is let in, and ``refused`` of each that is not. Raises SettingError for a file
    that cannot be read at the start.
    """

    def __init__(
        self,
        path: str,
        count: Callable[[str], None] = lambda name: None,
        refused: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path, self._count, self._refused, self._clock = path, count, refused, clock
        # keyed with a secret, digests tell nothing by the time that looking them up takes
        self._secret = secrets.token_bytes(32)
        self._identity = _identity(path)
        self._names = self._read()
        self._next_check = clock() + _CHECK_SECONDS

    @classmethod
    def of(cls, settings: Serve, metrics: ServerMetrics, address: str) -> Keys | None:
        """Those that the settings name, counted in ``metrics``; None when they name none."""
        if not settings.keys_file:
            return None
        refused = partial(metrics.traffic(address).refused, "key")
        return cls(settings.keys_file, partial(metrics.key_requests.add, 1), refused)

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request with these headers (names in lower case) may go on."""
        if self._clock() >= self._next_check:
            self._check()
        for name, value in headers:
            if name == b"authorization":
                if value[:7].lower() != b"bearer ":
                    continue
                value = value[7:].strip()
            elif name != b"x-api-key":
                continue
            digest = self._digest(value)
            digest_known, who = self._names.get(digest, (b"", ""))
            if hmac.compare_digest(digest, digest_known):
                self._count(who)
                return True
        return False

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> RequestError:
        """What a request that is not admitted is told; never the key it came with."""
        self._refused()
        given = any(name in (b"authorization", b"x-api-key") for name, _ in headers)
        got = "one that is not known" if given else "none"
        return RequestError(401, "key", got, WANTED)

    def _digest(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._secret, digest_size=32).digest()

    def _check(self) -> None:
        self._next_check = self._clock() + _CHECK_SECONDS
        identity = _identity(self._path)
        if identity == self._identity:
            return
        self._identity = identity
        try:
            self._names = self._read()
        except SettingError as error:
            log.warning("%s; the keys read before stay", error)
        else:
            log.info("serve.keys_file was read again")

    def _read(self) -> Mapping[bytes, tuple[bytes, str]]:
        try:
            with open(self._path, "rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IROTH:
                    log.warning("serve.keys_file %s can be read by everybody here", self._path)
                text = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            wanted = f"a file of API keys ({error.strerror})"
            raise SettingError("serve.keys_file", self._path, wanted) from None
        names: dict[bytes, tuple[bytes, str]] = {}
        for name, key in _parsed(self._path, text):
            digest = self._digest(key)
            if names.get(digest, (digest, name))[1] != name:
                raise _wrong(self._path, f"a key of its own for each name ({name} has another's)")
            names[digest] = (digest, name)
        if not names:
            raise _wrong(self._path, "a file with lines of NAME KEY")
        if len({name for _, name in names.values()}) > MAX_NAMES:
            raise _wrong(self._path, f"a file of at most {MAX_NAMES} names")
        return names


def _parsed(path: str, content: bytes) -> Iterable[tuple[str, bytes]]:
    """Names and keys; errors say the line and nothing of what stands there."""
    if len(content) > _MAX_FILE_BYTES:
        raise _wrong(path, f"a file of at most {_MAX_FILE_BYTES} bytes")
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise _wrong(path, f"lines of NAME KEY (line {number} has {len(words)} words)")
        name, key = words
        if not _NAME.fullmatch(name):
            raise _wrong(path, f"names of A-Z a-z 0-9 . _ - (line {number})")
        if not _KEY.fullmatch(key):
            raise _wrong(path, f"keys of 16 to 512 visible ASCII characters (line {number})")
        yield name, key.encode()


def _wrong(path: str, wanted: str) -> SettingError:
    return SettingError("serve.keys_file", path, wanted)


def _identity(path: str) -> tuple[int, ...]:
    """Changes when the file does; a file that is not there has one too."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
