"""One total of one timeline: its rails' readings, and the power of each window.

Knows which windows count: those with 20 updates of the slowest rail, or shorter ones that have as
many together. Makes no joules.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgebench.errors import UsageError
from edgebench.figures.calibration import Line, Pair
from edgebench.figures.windows import NoFigure, Power, Readings, power_of, readings_of, too_short
from edgebench.records.energy import MIN_PERIODS, Calibration, Series, Timeline, Total, Window
from edgebench.stats.student import t_quantile

MIN_WINDOWS = 3  # fewer don't show what all have in common
MAX_REASONS = 2  # of a phase; many windows fail alike
MAX_TREND = 0.04  # of the power; a larger one leaves no figure


@dataclass(frozen=True)
class Measured:
    """One window and its power."""

    window: Window
    power: Power


class Source:
    """One total of one timeline: its rails' readings, or why there are none."""

    def __init__(self, line: Timeline, total: Total, calibration: Calibration | None) -> None:
        self.line, self.total = line, total
        self.fit = Line(calibration) if calibration else None
        self.reasons: list[str] = []
        self.warnings: list[str] = []
        self.parts: list[Readings] = []
        try:
            self.parts = [readings_of(series) for series in parts_of(line, total)]
        except NoFigure as reason:
            self.reasons.append(str(reason))

    @property
    def update_s(self) -> float:
        """Return how often the slowest of its parts has something new."""
        return max((part.update_s for part in self.parts), default=self.line.period_s)

    def windows(self, phase: str) -> list[Measured]:
        """Return the windows of a phase that have a power.

        Windows of 20 updates each; where there are none, shorter ones that have them together.
        """
        if not self.parts:
            return []
        wanted = [w for w in self.line.windows if w.phase == phase]
        if phase in ("prefill", "decode"):
            wanted = [w for w in wanted if w.tokens]
        measured: list[Measured] = []
        missed: list[NoFigure] = []
        for window in wanted:
            try:
                measured.append(Measured(window, self.power(window)))
            except NoFigure as reason:
                missed.append(reason)
        long = [m for m in measured if m.power.updates >= MIN_PERIODS]
        if long or sum(m.power.updates for m in measured) >= MIN_PERIODS:
            return self._settled(phase, long or measured)
        if wanted and all(reason.is_short for reason in missed):
            slowest = max(self.parts, key=lambda part: part.update_s)
            missed = [too_short(slowest, self.line, max(w.seconds for w in wanted))]
        different = dict.fromkeys(f"{phase}: {reason}" for reason in missed)
        self.reasons += list(different)[:MAX_REASONS]
        return []

    def _settled(self, phase: str, measured: list[Measured]) -> list[Measured]:
        trend_w = self.trend_w(measured)
        watts = statistics.fmean(m.power.watts for m in measured)
        if abs(trend_w) <= MAX_TREND * abs(watts):
            return measured
        self.reasons.append(
            f"{phase}: {self.total.source} still moved by {trend_w:+.3g} W within the windows, as "
            "one does that averages for long; state for how long, as in command:averaging=3s ..."
        )
        return []

    def trend_w(self, measured: Sequence[Measured]) -> float:
        """Return by how many watts power moved within windows, from first half to second.

        0 where the sensor's averaging is known, so that it has settled, or chance explains it.
        """
        if self.line.averaging_s is not None or len(measured) < MIN_WINDOWS:
            return 0.0
        trends = [m.power.trend for m in measured]
        mean, n = statistics.fmean(trends), len(trends)
        chance = t_quantile(0.975, n - 1) * statistics.stdev(trends) / n**0.5
        return mean if abs(mean) > chance else 0.0

    def power(self, window: Window) -> Power:
        """Return the power of one window, through the calibration where there is one."""
        powers = [power_of(part, window, self.line) for part in self.parts]
        power = powers[0]
        for other in powers[1:]:
            power = power + other
        if self.fit is None:
            return power
        calibrated = self.fit.apply(power)
        if calibrated.watts < 0:
            raise NoFigure(f"its calibration makes {calibrated.watts:.3g} W of {power.watts:.3g} W")
        return calibrated

    def accuracy_w(self, watts: float) -> float:
        """Return how far the sensor itself, or the person's calibration of it, may be off."""
        return self.fit.half_w(watts) if self.fit else self.total.error_share * abs(watts)

    @property
    def gain_share(self) -> float:
        """Return the same for a difference of two powers, as a share of it."""
        return self.fit.gain_share if self.fit else self.total.error_share


def pairs_of(sensor: Timeline, total: Total, reference: Timeline) -> list[Pair]:
    """Return a pair for each level of load that a sensor's total and a reference were read at.

    Raises UsageError where one of them has no power in a window, with the reason.
    """
    shown = [_loads(sensor, total), _loads(reference, reference.totals[0])]
    return [Pair(*watts) for watts in zip(*shown, strict=True)]


def _loads(line: Timeline, total: Total) -> list[float]:
    source = Source(line, total, None)
    try:
        if source.reasons:
            raise NoFigure("; ".join(source.reasons))
        return [source.power(window).watts for window in line.windows if window.phase == "load"]
    except NoFigure as reason:
        raise UsageError(f"{total.source} gave no watts at a level of load: {reason}") from None


def parts_of(line: Timeline, total: Total) -> list[Series]:
    """Return what a total is read from: the sum of its powers as one series, counters apart.

    Powers of one meter are read together, and a rail that is off shows the same at all times: only
    of their sum it can be said that it is stuck. Raises NoFigure where a rail gave no readings.
    """
    if not total.rails:
        raise NoFigure("no rail or sum of rails is known to be this board's total")
    series = {s.rail: s for s in line.series}
    for rail in total.rails:
        if rail not in series or len(series[rail].t_ns) < 2:
            raise NoFigure(f"{rail} gave no readings")
    rails = [series[rail] for rail in total.rails]
    if len(rails) == 1 or any(s.unit == "J" for s in rails):
        return rails
    columns = zip(*(s.values for s in rails), strict=False)  # the last sample may be cut short
    values = tuple(float(sum(column)) for column in columns)
    return [
        rails[0].model_copy(
            update={
                "rail": " + ".join(total.rails),
                "t_ns": rails[0].t_ns[: len(values)],
                "values": values,
            }
        )
    ]
