"""What becomes of a speed under load that lasts: where it starts, where it ends, when it fell.

Knows trials with the time at which each began. A fall is told where five trials in a row lie below
the start by more than a twentieth and never come back. Pure.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from edgebench.records.energy import Timeline
from edgebench.records.settings import Workload
from edgebench.records.speed import Launch, Sustained

START_SHARE = 0.1  # of the time: the board is still cool
END_SHARE = 0.2  # of the time: it has settled
FALL = 0.05  # below the start by more: throttled, or the like
IN_A_ROW = 5  # trials whose median counts, so that one slow trial is no fall
LEAST_TRIALS = 10


def sustained_of(workload: Workload, launch: Launch) -> Sustained | None:
    """Return how a sustained workload went; None where there are too few trials to say."""
    begins, count = launch.at_s, len(launch.decode_s)
    if workload.duration_s is None or len(begins) != count or count < LEAST_TRIALS:
        return None
    rates = [workload.generate_tokens / seconds for seconds in launch.decode_s]
    lasted = begins[-1]
    started = _between(begins, rates, 0.0, START_SHARE * lasted)
    ended = _between(begins, rates, (1 - END_SHARE) * lasted, lasted)
    warm = [moment.hottest_c for moment in launch.course if moment.hottest_c is not None]
    start, end = statistics.median(started), statistics.median(ended)
    return Sustained(
        lasted_s=lasted,
        trials=count,
        start_tokens_per_s=start,
        end_tokens_per_s=end,
        onset_s=_onset(begins, rates, start),
        hottest_c=max(warm, default=None),
        throttled_s=next((moment.at_s for moment in launch.course if moment.throttled), None),
    )


def _between(
    begins: Sequence[float], rates: Sequence[float], first_s: float, last_s: float
) -> list[float]:
    """Return the rates of trials that began in a time; at least five of them, from its side."""
    chosen = [rate for begin, rate in zip(begins, rates, strict=True) if first_s <= begin <= last_s]
    if len(chosen) >= IN_A_ROW:
        return chosen
    return list(rates[:IN_A_ROW] if first_s == 0 else rates[-IN_A_ROW:])


def _onset(begins: Sequence[float], rates: Sequence[float], start: float) -> float | None:
    """Return when the speed fell for good; None where it did not."""
    medians = [
        statistics.median(rates[place : place + IN_A_ROW])
        for place in range(len(rates) - IN_A_ROW + 1)
    ]
    low = [median < (1 - FALL) * start for median in medians]
    fallen = len(list(itertools.takewhile(bool, reversed(low))))
    # One low window at the very end may be chance; five that share no trial's luck are not.
    if fallen < IN_A_ROW:
        return None
    # The first window's median is low once three of its five trials are.
    return begins[len(low) - fallen + IN_A_ROW // 2]


def at_the_end(timelines: Sequence[Timeline]) -> list[Timeline]:
    """Return the timelines with the last fifth of their working windows, and all idle ones."""
    trimmed = []
    for line in timelines:
        working = [window for window in line.windows if window.phase != "idle"]
        if not working:
            continue
        first, last = working[0].start_ns, working[-1].end_ns
        since = last - END_SHARE * (last - first)
        kept = [w for w in line.windows if w.phase == "idle" or w.start_ns >= since]
        trimmed.append(line.model_copy(update={"windows": tuple(kept)}))
    return trimmed
