"""What all formats promise: every line is told of, and where it stood; files may be compressed."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.features.formats import FORMATS, make_parser, with_defaults
from ctr.features.parser import REASONS, Parser
from ctr.settings import Features
from ctr.stream.files import FileSource
from ctr.types import Events, Records
from tests.features.test_columns import AVAZU_BAD, CRITEO_BAD
from tests.features.test_libsvm import BAD as LIBSVM_BAD

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")

CRITEO = [b"1", b"5", b"-2", *[b""] * 10, b"181", b"68fd1e64", b"", *[b"80e26c9b"] * 24]
GOOD = {
    "json": b'{"label":1,"features":{"ad":"a9"}}',
    "vw": b"1 |ad a9",
    "libsvm": b"+1 3:1 17:0.5",
    "criteo": b"\t".join(CRITEO),
    "avazu": b"1009,1,14102100,1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,"
    b"a99f214a,ddd2926e,44956a24,1,2,15706,320,50,1722,0,35,-1,79",
}
BAD = {
    "json": b"oops",
    "vw": b"oops",
    "libsvm": b"oops",
    "criteo": b"1\t2\t3",
    "avazu": b"1,2,3",
}
WITHOUT_LABEL = {
    "json": b"{}",
    "vw": b"|ad a9",
    "libsvm": b"3:1",
    "criteo": b"\t".join(CRITEO[1:]),
    "avazu": GOOD["avazu"].replace(b",1,", b",,", 1),
}

formats = pytest.mark.parametrize("form", FORMATS)


def text(events: Events, start: int, end: int) -> bytes:
    return events.source.buffer[start:end].tobytes()


def reasons(events: Events) -> list[str]:
    return [REASONS[code] for code in events.rejected.reasons]


@formats
def test_good_and_bad_lines_are_told_of_where_they_stood(form: str) -> None:
    good, bad = GOOD[form], BAD[form]
    first = b"\n".join([good, b" \t", bad, good + b"\r", b""])
    records = Records.of([b"before", first, b"", bad + b"\r", good])
    records = Records(
        "memory",
        records.buffer,
        records.starts[1:].copy(),
        records.ends[1:].copy(),
        records.offsets[1:],
        np.arange(1, 5),
        records.after,
    )
    events = make_parser(form, Features()).parse(records)
    assert events.source is records
    assert (events.records.tolist(), events.lines.tolist()) == ([0, 0, 3], [0, 3, 0])
    assert events.batch.labels.tolist() == [1.0, 1.0, 1.0]
    row = events.batch.indptr[1]
    assert events.batch.keys.tolist() == events.batch.keys[:row].tolist() * 3
    if form != "avazu":
        assert events.ts.tolist() == [1, 1, 4]
    rejected = events.rejected
    assert (rejected.records.tolist(), rejected.lines.tolist()) == ([0, 1, 2], [2, 0, 0])
    assert reasons(events)[1] == "empty"
    spans = zip(rejected.starts, rejected.ends, strict=True)
    assert [text(events, *span) for span in spans] == [bad, b"", bad + b"\r"]
    for told in (events.records, events.lines, rejected.records, rejected.lines):
        assert told.dtype == np.int32
    for span in (events.ts, events.id_starts, events.id_ends, rejected.starts, rejected.key_ends):
        assert span.dtype == np.int64


@formats
def test_nothing_is_read_of_nothing(form: str) -> None:
    assert len(make_parser(form, Features()).parse(Records.of([]))) == 0


@formats
def test_an_event_without_label_is_bad_or_passed_over(form: str) -> None:
    records = Records.of([WITHOUT_LABEL[form]])
    events = make_parser(form, Features()).parse(records)
    assert (reasons(events), len(events), events.skipped) == (["no_label"], 0, 0)
    events = make_parser(form, Features(on_missing_label="skip")).parse(records)
    assert (reasons(events), len(events), events.skipped) == ([], 0, 1)


@formats
def test_a_line_that_is_too_long_is_not_read(form: str) -> None:
    long = GOOD[form] + b" " * 2000
    parser = make_parser(form, Features(max_event_bytes=2000))
    assert reasons(parser.parse(Records.of([long, b" " * 2001]))) == ["too_long"] * 2


def test_an_event_that_is_too_long_as_json_is_as_bad() -> None:
    assert reasons(
        make_parser("criteo", Features(max_event_bytes=300)).parse(Records.of([GOOD["criteo"]]))
    ) == ["too_long"]


@formats
@given(data=st.data())
@settings(max_examples=60)
def test_no_line_is_lost_whatever_it_is(form: str, data: st.DataObject) -> None:
    seeds = st.sampled_from([GOOD[form], BAD[form], WITHOUT_LABEL[form]])
    damaged = st.builds(
        lambda line, at, byte: line[: at % len(line)] + byte + line[at % len(line) + 1 :],
        seeds,
        st.integers(0, 500),
        st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b",", b"\t", b":", b"\xff", b"-"]),
    )
    lines = data.draw(st.lists(seeds | damaged | st.binary(max_size=30), max_size=6))
    lines = [line for line in lines if b"\n" not in line]
    events = make_parser(form, Features(on_missing_label="skip")).parse(Records.of(lines))
    told = [*events.records.tolist(), *events.rejected.records.tolist()]
    no_events = sum(form == "libsvm" and line.strip().startswith(b"#") for line in lines)
    assert len(told) == len(set(told))
    assert len(told) + events.skipped + no_events == len(lines)


@formats
def test_files_are_read_whatever_they_are_compressed_with(form: str, tmp_path: Path) -> None:
    content = b"\n".join([GOOD[form]] * 300 + [BAD[form]])
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    (tmp_path / "packed.zst").write_bytes(zstandard.compress(content))
    source = FileSource(sorted(tmp_path.iterdir()), batch_bytes=4096)
    parser = make_parser(form, Features())
    good = bad = 0
    while not source.ended():
        records = source.next_batch(0.1)
        if records is not None:
            events = parser.parse(records)
            good, bad = good + len(events), bad + len(events.rejected)
    assert (good, bad) == (900, 3)


def test_names_and_crosses_are_those_of_the_formats_columns() -> None:
    for form, cross in [("criteo", ["I1", "C1"]), ("avazu", ["C1", "site_id"])]:
        parser = make_parser(form, Features(crosses=[cross], include=cross))
        events = parser.parse(Records.of([GOOD[form]]))
        met = [parser.names[i] for i in events.name_ids]
        assert met == ["", *cross, "*".join(cross)]


def test_defaults_give_way_to_settings() -> None:
    ours = with_defaults("criteo", Features(columns={"I2": "linear", "C1": "categorical"}))
    assert ours.columns["I1"] == "log_bucket"
    assert (ours.columns["I2"], ours.columns["C1"]) == ("linear", "categorical")
    assert with_defaults("criteo", ours) == ours
    for form in FORMATS:
        if form != "criteo":
            assert with_defaults(form, Features()) == Features()


@pytest.mark.parametrize(
    ("form", "spec", "message"),
    [
        ("csv", {}, "format must be one of json, vw, libsvm, criteo, avazu; got 'csv'"),
        ("libsvm", {"columns": {"3": "linear"}}, "features.columns must be empty"),
        ("avazu", {"crosses": [["C1"]]}, "features.crosses[0] must be 2 to 8 different columns"),
    ],
)
def test_what_makes_no_sense_is_refused(form: str, spec: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError) as error:
        make_parser(form, Features(**spec))  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.parametrize("form", ["vw", "libsvm", "criteo", "avazu"])
def test_names_of_json_keys_mean_nothing_in_other_formats(form: str) -> None:
    plain = make_parser(form, Features()).parse(Records.of([GOOD[form]]))
    keys = Features(features="", label="C1", id="I1", ts="site_id", weight="C2")
    events = make_parser(form, keys).parse(Records.of([GOOD[form]]))
    assert events.batch.keys.tolist() == plain.batch.keys.tolist()


@pytest.mark.parametrize("form", ["libsvm", "avazu"])
def test_the_examples_of_the_docs_are_good(form: str) -> None:
    section = PAGE.partition(f"\n### `--format {form}`\n")[2].partition("\n##")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    assert len(lines) >= 2
    events = make_parser(form, Features()).parse(Records.of([line.encode() for line in lines]))
    assert len(events) == len(lines) - (form == "avazu")
    assert not len(events.rejected)


def test_the_reasons_in_the_docs_are_those_that_the_tests_of_the_formats_meet() -> None:
    table = PAGE.partition("| reason | libsvm | Criteo and Avazu |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in table.splitlines()[2:]]
    for column, bad in [(1, LIBSVM_BAD), (2, CRITEO_BAD + AVAZU_BAD)]:
        told = {re.findall(r"`(\w+)`", row[0])[0] for row in rows if row[column]}
        assert told == {reason for _, reason in bad} | {"too_long", "empty"}


def test_a_json_event_is_no_line_of_another_format() -> None:
    event = json.dumps({"label": 1, "features": {"hour": 1, "id": "click"}}).encode()
    assert len(Parser(Features()).parse(Records.of([event]))) == 1
    for form in FORMATS[1:]:
        events = make_parser(form, Features()).parse(Records.of([event]))
        assert (len(events), reasons(events)) == (0, ["syntax"])
