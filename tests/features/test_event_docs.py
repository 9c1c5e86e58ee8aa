"""docs/events.md: every reason is there, and its examples are what it says of them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ctr.features.parser import REASONS, Parser
from ctr.features.vw import VWParser
from ctr.settings import Features
from ctr.types import Events, Records

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")


class Example(NamedTuple):
    """A fenced block whose first line is, for example, ``json reason=number {settings}``."""

    language: str
    verdict: str
    settings: dict[str, Any]
    text: str

    def parsed(self) -> Events:
        spec = Features(**self.settings)
        parser = VWParser(spec) if self.language == "vw" else Parser(spec)
        return parser.parse(Records.of([self.record()]))

    def record(self) -> bytes:
        if self.language == "python":
            content = ast.literal_eval(self.text)
            assert isinstance(content, bytes)
            return content
        if self.language == "vw":
            return self.text.encode()
        # one event, broken for the page's width
        return "".join(line.strip() for line in self.text.splitlines()).encode()


FENCE = re.compile(
    r"^```(json|python|vw) (good|reason=\w+)(?: (\{[^\n]*\}))?\n(.*?)^```$", re.M | re.S
)
EXAMPLES = [
    Example(language, verdict.removeprefix("reason="), json.loads(settings or "{}"), text)
    for language, verdict, settings, text in FENCE.findall(PAGE)
]


def test_every_reason_is_documented_in_the_order_of_verdicts() -> None:
    assert re.findall(r"^### `(\w+)`$", PAGE, re.M) == list(REASONS[1:])


def test_every_reason_has_an_example_under_its_heading() -> None:
    sections = re.split(r"^### `(\w+)`$", PAGE, flags=re.M)
    for reason, section in zip(sections[1::2], sections[2::2], strict=True):
        first = FENCE.search(section)
        assert first, f"{reason} has no example"
        assert first[2] == f"reason={reason}"


def test_every_fenced_block_is_an_example() -> None:
    assert len(re.findall(r"^```.+$", PAGE, re.M)) == len(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.language}-{e.verdict}")
def test_examples_are_judged_as_the_page_says(example: Example) -> None:
    events = example.parsed()
    reasons = [REASONS[code] for code in events.rejected.reasons]
    if example.verdict == "good":
        assert (reasons, len(events)) == ([], max(example.record().count(b"\n"), 1))
    else:
        assert (reasons, len(events)) == ([example.verdict], 0)


def test_the_reasons_of_vowpal_wabbits_text_are_all_that_occur_there() -> None:
    table = PAGE.partition("| reason | of a line |")[2].partition("\n\n")[0]
    named = set(
        re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.splitlines()[2:]))
    )
    kernels = Path(__file__).parents[2] / "ctr" / "kernels"
    source = "".join((kernels / name).read_text("utf-8") for name in ("vw.py", "vw_text.py"))
    returned = {name.lower() for name in re.findall(r"reasons\.([A-Z_]+)", source)}
    # made by functions that both parsers share
    returned |= {"too_many_features", "no_label"}
    assert named == returned - {"ok", "skipped"}
    assert {e.verdict for e in EXAMPLES if e.language == "vw"} <= named | {"good"}
