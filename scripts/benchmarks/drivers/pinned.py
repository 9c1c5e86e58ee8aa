"""Runs a program on one core, the first or the last: pinned.py first|last PROGRAM ARGUMENTS..."""

import os
import sys

which, *program = sys.argv[1:]
if hasattr(os, "sched_setaffinity"):  # Linux
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1 if which == "last" else 0]})
os.execvp(program[0], program)
