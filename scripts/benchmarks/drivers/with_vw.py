"""Vowpal Wabbit, learning its own text file: with_vw.py FILE BITS [CACHE].

With CACHE it reads that instead, its own binary form of the file, which it makes if it is missing.
"""

import json
import sys
import time

from vowpalwabbit import Workspace

file, bits, *cache = sys.argv[1:]
settings = "--ftrl --ftrl_alpha 0.1 --ftrl_beta 1 --l1 1 --l2 1 --loss_function logistic --quiet"
arguments = [*settings.split(), "-b", bits, "--no_stdin", "-d", file]
arguments += ["--cache_file", *cache] if cache else []
start = time.perf_counter()
# with -d its own driver reads the file, parsing in one thread and learning in another
workspace = Workspace(arg_list=arguments)
seconds = time.perf_counter() - start
log_loss = workspace.get_sum_loss() / workspace.get_weighted_examples()
print(json.dumps({"seconds": seconds, "log_loss": log_loss}))
