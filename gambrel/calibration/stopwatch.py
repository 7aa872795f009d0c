"""Time of a call on a machine that others use too: medians of repeats, without what the scheduler took away."""

import time
from collections.abc import Callable

import numpy as np

from gambrel.errors import Problem, UsageError

LEAST_REPEATS = 5
MOST_REPEATS = 60
LEAST_SAMPLE_S = 50e-6
"""Shorter calls are timed several at a time, so that reading the clock does not count."""

Call = Callable[[], object]


def median_seconds(call: Call, budget_s: float, threads: int) -> float:
    """Median seconds of a call after warm-up.

    A sample during which the scheduler ran something else counts with the processor time of the thread where only one
    thread works, and is left out where several do, unless all are.

    Args:
        call: What is timed; it returns when its work is done.
        budget_s: About how long to repeat it.
        threads: Threads that it works with.
    """
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    inner = max(1, int(LEAST_SAMPLE_S / once))
    clean: list[float] = []
    disturbed: list[float] = []
    end = time.perf_counter() + budget_s
    while len(clean) + len(disturbed) < MOST_REPEATS:
        if time.perf_counter() > end and len(clean) + len(disturbed) >= LEAST_REPEATS:
            break
        if time.perf_counter() > end + 4.0 * budget_s and (clean or disturbed):
            break  # slow calls: fewer repeats
        before, wall, busy = _preemptions(), time.perf_counter(), time.thread_time()
        for _ in range(inner):
            call()
        busy, wall = time.thread_time() - busy, time.perf_counter() - wall
        if _preemptions() == before:
            clean.append(wall / inner)
        else:
            disturbed.append((busy if threads == 1 else wall) / inner)
    samples = clean + disturbed if threads == 1 else clean or disturbed
    return float(np.median(samples))


def check_clock() -> None:
    """Refuses a machine whose clock is too coarse to time kernels.

    Raises:
        UsageError: It is.
    """
    resolution = time.get_clock_info("perf_counter").resolution
    if resolution > 1e-6:
        raise UsageError(Problem(where="--this-host", what=f"the clock ticks every {resolution * 1e6:g} us only"))


def _preemptions() -> int:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
