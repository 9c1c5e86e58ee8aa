"""Settings written as TOML are read back as they were."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ctr.cli.toml import to_toml

STRINGS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = STRINGS | st.booleans() | st.integers(-(2**63), 2**63 - 1)
SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
VALUES = (
    SCALARS | st.lists(STRINGS) | st.lists(st.lists(STRINGS)) | st.dictionaries(STRINGS, SCALARS)
)


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), VALUES))
def test_toml_is_read_back_as_it_was(section: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml({"a": section, "b": {}})) == {"a": section, "b": {}}
