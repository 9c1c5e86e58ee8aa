"""Coverage of feature names against a recount."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr.errors import SettingError
from ctr.metrics.coverage import OTHER, Coverage
from tests import naive

NAMES = ["", "user", "ad", "site", "user*ad", "hour"]
rows = st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=12)


def arrays(given_rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array([name for row in given_rows for name in row], np.int32)
    return ids, np.cumsum([0, *(len(row) for row in given_rows)])


@given(rows, rows)
def test_counts_are_those_of_a_recount_once_an_event(
    first: list[list[int]], second: list[list[int]]
) -> None:
    coverage = Coverage(limit=10)
    for given_rows in (first, second):
        added = coverage.update(*arrays(given_rows), NAMES)
        assert added == naive.coverage(given_rows, NAMES)
    assert coverage.total() == naive.coverage(first + second, NAMES)


def test_the_bias_is_no_name() -> None:
    coverage = Coverage(limit=10)
    assert coverage.update(*arrays([[0], [0, 1], [0, 0]]), NAMES) == {"user": 1}


def test_names_past_the_limit_are_counted_together_once_an_event() -> None:
    coverage = Coverage(limit=2)
    coverage.update(*arrays([[1, 2], [1, 3, 4, 3], [-1, 5], [2]]), NAMES)
    assert coverage.total() == {"user": 2, "ad": 2, OTHER: 2}
    coverage.update(*arrays([[5, -1, -1, 1]]), NAMES)
    assert list(coverage.total().items()) == [("user", 3), ("ad", 2), (OTHER, 3)]


def test_names_found_later_get_their_own_count() -> None:
    coverage = Coverage(limit=3)
    coverage.update(*arrays([[1]]), NAMES[:2])
    coverage.update(*arrays([[1, 2]]), NAMES[:3])
    assert coverage.total() == {"user": 2, "ad": 1}


def test_after_a_restart_names_are_counted_by_name_whatever_their_ids() -> None:
    before = Coverage(limit=2)
    before.update(*arrays([[1], [2], [2, 3]]), NAMES)
    meta, sections = before.state()
    before.update(*arrays([[1]]), NAMES)
    after = Coverage(limit=2)
    after.restore(json.loads(json.dumps(meta)), sections)
    after.update(*arrays([[1, 2], [3]]), ["", "ad", "new", "user"])
    assert after.total() == {"user": 2, "ad": 3, OTHER: 2}


def test_a_name_that_no_event_has_takes_no_place() -> None:
    """It may be that of an event that was left out, or of a feature that was null."""
    coverage = Coverage(limit=2)
    coverage.update(*arrays([[3], [2, 3]]), NAMES)
    assert coverage.total() == {"site": 2, "ad": 1}
    coverage.update(*arrays([[1, 2]]), NAMES)
    assert coverage.total() == {"site": 2, "ad": 2, OTHER: 1}


@given(rows, st.integers(1, 4), st.integers(0, 12))
def test_a_restart_changes_no_count(rows: list[list[int]], limit: int, stop: int) -> None:
    """The parser is a new one then, and finds the names in another order."""
    whole, first, rest = (Coverage(limit) for _ in range(3))
    whole.update(*arrays(rows), NAMES)
    first.update(*arrays(rows[:stop]), NAMES)
    rest.restore(*first.state())
    turned = [[name and len(NAMES) - name for name in row] for row in rows[stop:]]
    rest.update(*arrays(turned), [NAMES[0], *NAMES[:0:-1]])
    assert rest.total() == whole.total()


def test_a_feature_named_as_the_rest_is_counted_with_the_rest() -> None:
    coverage = Coverage(limit=1)
    coverage.update(*arrays([[1, 2], [2, 3], [1]]), ["", OTHER, "a", "b"])
    assert coverage.total() == {"a": 2, OTHER: 3}


def test_no_split_into_batches_changes_a_count() -> None:
    random = np.random.default_rng(3)
    given_rows = [random.integers(-1, 6, random.integers(0, 9)).tolist() for _ in range(200)]
    whole, parts = Coverage(limit=3), Coverage(limit=3)
    whole.update(*arrays(given_rows), NAMES)
    for row in given_rows:
        parts.update(*arrays([row]), NAMES)
    assert whole.total() == parts.total()


def test_a_bad_limit_is_named() -> None:
    with pytest.raises(SettingError, match="coverage limit must be > 0; got 0"):
        Coverage(limit=0)
