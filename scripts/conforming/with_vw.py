"""Vowpal Wabbit's ``--ftrl`` on the rows.

A feature named by a whole number in the namespace without a name has that number as its
coordinate. Its l1 and l2 are the paper's, and it penalises its constant as any other weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from conforming.rows import ALPHA, BETA, BITS, Rows

CONSTANT = 11650396 % 2**BITS
"""The coordinate of the constant, which comes after all other features."""


def learn(
    rows: Rows, l1: float, l2: float, constant: bool = False
) -> tuple[float, NDArray[np.float64]]:
    """Its own progressive log loss, and each row's probability before it was learned."""
    from vowpalwabbit import Workspace

    with TemporaryDirectory() as folder:
        file, predictions = Path(folder, "rows.vw"), Path(folder, "p.txt")
        with file.open("w") as out:
            out.writelines(_lines(rows))
        settings = (
            f"--ftrl --ftrl_alpha {ALPHA} --ftrl_beta {BETA} --l1 {l1} --l2 {l2} -b {BITS} "
            f"--loss_function logistic --link logistic --quiet --no_stdin "
            f"-d {file} -p {predictions}"
        )
        # with -d its own driver reads the file and learns it in one pass
        workspace = Workspace(arg_list=settings.split() + ([] if constant else ["--noconstant"]))
        loss = workspace.get_sum_loss() / workspace.get_weighted_examples()
        workspace.finish()
        return loss, np.loadtxt(predictions, usecols=0)


def _lines(rows: Rows) -> Iterator[str]:
    for label, weight, names, numbers in zip(
        rows.labels, rows.weights.tolist(), rows.coordinates.tolist(), rows.x.tolist(), strict=True
    ):
        features = " ".join(f"{name}:{x}" for name, x in zip(names, numbers, strict=True))
        yield f"{1 if label else -1} {weight} | {features}\n"
