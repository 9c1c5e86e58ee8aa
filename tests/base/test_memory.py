"""Memory that was freed is used again, and not asked of the system anew."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource, threading
import numpy as np
from ctr.memory import keep_freed

kept = keep_freed()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batches():
    for size in (3 << 20, 1 << 19, 9 << 20):
        made = [np.ones(size, np.uint8) for _ in range(4)]
    del made

def work():
    global asked
    batches()
    before = faults()
    for _ in range(20):
        batches()
    asked = faults() - before

thread = threading.Thread(target=work)
thread.start()
thread.join()
print(kept, asked)
"""


def test_batches_take_the_memory_of_those_before_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True
    )
    kept, asked = done.stdout.split()
    # 20 times 50 MiB, in pages of 4 KiB, would be 256,000
    assert kept == "False" or int(asked) < 10_000
