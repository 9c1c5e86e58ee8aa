"""Giving coordinates their names back, from events in which the features occur."""

from __future__ import annotations

import json

from ctr.features.parser import Parser
from ctr.kernels.table import coordinate
from ctr.settings import Features
from ctr.types import Records

_EACH = 8
"""Names kept for one coordinate."""


def named_coordinates(spec: Features, records: Records, found: dict[int, list[str]]) -> None:
    """Add to ``found`` which ``name=value`` of the events in ``records`` has which coordinate.

    Values are looked up one feature at a time: each event is parsed again with that feature
    alone, so the answer is the parser's own. For reading, not for speed. Crosses are named by
    their columns only.

    >>> found: dict[int, list[str]] = {}
    >>> event = b'{"label":1,"features":{"ad":"a9"}}'
    >>> named_coordinates(Features(bits=8), Records.of([event]), found)
    >>> sorted(sum(found.values(), []))
    ['(bias)', 'ad=a9']
    """
    parser = Parser(spec, predicting=True)
    events = parser.parse(records)
    mask = (1 << spec.bits) - 1
    names = parser.names
    values = _Values(spec)
    for row in range(len(events)):
        start, end = (
            events.source.starts[events.records[row]],
            events.source.ends[events.records[row]],
        )
        spelled = values.of(records.buffer[start:end].tobytes())
        span = range(events.batch.indptr[row], events.batch.indptr[row + 1])
        for k in span:
            key, name_id = int(events.batch.keys[k]), int(events.name_ids[k])
            name = spelled.get(key) or (names[name_id] if name_id > 0 else "(bias)")
            there = found.setdefault(int(coordinate(events.batch.keys[k], mask)), [])
            if name not in there and len(there) < _EACH:
                there.append(name)


class _Values:
    """Spellings of single features by key, remembered."""

    def __init__(self, spec: Features) -> None:
        self._spec = spec
        self._parser = Parser(spec, predicting=True)
        self._known: dict[str, dict[int, str]] = {}

    def of(self, event: bytes) -> dict[int, str]:
        try:
            features = json.loads(event)
            if self._spec.features:
                for part in self._spec.features.split("."):
                    features = features.get(part) or {}
        except (ValueError, AttributeError):
            return {}
        spelled: dict[int, str] = {}
        for name, value in features.items():
            for item in value if isinstance(value, list) else [value]:
                spelled |= self._keys(name, item)
        return spelled

    def _keys(self, name: str, value: object) -> dict[int, str]:
        text = f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        if text not in self._known:
            features: object = {name: value}
            if self._spec.features:
                for part in reversed(self._spec.features.split(".")):
                    features = {part: features}
            batch = self._parser.parse(Records.of([json.dumps(features).encode()])).batch
            # the bias, the feature, then what is made of time
            keys = batch.keys[1:2].tolist() if len(batch) else []
            self._known[text] = dict.fromkeys(keys, text)
        return self._known[text]
