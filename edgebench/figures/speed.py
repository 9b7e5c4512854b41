"""Make a run's figures of its raw trials: pure, so any figure can be derived again.

Knows trials and estimates. Knows nothing of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgebench.records.messages import Trial
from edgebench.records.settings import Workload
from edgebench.records.speed import Percentiles, PhaseSpeed, Speed
from edgebench.stats.estimates import median_estimate, rate_estimate


def speed_of(workload: Workload, load_s: float, trials: Sequence[Trial]) -> Speed:
    """Return the speed of a workload: medians over trials, percentiles over all tokens."""
    latencies = [second for trial in trials for second in trial.token_s]
    p50, p90, p99 = (float(value) for value in np.quantile(latencies, [0.5, 0.9, 0.99]))
    return Speed(
        load_s=load_s,
        prefill=_phase([trial.prefill_s for trial in trials], workload.prompt_tokens),
        decode=_phase([trial.decode_s for trial in trials], workload.generate_tokens),
        ttft_s=median_estimate([trial.ttft_s for trial in trials]),
        token_latency_s=Percentiles(p50=p50, p90=p90, p99=p99),
    )


def _phase(seconds: Sequence[float], tokens: int) -> PhaseSpeed:
    return PhaseSpeed(
        tokens_per_s=rate_estimate(seconds, tokens), samples_s=tuple(seconds), tokens=tokens
    )
