"""Readings for a calibration: this machine's sensors beside a reference meter, at several loads.

Knows how to load the processor and how long each level must last. Fits nothing: the host makes
pairs and a line of the timelines (`figures/calibration.py`). A GPU is not loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from edgebench.device.meters import Meter
from edgebench.device.sampler import Sampler, find_pace
from edgebench.records.energy import Timeline

LEVELS, ROUNDS = 4, 2
LEAST_S = 5.0
_BUSY = [sys.executable, "-I", "-S", "-c", "while True: pass"]


def load_levels(cores: int) -> tuple[int, ...]:
    """Return how many processors to keep busy, from none to all, twice over.

    Twice, so that a drift of temperature shows as scatter and not as slope.
    """
    steps = sorted({round(cores * step / LEVELS) for step in range(LEVELS + 1)})
    return tuple(steps) * ROUNDS


def record_pairs(
    reference: Meter,
    sensors: Sequence[Meter],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Timeline, ...]:
    """Read the reference and the sensors at each level of load; return a timeline each.

    The reference's is the first. All have one window of phase `load` a level. The meters are closed
    at the end.
    """
    meters = [reference, *sensors]
    sampler = Sampler(meters, [find_pace(meter) for meter in meters])
    levels = load_levels(len(os.sched_getaffinity(0)))
    try:
        for done, busy in enumerate(levels):
            _record(sampler, busy)
            progress(done + 1, len(levels))
        return sampler.take()
    finally:
        sampler.close()


def _record(sampler: Sampler, busy: int) -> None:
    workers = [subprocess.Popen(_BUSY, stdin=subprocess.DEVNULL) for _ in range(busy)]
    try:
        sampler.start()
        start = time.perf_counter_ns()
        time.sleep(max(LEAST_S, sampler.window_s))
        sampler.add("load", start, time.perf_counter_ns())
        sampler.stop()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
