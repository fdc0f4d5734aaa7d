"""ProcessPoolExecutor(2), by forks: one task from its submission to its result (us), or for each of 10,000 (us)."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import turn


def square(number):
    return number * number


def us_each(executor, **how):
    begin = time.perf_counter()
    figures = []
    while time.perf_counter() - begin < turn.SECONDS or not figures:
        before = time.perf_counter()
        assert sum(executor.map(square, range(10_000), **how)) == 333283335000
        figures.append((time.perf_counter() - before) / 10_000 * 1e6)
    return sorted(figures)[len(figures) // 2]


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=fork, initializer=turn.settle) as executor:
        assert executor.submit(square, 7).result() == 49
        if turn.WHAT == "one":
            figure = turn.median_us(lambda: executor.submit(square, 7).result())
        elif turn.WHAT == "single":
            figure = us_each(executor)
        else:
            figure = us_each(executor, chunksize=100)
    turn.tell(figure)
