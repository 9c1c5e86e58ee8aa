"""The bytes of a file or pipe, decompressed when they are gzip or zstd."""

from __future__ import annotations

import os
import select
import stat
import zlib
from typing import Protocol

import zstandard

from ctr.errors import SourceError

_CHUNK = 1 << 15
_ENDINGS = {".gz": "gzip", ".zst": "zstd"}


class _Decoder(Protocol):
    """What ``zlib.decompressobj`` and zstandard's have in common: one member, or frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def codec_of(head: bytes) -> str:
    """The codec of a file by its first 4 bytes: "gzip", "zstd" or "" for none.

    >>> codec_of(bytes([0x28, 0xB5, 0x2F, 0xFD])), codec_of(b'{"la')
    ('zstd', '')
    """
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    skippable = head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F
    return "zstd" if skippable or head[:4] == b"\x28\xb5\x2f\xfd" else ""


class InputStream:
    """The content of the open file ``descriptor``, which ``name`` names in errors.

    Its first bytes tell whether it is compressed; a name that ends in .gz or .zst and content
    that is not is an error. Several members or frames after one another are one content.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name, self._descriptor = name, descriptor
        self.is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.bytes_read = 0
        self._codec: str | None = None
        self._head = b""
        self._decoder: _Decoder | None = None
        self._pending = memoryview(b"")

    def readinto(self, view: memoryview, timeout: float) -> int | None:
        """Read into ``view``: how many bytes, 0 at the end, None when a pipe gave none in time.

        Raises SourceError, with the name and the byte, for content that cannot be decompressed.
        """
        while not self._pending:
            if self._codec == "":
                return self._receive(view, timeout)
            chunk = memoryview(bytearray(_CHUNK))
            if (size := self._receive(chunk, timeout)) is None:
                return None
            if not self._content(chunk[:size].tobytes()):
                return 0
        size = min(len(view), len(self._pending))
        view[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

    def seek(self, offset: int) -> bool:
        """Go to byte ``offset`` of the content, where that needs no reading; False elsewhere."""
        if not self.is_regular:
            return False
        begin = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        self._recognise(os.pread(self._descriptor, 4, begin))
        if self._codec or begin + offset > os.fstat(self._descriptor).st_size:
            return False
        self.bytes_read = os.lseek(self._descriptor, begin + offset, os.SEEK_SET) - begin
        return True

    def _receive(self, view: memoryview, timeout: float) -> int | None:
        if not self.is_regular and not select.select([self._descriptor], [], [], timeout)[0]:
            return None
        size = os.readv(self._descriptor, [view])
        self.bytes_read += size
        return size

    def _content(self, data: bytes) -> bool:
        """Take in bytes as they were read; False when there was nothing more to take."""
        more = bool(data)
        if self._codec is None:
            self._head += data
            if more and len(self._head) < 4:
                return True
            self._recognise(self._head)
            data, self._head = self._head, b""
        if self._codec:
            data = self._decoded(data, more)
        self._pending = memoryview(data)
        return more or bool(data)

    def _recognise(self, head: bytes) -> None:
        self._codec = codec_of(head)
        wanted = _ENDINGS.get(os.path.splitext(self.name)[1], "")
        if wanted and self._codec != wanted:
            raise SourceError(f"{self.name}: not {wanted} from byte 0 on, as its name says")

    def _decoded(self, data: bytes, more: bool) -> bytes:
        parts = []
        while data:
            if self._decoder is None:
                # gzip files may be padded with zeros
                data = data.lstrip(b"\0") if self._codec == "gzip" else data
                if not data:
                    break
                self._decoder = _decoder(self._codec)
            try:
                parts.append(self._decoder.decompress(data))
            except (zlib.error, zstandard.ZstdError) as error:
                raise self._broken(len(data), str(error)) from None
            data = self._decoder.unused_data
            if self._decoder.eof:
                self._decoder = None
        if not more and self._decoder is not None:
            raise self._broken(0, "it ends in the middle")
        return b"".join(parts)

    def _broken(self, left: int, why: str) -> SourceError:
        near = self.bytes_read - left
        return SourceError(f"{self.name}: broken {self._codec} after byte {near}: {why}")


def _decoder(codec: str | None) -> _Decoder:
    if codec == "gzip":
        return zlib.decompressobj(wbits=31)
    return zstandard.ZstdDecompressor().decompressobj()
