"""File -> model in one process that is warm: grows.py WARM FILE BITS.

The model learns the file WARM first, so that compiled code and the table are in memory; the clock
is over FILE, by the same loop as that of ctr evaluate. A short FILE is learned again and again,
and the median of these passes counts: other programs disturb a tenth of a second too much.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

from ctr import memory
from ctr.evaluate import Evaluation, evaluate
from ctr.features.parser import Parser
from ctr.learn import make
from ctr.settings import Config, Features, Learner
from ctr.stream.files import FileSource

ENOUGH = 1_000_000
"""Events that one pass is enough for."""

warm, file, bits = sys.argv[1:]
config = Config(features=Features(bits=int(bits)), learner=Learner(schedule="constant"))
parser = Parser(config.features)
learner = make(config.learner, config.features.bits, config.model.seed)


def learned(path: str) -> tuple[Evaluation, float]:
    """A pass, and its processor seconds, those of all threads."""
    source, began = FileSource([Path(path)]), time.process_time()
    found = evaluate(config, source, parser, learner)
    cpu = time.process_time() - began
    source.close()
    return found, cpu


memory.keep_freed()  # as ctr evaluate does
learned(warm)
passes = [learned(file)]
count = passes[0][0].figures.events
passes += [learned(file) for _ in range(min(20, ENOUGH // count) - 1)]
seconds, cpu = (median(values) for values in zip(*((f.seconds, c) for f, c in passes), strict=True))
print(json.dumps({"seconds": seconds, "cpu": cpu, "counted": count}))
