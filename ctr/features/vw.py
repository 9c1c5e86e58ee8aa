"""The parser of Vowpal Wabbit's text: the same events out, from another spelling."""

from __future__ import annotations

from msgspec.structs import replace

from ctr.errors import SettingError
from ctr.features.parser import Parser, events_of
from ctr.kernels import names as roles
from ctr.kernels.vw import parse_lines
from ctr.settings import Features
from ctr.types import Events, Records

__all__ = ["VWParser"]

DEFAULT_NAMESPACE = " "
"""The column of features in a namespace without a name, called as Vowpal Wabbit calls it."""


class VWParser(Parser):
    r"""Reads lines ``[label [importance [base]]] ['tag]|namespace[:scale] feature[:value] …``.

    The format is in ``docs/events.md``. A namespace is a column: ``include``, ``exclude`` and
    ``crosses`` of ``spec`` name namespaces, " " being the one without a name. The names of JSON
    keys in ``spec`` mean nothing here, and a number is x, so that of the kinds in ``columns`` only
    linear makes sense: SettingError for another. All else is as in ``Parser``.

    >>> parser = VWParser(Features())
    >>> lines = b"1 2.0 'e7|ad a9 |price usd:0.5\n-1 |ad a4\n3 |ad x"
    >>> events = parser.parse(Records.of([lines]))
    >>> events.batch.labels.tolist(), events.batch.weights.tolist(), events.batch.values.tolist()
    ([1.0, 0.0], [2.0, 1.0], [1.0, 1.0, 0.5, 1.0, 1.0])
    >>> [parser.names[i] for i in events.name_ids]
    ['', 'ad', 'price', '', 'ad']
    """

    def __init__(self, spec: Features, *, predicting: bool = False) -> None:
        for name, kind in spec.columns.items():
            if kind != "linear":
                raise SettingError(
                    f"features.columns.{name}", kind, "'linear' in Vowpal Wabbit's text"
                )
        default = Features()
        keys = {key: getattr(default, key) for key in ("features", "label", "id", "ts", "weight")}
        # to be mentioned is to be in the table of names, under a name that no text there spells
        super().__init__(
            replace(spec, columns={DEFAULT_NAMESPACE: "linear"}, **keys), predicting=predicting
        )
        self.spec = spec
        self._configured = int(self._names.counts[roles.COUNT])

    def parse(self, records: Records) -> Events:
        """Every good line of ``records`` as a row, every bad one as a rejection.

        The arrays are new ones; ``records.buffer`` is only read.
        """
        return events_of(records, self._read(records, parse_lines))

    def _spelling(self, entry: int) -> str:
        if entry < self._configured:
            return super()._spelling(entry)
        start, length = self._names.entries["start"][entry], self._names.entries["length"][entry]
        spelled: bytes = self._names.arena[start : start + length].tobytes()
        return spelled.decode("utf-8", "replace")
