"""Dead letters in a log directory: one JSON object a line, the bytes of the event intact.

``{"source": …, "reason": …, "text": …}`` where the bytes are UTF-8, else ``"base64"`` in place of
``"text"``.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ctr.log import LogReader, LogWriter
from ctr.stream.dead_letters import Letter


class LogDelivery:
    """Appends letters to the log in ``directory``, and forces each batch to the disk.

    Raises LockedError while another process writes there.
    """

    def __init__(self, directory: Path, segment_bytes: int = 64 << 20) -> None:
        self._log = LogWriter(directory, segment_bytes)

    def prepare(self) -> None:
        """The directory was made with the writer."""

    def deliver(self, letters: Sequence[Letter], closing: threading.Event) -> int:
        """Write letters; those before a disk was full count."""
        count = 0
        try:
            for letter in letters:
                self._log.append(to_line(letter))
                count += 1
        except OSError:
            if not count:
                raise
        self._log.flush()
        return count

    def close(self) -> None:
        """Close the log."""
        self._log.close()


def read_letters(directory: Path) -> Iterator[Letter]:
    """The letters in a log directory, the oldest first."""
    reader = LogReader(directory)
    try:
        while (lines := reader.read()) is not None:
            for start, end in zip(lines.starts.tolist(), lines.ends.tolist(), strict=True):
                yield from_line(lines.buffer[start:end].tobytes())
    finally:
        reader.close()


def to_line(letter: Letter) -> bytes:
    r"""A letter as a line of the log.

    >>> to_line(Letter("events/0/7/0", "utf8", bytes([0xFF])))
    b'{"source": "events/0/7/0", "reason": "utf8", "base64": "/w=="}\n'
    """
    try:
        value = {"text": letter.value.decode("utf-8")}
    except UnicodeDecodeError:
        value = {"base64": base64.b64encode(letter.value).decode()}
    fields = {"source": letter.source, "reason": letter.reason} | value
    return json.dumps(fields).encode() + b"\n"


def from_line(line: bytes) -> Letter:
    """A line of the log as a letter.

    >>> from_line(to_line(Letter("events/0/7/0", "utf8", b"snow")))
    Letter(source='events/0/7/0', reason='utf8', value=b'snow')
    """
    fields = json.loads(line)
    if "text" in fields:
        value = fields["text"].encode("utf-8")
    else:
        value = base64.b64decode(fields["base64"], validate=True)
    return Letter(fields["source"], fields["reason"], value)
