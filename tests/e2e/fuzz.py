"""Records as no producer should write them, drawn by hypothesis."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

GOOD = (
    b'{"id":"9f2c","ts":1700000000000,"label":1,"weight":0.5,"features":{"user":"u17","ad":"a9",'
    b'"price":1.25,"session":9007199254740993,"tags":["a","b"],"new":true,"site":null}}',
    b'{"label":0,"features":{"user":"u\\u00e9","x":-2.5e-3,"hour":13}}',
    b' {"label" : false , "features" : { } } \r',
    '{"label":true,"features":{"città":"日本","x":7}}'.encode(),
)


@st.composite
def _truncated(draw: st.DrawFn) -> bytes:
    line = draw(st.sampled_from(GOOD))
    return line[: draw(st.integers(0, len(line) - 1))]


@st.composite
def _spoiled(draw: st.DrawFn) -> bytes:
    """A good event in which some bytes were replaced."""
    line = draw(st.sampled_from(GOOD))
    at = draw(st.integers(0, len(line)))
    return line[:at] + draw(st.binary(max_size=4)) + line[at + draw(st.integers(0, 4)) :]


@st.composite
def _deep(draw: st.DrawFn) -> bytes:
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    levels = draw(st.sampled_from([1, 30, 31, 32, 33, 500]))
    nested = opening * levels + b"1" + closing * levels
    shape = draw(st.sampled_from([b'{"label":1,"deep":%b}', b'{"features":{"a":%b}}', b"%b"]))
    return shape % nested


_numbers = st.one_of(
    st.integers().map(str),
    st.integers(-(10**70), 10**70).map(str),
    st.floats().map(repr),
    st.tuples(st.integers(-99, 99), st.integers(-500, 500)).map(lambda t: f"{t[0]}e{t[1]}"),
    st.from_regex(r"[-+]?[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?", fullmatch=True),
)


@st.composite
def _numeric(draw: st.DrawFn) -> bytes:
    field = draw(st.sampled_from(["label", "weight", "ts", "id"]))
    of_x, of_field = draw(_numbers), draw(_numbers)
    return f'{{"label":1,"{field}":{of_field},"features":{{"x":{of_x}}}}}'.encode()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["label", "features", "x", "a", "ts"]), inner, max_size=4)
    ),
    max_leaves=8,
)

_lines = st.one_of(
    st.sampled_from(GOOD),
    st.binary(max_size=64),
    _truncated(),
    _spoiled(),
    _deep(),
    _numeric(),
    _json.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"", b" \t\r"]),
)

RECORDS = st.lists(_lines, min_size=1, max_size=4).map(b"\n".join)
"""One to four events a record, good and bad."""


def draw_records(count: int) -> list[bytes]:
    """``count`` records, others at every run."""
    found: list[bytes] = []

    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(RECORDS)
    def collect(record: bytes) -> None:
        found.append(record)

    collect()
    return found
