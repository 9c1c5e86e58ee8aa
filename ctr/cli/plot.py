"""The picture of a grid: log loss against non-zero weights, each variant a point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctr.errors import CtrError, SettingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
LABELLED = 40
"""Of more points than this only those on the front have their settings written beside them."""

_GREY, _BLUE, _GREEN = "#8b949e", "#0969da", "#1a7f37"
_WIDE = 20
_FONT = 7.5


def check(file: str) -> None:
    """Raise, before anything is learned, if no picture can be drawn into ``file``.

    SettingError for a name without the suffix of a picture, CtrError when matplotlib is missing.
    """
    if Path(file).suffix not in SUFFIXES:
        raise SettingError("--plot", file, f"a file name in {' or '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise CtrError("--plot needs matplotlib: pip install 'ctr-stream[plot]'") from None


def draw(
    points: Sequence[tuple[float, int]],
    labels: Sequence[str],
    front: Sequence[bool],
    best: int,
    of: str,
) -> Figure:
    """A figure of ``points`` (log loss, non-zero weights) with the front drawn.

    ``labels`` stand beside their points, ``of`` names what is in them; ``best`` is the winner.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    losses, weights = [point[0] for point in points], [point[1] for point in points]
    if min(weights) > 0 and max(weights) > _WIDE * min(weights):
        axes.set_xscale("log")
    steps = sorted((weights[i], losses[i]) for i, on in enumerate(front) if on)
    axes.plot(*zip(*steps, strict=True), drawstyle="steps-post", color=_BLUE, lw=1.2, zorder=1)
    colours = [_BLUE if on else _GREY for on in front]
    colours[best] = _GREEN
    top = sorted(range(len(points)), key=lambda i: (i == best, front[i]))
    axes.scatter(
        [weights[i] for i in top],
        [losses[i] for i in top],
        c=[colours[i] for i in top],
        s=24,
        zorder=2,
    )
    axes.set(xlabel="non-zero weights", ylabel="progressive log loss")
    title = f"{of} of each variant; the front is blue, the winner green"
    axes.set_title(title, loc="left", fontsize=9, color=_GREY)
    axes.margins(0.1)
    axes.spines[["top", "right"]].set_visible(False)
    shown = [i for i in range(len(points)) if front[i] or len(points) <= LABELLED]
    places = [(weights[i], losses[i]) for i in shown]
    for i, place, above in zip(shown, places, _above(axes, places, labels, shown), strict=True):
        axes.annotate(
            labels[i],
            place,
            (4, above),
            textcoords="offset points",
            fontsize=_FONT,
            color=colours[i],
        )
    return figure


def save(figure: Figure, file: str) -> None:
    """Write ``figure`` in the format of the suffix; the same figure is the same bytes."""
    from matplotlib import rc_context

    metadata: dict[str, Any] = {"Date": None} if Path(file).suffix == ".svg" else {}
    with rc_context({"svg.hashsalt": "ctr", "svg.fonttype": "none"}):
        figure.savefig(file, metadata=metadata, dpi=150)


def _above(
    axes: Axes, places: Sequence[tuple[float, float]], labels: Sequence[str], shown: Sequence[int]
) -> list[float]:
    """How far above its point each label is written (points), so that none lies on another."""
    axes.autoscale_view()
    scale = 72 / axes.figure.dpi
    above = [0.0] * len(places)
    taken: list[tuple[float, float, float]] = []
    for k in sorted(range(len(places)), key=lambda k: places[k][1]):
        x, y = (float(at) * scale for at in axes.transData.transform(places[k]))
        width, above[k] = _FONT * 0.6 * len(labels[shown[k]]), 4.0
        while any(
            x < right and left < x + width and abs(y + above[k] - base) < _FONT
            for left, right, base in taken
        ):
            above[k] += 1.0
        taken.append((x, x + width, y + above[k]))
    return above
