"""Compiled code is kept by a digest of all kernels, where it can be written."""

from __future__ import annotations

import os
from pathlib import Path

from ctr.kernels.cache import directory


def test_an_edit_anywhere_is_another_directory(tmp_path: Path) -> None:
    sources, cache = tmp_path / "sources", tmp_path / "cache"
    sources.mkdir()
    (sources / "inner.py").write_text("one")
    (sources / "outer.py").write_text("import inner")
    first = directory(sources, [cache])
    assert directory(sources, [cache]) == first
    (sources / "inner.py").write_text("two")
    assert directory(sources, [cache]) != first
    (sources / "inner.py").write_text("one")
    assert directory(sources, [cache]) == first


def test_a_place_that_cannot_be_written_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    chosen = directory(tmp_path, [tmp_path / "file" / "x", tmp_path / "good"])
    assert chosen.parent == tmp_path / "good"
    assert os.access(chosen, os.W_OK)


def test_the_oldest_versions_are_removed(tmp_path: Path) -> None:
    for age in range(6):
        old = tmp_path / f"kernels-{age}"
        old.mkdir()
        os.utime(old, (1000 - age, 1000 - age))
    chosen = directory(tmp_path, [tmp_path])
    left = {path.name for path in tmp_path.glob("kernels-*")}
    assert left == {chosen.name, "kernels-0", "kernels-1", "kernels-2"}
