"""One total of one timeline: its rails' readings, and the power of each window.

Knows which windows count: those with 20 updates of the slowest rail, or shorter ones that have as
many together. Makes no joules.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgebench.figures.calibration import Line
from edgebench.figures.windows import NoFigure, Power, Readings, power_of, readings_of, too_short
from edgebench.records.energy import MIN_PERIODS, Calibration, Timeline, Total, Window


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
        self.rails: dict[str, Readings] = {}
        for series in line.series:
            try:
                self.rails[series.rail] = readings_of(series)
            except NoFigure as reason:
                if series.rail in total.rails:
                    self.reasons.append(str(reason))
        given = {series.rail for series in line.series}
        self.reasons += [f"{r} gave no readings" for r in total.rails if r not in given]
        if not total.rails:
            self.reasons.append("no rail or sum of rails is known to be this board's total")
        self.complete = bool(total.rails) and set(total.rails) <= set(self.rails)

    @property
    def update_s(self) -> float:
        """Return how often the slowest of its rails has something new."""
        paces = [self.rails[rail].update_s for rail in self.total.rails if rail in self.rails]
        return max(paces, default=self.line.period_s)

    def windows(self, phase: str) -> list[Measured]:
        """Return the windows of a phase that have a power.

        Windows of 20 updates each; where there are none, shorter ones that have them together.
        """
        if not self.complete:
            return []
        wanted = [w for w in self.line.windows if w.phase == phase]
        if phase in ("prefill", "decode"):
            wanted = [w for w in wanted if w.tokens]
        measured: list[Measured] = []
        missed: list[NoFigure] = []
        for window in wanted:
            try:
                measured.append(Measured(window, self._power(window)))
            except NoFigure as reason:
                missed.append(reason)
        long = [m for m in measured if m.power.updates >= MIN_PERIODS]
        if long or sum(m.power.updates for m in measured) >= MIN_PERIODS:
            return long or measured
        if wanted and all(reason.is_short for reason in missed):
            slowest = max((self.rails[r] for r in self.total.rails), key=lambda r: r.update_s)
            missed = [too_short(slowest, self.line, max(w.seconds for w in wanted))]
        self.reasons += [f"{phase}: {reason}" for reason in missed]
        return []

    def _power(self, window: Window) -> Power:
        parts = [power_of(self.rails[rail], window, self.line) for rail in self.total.rails]
        power = parts[0]
        for part in parts[1:]:
            power = power + part
        return self.fit.apply(power) if self.fit else power

    def accuracy_w(self, watts: float) -> float:
        """Return how far the sensor itself, or the person's calibration of it, may be off."""
        return self.fit.half_w(watts) if self.fit else self.total.error_share * abs(watts)

    @property
    def gain_share(self) -> float:
        """Return the same for a difference of two powers, as a share of it."""
        return self.fit.gain_share if self.fit else self.total.error_share
