"""Events from a list: for examples and tests, with the contract of every other source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ctr.stream.source import Skip
from ctr.types import Position, Positions, Records


class MemorySource:
    """The records ``values``, of which None is one without a value, ``batch_records`` at a time.

    The URI is ``uri``, an offset is an index.

    >>> source = MemorySource([b"a", b"b", b"c"], batch_records=2)
    >>> first = source.next_batch(0)
    >>> rest = MemorySource([b"a", b"b", b"c"], resume={first.source: first.after})
    >>> rest.next_batch(0).offsets
    array([2])
    """

    def __init__(
        self,
        values: Sequence[bytes | None],
        *,
        uri: str = "memory:list",
        resume: Positions | None = None,
        batch_records: int = 1000,
        timestamp: int = 0,
        skip: Iterable[str] = (),
    ) -> None:
        self._values, self._uri = values, uri
        self._batch_records, self._timestamp = batch_records, timestamp
        self._skip = Skip(skip)
        self._start = (resume or {}).get(uri, Position("", 0))
        self._at = self._start.offset

    healthy = True

    def next_batch(self, timeout: float) -> Records | None:
        """The next records; ``timeout`` is not needed."""
        if self.ended():
            return None
        first = self._at
        values = [value or b"" for value in self._values[first : first + self._batch_records]]
        self._at += len(values)
        records = Records.of(values, self._uri, first, self._timestamp)
        return self._skip.leave_out(records, self._uri)

    def ended(self) -> bool:
        """Whether all values were given."""
        return self._at >= len(self._values)

    def start(self) -> Positions:
        """The position it was made with."""
        return {self._uri: self._start}

    def lag(self) -> dict[str, int]:
        """Records not given yet."""
        return {self._uri: max(0, len(self._values) - self._at)}

    def commit(self, positions: Positions) -> None:
        """Nobody to tell."""

    def counters(self) -> dict[str, int]:
        """Nothing goes wrong."""
        return {}

    def close(self) -> None:
        """Nothing to close."""
