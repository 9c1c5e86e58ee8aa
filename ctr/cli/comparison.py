"""What a grid showed: a table of its variants, their front, the winner and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctr import config as configs
from ctr.cli.toml import to_toml

if TYPE_CHECKING:
    from ctr.evaluate import Evaluation
    from ctr.grid import Axes, Variant
    from ctr.settings import Config, Features

_SHARED = ["events", "base_log_loss", "observed_clicks", "base_rate"]
_SHARED += ["rejected", "skipped", "subsampled", "seconds", "events_per_second"]
_SHOWN = {
    "log loss": ("log_loss", ".6f"),
    "NE": ("normalized_entropy", ".5f"),
    "AUC": ("auc", ".5f"),
    "calibration": ("calibration", ".4f"),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ``variants`` of a grid and what each showed; which are on the front, and the ``best``."""

    config: Config
    axes: Axes
    variants: list[Variant]
    evaluations: list[Evaluation]
    front: list[bool]
    best: int

    @classmethod
    def of(
        cls, config: Config, axes: Axes, variants: list[Variant], evaluations: list[Evaluation]
    ) -> Comparison:
        from ctr.grid import pareto, winner

        points = _points(evaluations)
        return cls(config, axes, variants, evaluations, pareto(points), winner(points))

    def to_tree(self) -> dict[str, Any]:
        """All figures of all variants, in the grid's order, and the winner's settings."""
        trees = [evaluation.to_tree() for evaluation in self.evaluations]
        shared = {name: trees[0][name] for name in _SHARED}
        variants = [
            {
                "settings": {name: getattr(variant.learner, name) for name in self.axes},
                **{name: value for name, value in tree.items() if name not in shared},
                "front": on,
            }
            for variant, tree, on in zip(self.variants, trees, self.front, strict=True)
        ]
        learner = configs.to_tree(self.variants[self.best].learner)
        return {
            **shared,
            "variants": variants,
            "winner": {"variant": self.best, "learner": learner},
        }

    def table(self) -> str:
        """The variants with the best log loss first."""
        rows = [[*self.axes, *_SHOWN, "non-zero weights", ""]]
        points = _points(self.evaluations)
        for i in sorted(range(len(points)), key=lambda i: (i != self.best, *points[i])):
            evaluation = self.evaluations[i]
            figures = [f"{getattr(evaluation.figures, n):{form}}" for n, form in _SHOWN.values()]
            mark = "winner" if i == self.best else "front" if self.front[i] else ""
            chosen = self.variants[i].chosen.values()
            rows.append([*chosen, *figures, f"{evaluation.nonzero:,}", mark])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = len(self.axes)
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i < left or i == len(row) - 1 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def learner_toml(self) -> str:
        """The winner's section of a settings file."""
        return to_toml({"learner": self._learner()})

    def toml(self, features: Features) -> str:
        """A settings file of all that decided what the winner learned, ``features`` among it."""
        now, default = configs.to_tree(self.config), configs.to_tree(type(self.config)())
        changed = {
            section: {key: now[section][key]}
            for section, key in (("model", "seed"), ("events", "keep_without_click"))
            if now[section][key] != default[section][key]
        }
        read = configs.to_tree(features)
        return to_toml({**changed, "features": read, "learner": self._learner()})

    def plot(self, file: str) -> None:
        """The picture."""
        from ctr.cli import plot

        points = [(e.figures.log_loss, e.nonzero) for e in self.evaluations]
        labels = [", ".join(variant.chosen.values()) for variant in self.variants]
        plot.save(plot.draw(points, labels, self.front, self.best, ", ".join(self.axes)), file)

    def verdict(self) -> str:
        """What the marks in the table mean, and who won."""
        return (
            "front: no other variant has a lower log loss without more non-zero weights\n"
            f"winner: {self.variants[self.best]}, the lowest log loss"
        )

    def _learner(self) -> dict[str, Any]:
        """The winner's settings."""
        return configs.to_tree(self.variants[self.best].learner)


def _points(evaluations: list[Evaluation]) -> list[tuple[float, float]]:
    return [(evaluation.figures.log_loss, evaluation.nonzero) for evaluation in evaluations]
