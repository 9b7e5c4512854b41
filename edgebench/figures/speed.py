"""Make a run's speed of its launches: pure, so any figure can be derived again.

A launch's own figure is the median of its repetitions; estimates are over launches. Knows nothing
of workers.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from edgebench.records.settings import Workload
from edgebench.records.speed import Launch, Memory, Percentiles, PhaseSpeed, Speed
from edgebench.stats.launches import over_launches


def speed_of(workload: Workload, launches: Sequence[Launch], discarded: int = 0) -> Speed:
    """Return the speed of a workload: estimates over launches, percentiles over all tokens."""
    latencies = [second for launch in launches for second in launch.token_s]
    p50, p90, p99 = (float(value) for value in np.quantile(latencies, [0.5, 0.9, 0.99]))
    first_tokens = [statistics.median(launch.ttft_s) for launch in launches]
    return Speed(
        load_s=statistics.median(launch.load_s for launch in launches),
        prefill=_phase([launch.prefill_s for launch in launches], workload.prompt_tokens),
        decode=_phase([launch.decode_s for launch in launches], workload.generate_tokens),
        ttft_s=over_launches(first_tokens),
        token_latency_s=Percentiles(p50=p50, p90=p90, p99=p99),
        decode_from=workload.decode_from,
        launches=tuple(launches),
        discarded=discarded,
    )


def _phase(seconds: Sequence[tuple[float, ...]], tokens: int) -> PhaseSpeed:
    rates = [tokens / statistics.median(launch) for launch in seconds]
    return PhaseSpeed(
        tokens_per_s=over_launches(rates),
        samples_s=tuple(second for launch in seconds for second in launch),
        tokens=tokens,
    )


def largest_memory(memories: Sequence[Memory]) -> Memory:
    """Return the most that any launch took, field by field; None where none told."""
    fields = {
        name: max(told)
        for name in Memory.model_fields
        if (told := [value for memory in memories if (value := getattr(memory, name)) is not None])
    }
    return Memory.model_validate(fields)
