"""datatable's ``models.Ftrl``, in an environment of its own: with_datatable.py ROWS P L1 L2 NBINS.

Reads the rows from the file ROWS (columns and the label, as CSV), asks for each one's probability
before it learns it, and writes those to P, one a line. Imports nothing of the project: its
environment has datatable alone.
"""

import sys

import datatable
from datatable.models import Ftrl

ALPHA, BETA = 0.1, 1.0


def main(rows_file: str, p_file: str, l1: str, l2: str, nbins: str) -> None:
    datatable.options.nthreads = 1  # with more, which row is learned first is chance
    rows = datatable.fread(rows_file)
    x, y = rows[:, :-1], rows[:, -1]
    model = Ftrl(
        alpha=ALPHA,
        beta=BETA,
        lambda1=float(l1),
        lambda2=float(l2),
        nbins=int(nbins),
        nepochs=1,
        double_precision=True,
        model_type="binomial",
    )
    with open(p_file, "w") as out:
        print(0.5, file=out)
        model.fit(x[:1, :], y[:1, :])
        for i in range(1, rows.nrows):
            row = x[i, :]
            print(model.predict(row)[0, "True"], file=out)
            model.fit(row, y[i, :])
    check_that_no_values_collide(x, model)


def check_that_no_values_collide(x: datatable.Frame, model: Ftrl) -> None:
    """A whole number's bin is that number and the hash of its column's name, modulo nbins."""
    taken: set[int] = set()
    for column, start in enumerate(model.colname_hashes):
        bins = {(value + start) % 2**64 % model.nbins for value in set(x[:, column].to_list()[0])}
        if taken & bins:
            sys.exit("two values have one bin: take more bins")
        taken |= bins


if __name__ == "__main__":
    main(*sys.argv[1:])
