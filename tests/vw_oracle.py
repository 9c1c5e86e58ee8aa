"""The slow twin of the Vowpal Wabbit parser: the rules of docs/events.md and docs/hashing.md.

Time features, crosses and the hash are those of events in JSON and are taken from ``oracle``.
"""

from __future__ import annotations

import re

from ctr.settings import Features
from tests.oracle import TEXT, Bad, Reader, Row, feature_key, finish, float32, hash_bytes, step

BLANKS = b" \t\r"
NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
NO_NUMBERS = (b"nan", b"inf", b"infinity")
K2 = 0xC4CEB9FE1A85EC53


def read_record(
    record: bytes, spec: Features, timestamp: int = 0, predicting: bool = False
) -> list[Row | str | None]:
    """What becomes of each line of a record: a row, a reason, or None where it is skipped."""
    results: list[Row | str | None] = []
    for line in record.split(b"\n"):
        if line.strip(BLANKS):
            try:
                if len(line) > spec.max_event_bytes:
                    raise Bad("too_long")
                results.append(LineReader(spec, timestamp, predicting).line(line))
            except Bad as bad:
                results.append(bad.args[0])
    if not results:
        return ["too_long" if len(record) > spec.max_event_bytes else "empty"]
    return results


class LineReader(Reader):
    def line(self, line: bytes) -> Row | None:
        head, *namespaces = line.split(b"|")
        if not namespaces:
            raise Bad("syntax")
        if not self.predicting:
            self.head(head)
        for namespace in namespaces:
            self.namespace(namespace)
        return self.finished()

    def head(self, head: bytes) -> None:
        words = re.findall(rb"[^ \t\r]+", head)
        if words and (words[-1].startswith(b"'") or head.endswith(words[-1])):
            words.pop()
        for place, word in enumerate(words):
            if place == 0:
                x = decimal(word, "label")
                if x not in (-1.0, 0.0, 1.0):
                    raise Bad("label")
                self.label = max(x, 0.0)
            elif place == 1:
                self.row.weight = decimal(word, "weight")
                if not 1e-6 <= self.row.weight <= 1e6:
                    raise Bad("weight")
            elif place == 2:
                if decimal(word, "number") != 0.0:
                    raise Bad("value")
            else:
                raise Bad("syntax")

    def namespace(self, text: bytes) -> None:
        first, *rest = re.split(rb"[ \t\r]", text)
        words = [word for word in rest if word]
        column, colon, scale = first.partition(b":")
        if not column and colon:
            raise Bad("syntax")
        name = column.decode("utf-8", "replace") or " "
        if name in self.spec.exclude or (self.spec.include and name not in self.spec.include):
            return
        factor = decimal(scale, "number") if colon else 1.0
        hashed = hash_bytes(column or b" ", self.seed)
        unnamed = 0
        for word in words:
            feature, colon, value = word.partition(b":")
            if not feature:
                feature = str(unnamed).encode()
                unnamed += 1
            part = hash_bytes(feature, self.seed)
            x, key = factor, feature_key(hashed, TEXT, part)
            if colon and re.match(rb"[-+.0-9]", value):
                x *= decimal(value, "number")
            elif colon:
                if not value or value.lower() in NO_NUMBERS:
                    raise Bad("number")
                nested = finish(step(step(K2, hashed), part), 2)
                key = feature_key(nested, TEXT, hash_bytes(value, self.seed))
            x = float32(x)
            if abs(x) > self.spec.max_abs_value:
                raise Bad("value")
            if x != 0.0:
                self.emit(key, x, name)


def decimal(text: bytes, reason: str) -> float:
    if not NUMBER.fullmatch(text) or len(text) > 64 or abs(float32(float(text))) == float("inf"):
        raise Bad(reason)
    return float(text)
