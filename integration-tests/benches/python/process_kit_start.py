"""process-kit: an empty process from its start to its end (us)."""

import sys
import types

# It imports a class from a module that Python 3 no longer has, and never uses it.
sys.modules["multiprocessing.forking"] = types.SimpleNamespace(Popen=None)

import pkit.process  # noqa: E402

import turn  # noqa: E402


def nothing():
    pass


def one():
    process = pkit.process.Process(target=nothing)
    process.start()
    try:
        process.join()
    except RuntimeError:
        # Its signal handler was quicker: it has ended and is collected.
        pass


if __name__ == "__main__":
    turn.tell(turn.median_us(one))
