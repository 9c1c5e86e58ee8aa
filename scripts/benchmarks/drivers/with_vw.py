"""Vowpal Wabbit, reading and learning its own text file: with_vw.py FILE BITS."""

import json
import sys
import time

from vowpalwabbit import Workspace

file, bits = sys.argv[1:]
settings = "--ftrl --ftrl_alpha 0.1 --ftrl_beta 1 --l1 1 --l2 1 --loss_function logistic --quiet"
start = time.perf_counter()
# with -d its own driver reads the file, parsing in one thread and learning in another
workspace = Workspace(arg_list=[*settings.split(), "-b", bits, "--no_stdin", "-d", file])
seconds = time.perf_counter() - start
log_loss = workspace.get_sum_loss() / workspace.get_weighted_examples()
print(json.dumps({"seconds": seconds, "log_loss": log_loss}))
