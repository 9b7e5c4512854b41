"""Joules from timelines: pure, so that a figure can be derived again from what was stored.

Knows counters that wrap, powers that are sampled, windows of phases, and how far the sampling
period lets a figure be wrong. Knows no sensor. Powers are watts, energies joules, times
`perf_counter_ns`.
"""

from __future__ import annotations

import itertools
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from edgebench.records.base import Estimate
from edgebench.records.energy import (
    MIN_PERIODS,
    Energy,
    PhaseEnergy,
    Series,
    Timeline,
    Total,
    Window,
)
from edgebench.stats.estimates import median_estimate

MAX_GAP_PERIODS = 6  # a longer silence of the sensor is a gap
MAX_POWER_W = 20_000.0  # a counter that would mean more has been reset
DRIFT_SHARE = 0.05  # idle power that moved by more is flagged
NS = 1e-9


class NoFigure(Exception):
    """Why a window has no joules."""


@dataclass(frozen=True)
class Joules:
    """A window's energy, with the bounds that the sampling leaves open."""

    value: float
    low: float
    high: float

    def __add__(self, other: Joules) -> Joules:
        """Add another rail's energy in the same window."""
        return Joules(self.value + other.value, self.low + other.low, self.high + other.high)


def integrate(series: Series, window: Window, period_s: float) -> Joules:
    """Return the joules of one rail in one window.

    Raises NoFigure where the window is too short, the sensor was silent or stuck, or a counter
    was reset.
    """
    if window.seconds < MIN_PERIODS * period_s:
        raise NoFigure(
            f"the window of {window.seconds:.2f} s is shorter than {MIN_PERIODS} periods of "
            f"{period_s:.3g} s"
        )
    _check_gaps(series, window, period_s)
    return _counter(series, window) if series.unit == "J" else _power(series, window)


def _check_gaps(series: Series, window: Window, period_s: float) -> None:
    times = series.t_ns
    first = bisect_right(times, window.start_ns) - 1
    last = bisect_left(times, window.end_ns)
    if first < 0 or last >= len(times):
        raise NoFigure(f"{series.rail} was not read around the window")
    longest = max(
        b - a for a, b in zip(times[first:last], times[first + 1 : last + 1], strict=True)
    )
    if longest * NS > MAX_GAP_PERIODS * period_s:
        raise NoFigure(f"{series.rail} was silent for {longest * NS:.2f} s")


def _power(series: Series, window: Window) -> Joules:
    """Integrate a sampled power: trapezoids, with each interval's extremes as bounds."""
    times, watts = series.t_ns, series.values
    value = low = high = 0.0
    first = bisect_right(times, window.start_ns) - 1
    last = bisect_left(times, window.end_ns)
    for index in range(first, last):
        begin = max(times[index], window.start_ns)
        end = min(times[index + 1], window.end_ns)
        a, b = _at(series, index, begin), _at(series, index, end)
        seconds = (end - begin) * NS
        value += (a + b) / 2 * seconds
        low += min(watts[index], watts[index + 1]) * seconds
        high += max(watts[index], watts[index + 1]) * seconds
    return Joules(value, low, high)


def _at(series: Series, index: int, t_ns: int) -> float:
    """Interpolate between a sample and the next."""
    t0, t1 = series.t_ns[index], series.t_ns[index + 1]
    a, b = series.values[index], series.values[index + 1]
    return a + (b - a) * (t_ns - t0) / (t1 - t0) if t1 > t0 else a


def _counter(series: Series, window: Window) -> Joules:
    """Take a counter's rise, its steps at both edges as bounds."""
    first = bisect_right(series.t_ns, window.start_ns) - 1
    last = bisect_left(series.t_ns, window.end_ns)
    part = series.model_copy(
        update={
            "t_ns": series.t_ns[first : last + 1], "values": series.values[first : last + 1],
        }
    )  # fmt: skip
    total = unwrap(part)
    if total[-1] == total[0]:
        raise NoFigure(f"{series.rail} showed the same counter for the whole window: it is stuck")
    straight = part.model_copy(update={"values": tuple(total)})
    end = _at(straight, len(total) - 2, window.end_ns)
    value = end - _at(straight, 0, window.start_ns)
    # The counter may have been read just before it moved.
    edge = max(b - a for a, b in itertools.pairwise(total))
    return Joules(value, max(0.0, value - edge), value + edge)


def unwrap(series: Series) -> list[float]:
    """Return a counter that only rises: wraps are added, a reset raises NoFigure."""
    total = [series.values[0]] if series.values else []
    for index in range(1, len(series.values)):
        step = series.values[index] - series.values[index - 1]
        if step < 0:
            if series.wrap_j is None:
                raise NoFigure(f"{series.rail} was reset")
            step += series.wrap_j
        seconds = (series.t_ns[index] - series.t_ns[index - 1]) * NS
        if step < 0 or step > MAX_POWER_W * max(seconds, 1e-3):
            raise NoFigure(f"{series.rail} was reset, or jumped by {step:.0f} J")
        total.append(total[-1] + step)
    return total


# one source's figures


