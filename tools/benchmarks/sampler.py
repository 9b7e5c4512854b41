"""What the sampler costs: its share of a core, decode speed beside it, the probe's time.

The meter is a replayed board's: by default an AGX Orin's four rails in eight files, the most there
is, read at 50 Hz; another is named by `board=intel-n100 meter=rapl hz=10`. Decode is paired and
interleaved in one process.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lib.side_by_side import bundled_artifacts

from benchmarks import Figure, Range, ratio

if TYPE_CHECKING:
    from edgebench.device.sampler import Sampler

BOARDS = Path(__file__).parents[2] / "tests/boards"
TOKENS, SECONDS, PROBES = 32, 10, 5


def measure(
    pairs: int = 200, board: str = "jetson-agx-orin-64gb", meter: str = "ina", hz: float = 50.0
) -> list[Figure]:
    """Measure all three."""
    from edgebench.device.meters import find_meters
    from edgebench.device.sampler import Pace, Sampler

    os.environ["EDGEBENCH_SYSROOT"] = str(BOARDS / board)

    def sampler() -> Sampler:
        meters, _ = find_meters((meter,))
        return Sampler(meters, [Pace(1 / hz, 0.0, None)])

    return [_probe(), _cost(sampler), _decode(sampler, pairs)]


def _probe() -> Figure:
    from edgebench.device.meters import find_meters

    seconds = []
    for _ in range(PROBES):
        start = time.perf_counter()
        find_meters()
        seconds.append(time.perf_counter() - start)
    spread = Range(min(seconds), max(seconds))
    return Figure("probe of all meters, s", Range(None, 0.3), max(seconds), spread, PROBES)


def _cost(make: Callable[[], Sampler]) -> Figure:
    sampler = make()
    sampler.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(SECONDS)
    after = resource.getrusage(resource.RUSAGE_SELF)
    sampler.stop()
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    count = len(sampler.take()[0].series[0].values)
    return Figure(
        name="sampler, % of one core",
        wanted=Range(None, 1.0),
        measured=100 * busy / SECONDS,
        note=f"{count / SECONDS:.0f} Hz, all rails, {SECONDS} s",
    )


def _decode(make: Callable[[], Sampler], pairs: int) -> Figure:
    from edgebench.device.sampler import Sampler
    from edgebench.records.settings import Settings
    from edgebench.sources.artifacts import find_artifacts
    from edgebench.worker.runtimes import Room, get_runtime

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
    session.close()
    return ratio("decode with the sampler over without", results, Range(0.995, 1.005))
