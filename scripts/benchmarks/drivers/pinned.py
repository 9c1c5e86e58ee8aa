"""Runs a program on one core, the first that there is: pinned.py PROGRAM ARGUMENTS..."""

import os
import sys

if hasattr(os, "sched_setaffinity"):  # Linux
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.execv(sys.argv[1], sys.argv[1:])
