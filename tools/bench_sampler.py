"""What the sampler costs: its share of a core at 50 Hz, decode speed beside it, the probe's time.

Wanted: under 1 % of one core, under 0.5 % of decode speed (paired, interleaved, one process), and
a probe of all meters under 0.3 s. The meter is a replayed board's: by default an AGX Orin's four
rails in eight files, the most there is. Run on an otherwise idle machine:
    python tools/bench_sampler.py [--pairs 200] [--board intel-n100 --meter rapl] [--hz 10]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from side_by_side import bundled_artifacts, report

from edgebench.device.meters import find_meters
from edgebench.device.sampler import Pace, Sampler
from edgebench.records.settings import Settings
from edgebench.sources.artifacts import find_artifacts
from edgebench.worker.runtimes import Room, get_runtime

BOARDS = Path(__file__).parents[1] / "tests/boards"
TOKENS, SECONDS, ROUNDS = 32, 10, 5


def main() -> int:
    """Measure all three; return 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--board", default="jetson-agx-orin-64gb")
    parser.add_argument("--meter", default="ina")
    parser.add_argument("--hz", type=float, default=50)
    typed = parser.parse_args()
    os.environ["EDGEBENCH_SYSROOT"] = str(BOARDS / typed.board)

    def sampler() -> Sampler:
        meters, _ = find_meters((typed.meter,))
        return Sampler(meters, [Pace(1 / typed.hz, 0.0, None)])

    good = [_probe(), _cost(sampler), _decode(sampler, typed.pairs)]
    return 0 if all(good) else 1


def _probe() -> bool:
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        find_meters()
        seconds.append(time.perf_counter() - start)
    worst = max(seconds)
    print(
        f"probe of all meters: {1000 * worst:.1f} ms at most; wanted under 300: {_met(worst < 0.3)}"
    )
    return worst < 0.3


def _cost(make: Callable[[], Sampler]) -> bool:
    sampler = make()
    sampler.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(SECONDS)
    after = resource.getrusage(resource.RUSAGE_SELF)
    sampler.stop()
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    count = len(sampler.take()[0].series[0].values)
    share = busy / SECONDS
    print(
        f"sampler: {share:.2%} of one core at {count / SECONDS:.0f} Hz, all rails; "
        f"wanted under 1 %: {_met(share < 0.01)}"
    )
    return share < 0.01


def _decode(make: Callable[[], Sampler], pairs: int) -> bool:
    path = bundled_artifacts("q4_0")["q4_0"]
    artifact = find_artifacts([path])[0]
    session = get_runtime("llama.cpp").open(artifact, Settings(), Room(256))
    session.decode(TOKENS)
    results = []
    for index in range(pairs):
        speeds = {}
        for with_sampler in (True, False) if index % 2 else (False, True):
            sampler = make() if with_sampler else Sampler((), ())
            sampler.start()
            session.reset(0)
            start = time.perf_counter()
            session.decode(TOKENS)
            speeds[with_sampler] = TOKENS / (time.perf_counter() - start)
            sampler.stop()
        results.append((speeds[True], speeds[False]))
    ratios = [a / b for a, b in results]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    print(f"  standard error of the mean ratio: {error:.4f}")
    return report("decode with the sampler over without", results, 0.995, 1.005)


def _met(good: bool) -> str:
    return "met" if good else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
