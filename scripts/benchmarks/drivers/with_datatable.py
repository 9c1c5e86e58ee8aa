"""H2O datatable's models.Ftrl, learning a frame in memory.

    with_datatable.py make VW_FILE FRAME
    with_datatable.py fit FRAME BITS text|numbers THREADS

Of text it hashes every value, as the others do; of whole numbers a value is its own hash. THREADS
is 0 for as many as there are cores. The clock is over fit() alone, the frame being in memory.
"""

import json
import sys
import time
from pathlib import Path

import datatable
from datatable import f
from datatable.models import Ftrl


def make(vw_file: str, to: str) -> None:
    """The same events as columns of text, in datatable's own file format."""
    lines = datatable.fread(vw_file, sep=" ", header=False, encoding="ascii")
    # label, bar, then c00=1234 and so on, c100=1234 after the hundredth
    values = [
        datatable.str.slice(f[column], 4 if column - 2 < 100 else 5, None)
        for column in range(2, lines.ncols)
    ]
    frame = lines[:, [*values, f[0] == 1]]
    frame.names = [*(f"c{column:02}" for column in range(len(values))), "label"]
    frame.to_jay(to)


def fit(file: str, bits: str, of: str, threads: str) -> dict[str, float]:
    datatable.options.progress.enabled = False
    if int(threads):
        datatable.options.nthreads = int(threads)
    frame = datatable.fread(file)
    x, y = frame[:, :-1], frame[:, -1]
    if of == "numbers":
        x = x[:, datatable.int32(f[:])]
    for part in (x, y):
        part.materialize(to_memory=True)
    model = Ftrl(
        alpha=0.1,
        beta=1.0,
        lambda1=1.0,
        lambda2=1.0,
        nbins=1 << int(bits),
        nepochs=1,
        model_type="binomial",
    )
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(x, y)
    return {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "make":
        scratch = f"{arguments[1]}.tmp.jay"
        make(arguments[0], scratch)
        Path(scratch).rename(arguments[1])
    else:
        print(json.dumps(fit(*arguments)))
