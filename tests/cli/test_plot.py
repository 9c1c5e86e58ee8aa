"""The picture of a grid: a point for each variant, the front, labels that can be read."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ctr import grid
from tests.cli.conftest import Command
from tests.cli.test_errors import one_line

GRID = ["--grid", "alpha=0.05,0.2", "--grid", "l1=0.5,1,3"]


def test_the_picture_has_a_point_for_each_variant(
    ctr: Command, events: Path, tmp_path: Path
) -> None:
    said = ctr("evaluate", events, *GRID, "--plot", "grid.svg")
    assert said.out.endswith("\nthe picture is grid.svg\n")
    svg = ElementTree.parse(tmp_path / "grid.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    points = svg.findall(f".//{name}g[@id='PathCollection_1']//{name}use")
    assert len(points) == 6
    texts = [text.text for text in svg.iter(f"{name}text")]
    labels = {f"{alpha}, {l1}" for alpha in ("0.05", "0.2") for l1 in ("0.5", "1", "3")}
    assert labels < set(texts)
    assert {"non-zero weights", "progressive log loss"} < set(texts)
    first = (tmp_path / "grid.svg").read_bytes()
    ctr("evaluate", events, *GRID, "--plot", "grid.svg")
    assert (tmp_path / "grid.svg").read_bytes() == first


def test_the_picture_as_png(ctr: Command, events: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    ctr("evaluate", events, *GRID, "--plot", "grid.png")
    height, width, _ = imread(tmp_path / "grid.png").shape
    assert width > height > 500


def test_the_figure_itself() -> None:
    from ctr.cli.plot import LABELLED, draw

    points = [(0.3 + 0.001 * i, 10_000 // (i + 1)) for i in range(LABELLED + 1)]
    points.append((0.5, 20_000))
    front = grid.pareto(points)
    figure = draw(points, [f"v{i}" for i in range(len(points))], front, 0, "alpha")
    (axes,) = figure.axes
    (drawn,) = axes.collections
    assert sorted(map(tuple, drawn.get_offsets().tolist())) == sorted(
        (n, loss) for loss, n in points
    )
    (line,) = axes.lines
    steps = zip(*line.get_data(), strict=True)
    assert list(steps) == sorted((n, loss) for loss, n in points[:-1])
    # so many: the one that is not on the front goes without a label
    assert {text.get_text() for text in axes.texts} == {f"v{i}" for i in range(LABELLED + 1)}
    assert axes.get_xscale() == "log"


def test_labels_lie_beside_each_other() -> None:
    from ctr.cli.plot import draw

    points = [(0.3, 1000), (0.3, 1000), (0.3, 1001), (0.30001, 1000), (0.4, 10)]
    figure = draw(points, ["some label"] * 5, grid.pareto(points), 0, "alpha")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    overlapping = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert len(boxes) == 5
    assert not overlapping


def test_no_weight_at_all_can_be_drawn() -> None:
    from ctr.cli.plot import draw

    (axes,) = draw([(0.3, 0), (0.2, 5)], ["a", "b"], [True, True], 1, "l1").axes
    assert axes.get_xscale() == "linear"


def test_a_picture_without_matplotlib(
    ctr: Command, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = ctr("evaluate", events, *GRID, "--plot", "grid.svg")
    assert (said.code, said.out) == (1, "")
    one_line(said.err, "--plot needs matplotlib: pip install 'ctr-stream[plot]'")
    assert ctr("evaluate", events, *GRID).code == 0
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["name"] == "ctr-stream"
    assert project["project"]["optional-dependencies"]["plot"] == ["matplotlib>=3.10"]
