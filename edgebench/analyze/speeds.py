"""The speed of a row over its launches, and how two rows' speeds compare round by round.

Knows launches and what runs before 0.2 had in their place: one launch, of which no interval is
known. Knows no levels.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pydantic import Field

from edgebench.records.base import Estimate, Record, Told
from edgebench.records.run import Run
from edgebench.records.speed import Percentiles, PhaseSpeed, Speed, Sustained
from edgebench.stats.launches import over_launches, ratio, ratio_p

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class LaunchFigures(Record):
    """One launch's own figures: medians of its repetitions."""

    round: Told
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    ttft_s: float
    token_s: dict[str, float] = Field(
        default={}, description="percentile -> a generated token's seconds; none of few tokens"
    )


class SpeedFigures(Record):
    """What a workload took, over launches."""

    prefill: Estimate
    decode: Estimate
    ttft_s: Estimate
    load_s: float
    latency_s: Percentiles
    launches: tuple[LaunchFigures, ...] = Field(description="empty in runs before 0.2")
    sustained: Sustained | None = None

    @property
    def decodes(self) -> list[float]:
        """Return each launch's generated tokens a second."""
        launches = [launch.decode_tokens_per_s for launch in self.launches]
        return launches or [self.decode.value]

    @property
    def prefills(self) -> list[float]:
        """Return each launch's prompt tokens a second."""
        launches = [launch.prefill_tokens_per_s for launch in self.launches]
        return launches or [self.prefill.value]

    def token_s(self, percentile: str) -> list[float]:
        """Return each launch's percentile of a token's seconds; empty where one has too few."""
        told = [launch.token_s.get(percentile) for launch in self.launches]
        return [] if None in told else [seconds for seconds in told if seconds is not None]

    @property
    def first_tokens_s(self) -> list[float]:
        """Return each launch's time to first token."""
        return [launch.ttft_s for launch in self.launches] or [self.ttft_s.value]


class SpeedRatio(Record):
    """How many times as fast as another row, from the rounds that both were measured in."""

    ratio: Estimate
    p_value: float | None = None
    p_holm: float | None = Field(default=None, description="corrected over the table's levels")

    @property
    def is_shown(self) -> bool:
        """Return whether the two can be told apart, at 5 %."""
        p_value = self.p_value if self.p_holm is None else self.p_holm
        return p_value is not None and p_value < 0.05


def speed_figures(speed: Speed) -> SpeedFigures:
    """Derive the figures of a workload from its launches."""
    launches = tuple(
        LaunchFigures(
            round=launch.round,
            prefill_tokens_per_s=speed.prefill.tokens / statistics.median(launch.prefill_s),
            decode_tokens_per_s=speed.decode.tokens / statistics.median(launch.decode_s),
            ttft_s=statistics.median(launch.ttft_s),
            token_s=_percentiles(launch.token_s),
        )
        for launch in speed.launches
    )
    return SpeedFigures(
        prefill=_over([launch.prefill_tokens_per_s for launch in launches], _rate(speed.prefill)),
        decode=_over([launch.decode_tokens_per_s for launch in launches], _rate(speed.decode)),
        ttft_s=_over([launch.ttft_s for launch in launches], speed.ttft_s.value),
        load_s=speed.load_s,
        latency_s=speed.token_latency_s,
        launches=launches,
        sustained=speed.sustained,
    )


def _percentiles(token_s: Sequence[float]) -> dict[str, float]:
    """Return median-unbiased percentiles (Hyndman & Fan 1996, type 8) that so few tokens tell."""
    ordered, n = sorted(token_s), len(token_s)
    told = {}
    for name, share in PERCENTILES.items():
        if n >= tokens_for(name):
            place = (n + 1 / 3) * share - 2 / 3
            low = min(int(place), n - 2)
            told[name] = ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])
    return told


def tokens_for(percentile: str) -> int:
    """Return the tokens that a launch must generate for a percentile to be told: p99 takes 100."""
    return max(2, round(1 / (1 - PERCENTILES[percentile])))


def _over(launches: Sequence[float], stored: float) -> Estimate:
    return over_launches(launches or [stored])


def _rate(phase: PhaseSpeed) -> float:
    return phase.tokens_per_s.value


def decode_ratio(ours: SpeedFigures, theirs: SpeedFigures) -> SpeedRatio:
    """Compare two rows' decode: paired by round, else the ratio of their figures alone."""
    mine = {launch.round: launch.decode_tokens_per_s for launch in ours.launches}
    others = {launch.round: launch.decode_tokens_per_s for launch in theirs.launches}
    paired = ratio(mine, others)
    if paired is None:
        value = ours.decode.value / theirs.decode.value
        n = min(ours.decode.n, theirs.decode.n)
        return SpeedRatio(ratio=Estimate(value=value, n=n, method="not measured in turn"))
    return SpeedRatio(ratio=paired, p_value=ratio_p(mine, others))


def was_throttled(run: Run) -> bool:
    """Return whether the machine throttled itself while a run was measured."""
    snapshots = [run.conditions.before, run.conditions.after]
    for launch in run.speed.launches if run.speed else ():
        snapshots += [launch.before, launch.loaded, launch.after]
    return any(snapshot.throttled for snapshot in snapshots)
