"""What the programs here share: their arguments, the other process's place, and the clock.

Each is run as `program.py WHAT CORE SECONDS`, pinned to its own core by whoever runs it. CORE is the
other process's, or `any`. Its last line on standard output is the figure, as JSON.
"""

import ctypes
import json
import os
import signal
import statistics
import sys
import time

WHAT = sys.argv[1]
CORE = None if sys.argv[2] == "any" else int(sys.argv[2])
SECONDS = float(sys.argv[3])

PR_SET_PDEATHSIG = 1


def settle():
    """In the other process: takes its place, and has it die with the one that measures."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if CORE is not None:
        os.sched_setaffinity(0, {CORE})


def median_us(one):
    """The median time that `one` takes, in microseconds, a few at a time."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < SECONDS / 8:
        one()
    figures = []
    begin = time.perf_counter()
    while True:
        before = time.perf_counter()
        if before - begin >= SECONDS and figures:
            return statistics.median_high(figures) * 1e6
        for _ in range(5):
            one()
        figures.append((time.perf_counter() - before) / 5)


def gigabytes_per_s(bytes_each, one):
    """How many bytes go in a nanosecond when `one` takes its median time."""
    return bytes_each / median_us(one) / 1e3


def tell(figure):
    print()
    print(json.dumps({"program": os.path.basename(sys.argv[0]), "what": WHAT, "figure": figure}), flush=True)