def energy_of(timeline: Timeline, total: Total) -> Energy:
    """Return one source's energy: idle power, and the joules of each phase, gross and net.

    Where a phase has no figure, `reason` says why.
    """
    rails = {series.rail: series for series in timeline.series}
    reasons: list[str] = []
    idle, drift_w = None, None
    if total.rails:
        idle, drift_w = _idle(timeline, rails, total, reasons)
    phases = {
        phase: _phase(timeline, rails, total, phase, idle, reasons) if total.rails else None
        for phase in ("prefill", "decode")
    }
    if not total.rails:
        reasons.append("no rail or sum of rails is known to be this board's total")
    complete = idle and phases["prefill"] and phases["decode"]
    if not complete:
        reasons += timeline.errors
    warnings = [f"{total.source}: {one}" for one in timeline.errors] if complete else []
    if idle and drift_w is not None and abs(drift_w) > max(DRIFT_SHARE * idle.value, 0.05):
        warnings.append(f"idle power moved by {drift_w:+.2f} W from before to after")
    return Energy(
        source=total.source,
        rails=total.rails or tuple(rails),
        kind=total.kind,
        period_s=timeline.period_s,
        idle_w=idle,
        idle_drift_w=drift_w,
        prefill=phases["prefill"],
        decode=phases["decode"],
        rail_w=_rail_watts(timeline),
        reason="; ".join(dict.fromkeys(reasons)) or None,
        warnings=tuple(warnings),
    )


def _sum(rails: dict[str, Series], total: Total, window: Window, period_s: float) -> Joules:
    parts = []
    for rail in total.rails:
        if rail not in rails or len(rails[rail].t_ns) < 2:
            raise NoFigure(f"{rail} gave no readings")
        parts.append(integrate(rails[rail], window, period_s))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def _idle(
    timeline: Timeline, rails: dict[str, Series], total: Total, reasons: list[str]
) -> tuple[Estimate | None, float | None]:
    watts: list[float] = []
    spread: list[float] = []
    missed: list[str] = []
    for window in timeline.windows:
        if window.phase != "idle":
            continue
        try:
            joules = _sum(rails, total, window, timeline.period_s)
        except NoFigure as reason:
            missed.append(f"idle: {reason}")
            continue
        watts.append(joules.value / window.seconds)
        spread.append((joules.high - joules.low) / 2 / window.seconds)
    if not watts:
        reasons += missed
        return None, None
    value = statistics.fmean(watts)
    half = max((max(watts) - min(watts)) / 2, statistics.fmean(spread))
    idle = Estimate(
        value=value, low=value - half, high=value + half, n=len(watts),
        method="mean of idle windows, their range and the sampling period's bound",
    )  # fmt: skip
    return idle, watts[-1] - watts[0] if len(watts) > 1 else None


def _phase(
    timeline: Timeline,
    rails: dict[str, Series],
    total: Total,
    phase: str,
    idle: Estimate | None,
    reasons: list[str],
) -> PhaseEnergy | None:
    """Return a phase's joules for one repetition of its tokens, over all windows that are good."""
    gross: list[float] = []
    net: list[float] = []
    bounds: list[float] = []
    missed: list[str] = []
    for window in timeline.windows:
        if window.phase != phase or not window.tokens:
            continue
        try:
            joules = _sum(rails, total, window, timeline.period_s)
        except NoFigure as reason:
            missed.append(f"{phase}: {reason}")
            continue
        gross.append(joules.value / window.tokens)
        bounds.append((joules.high - joules.low) / 2 / window.tokens)
        if idle:
            net.append((joules.value - idle.value * window.seconds) / window.tokens)
    if not gross:
        reasons += missed
        return None
    tokens = max(window.repetition_tokens for window in timeline.windows if window.phase == phase)
    per_token = _widened(gross, statistics.median(bounds))
    seconds = statistics.median(
        window.seconds / window.tokens
        for window in timeline.windows
        if window.phase == phase and window.tokens
    )
    idle_half = (idle.high - idle.low) / 2 * seconds if idle else 0.0
    net_estimate = _widened(net, statistics.median(bounds) + idle_half) if net else None
    return PhaseEnergy(
        gross_j=_scaled(per_token, tokens),
        net_j=_scaled(net_estimate, tokens) if net_estimate else None,
        j_per_token=per_token,
        net_j_per_token=net_estimate,
        windows=len(gross),
    )


def _widened(values: Sequence[float], bound: float) -> Estimate:
    """Return the median of windows, its bootstrap interval widened by the sampling's bound."""
    found = median_estimate(values)
    low = found.value - ((found.value - found.low) ** 2 + bound**2) ** 0.5
    high = found.value + ((found.high - found.value) ** 2 + bound**2) ** 0.5
    return found.model_copy(
        update={
            "low": low, "high": high,
            "method": "median over windows, bootstrap, and the sampling period's bound",
        }
    )  # fmt: skip


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return estimate.model_copy(
        update={
            "value": estimate.value * factor,
            "low": estimate.low * factor,
            "high": estimate.high * factor,
        }
    )


def _rail_watts(timeline: Timeline) -> dict[str, float]:
    """Return each rail's mean watts while decoding, for a reader who wants to see them apart."""
    found = {}
    for series in timeline.series:
        joules = seconds = 0.0
        for window in timeline.windows:
            if window.phase != "decode":
                continue
            try:
                joules += integrate(series, window, timeline.period_s).value
                seconds += window.seconds
            except NoFigure:
                continue
        if seconds:
            found[series.rail] = joules / seconds
    return found


def energies(timelines: Sequence[Timeline]) -> tuple[Energy, ...]:
    """Return the energy of every source, in the order of the meters."""
    return tuple(energy_of(line, total) for line in timelines for total in line.totals)


def joined(held: Sequence[Timeline], more: Sequence[Timeline]) -> list[Timeline]:
    """Append a later request's readings to each meter's timeline."""
    if not held:
        return list(more)
    found = []
    for before, after in zip(held, more, strict=True):
        series = tuple(
            a.model_copy(update={"t_ns": a.t_ns + b.t_ns, "values": a.values + b.values})
            for a, b in zip(before.series, after.series, strict=True)
        )
        found.append(
            before.model_copy(
                update={
                    "series": series,
                    "windows": before.windows + after.windows,
                    "errors": before.errors + after.errors,
                }
            )
        )
    return found
