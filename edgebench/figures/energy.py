"""Joules from timelines: pure, so that a figure can be derived again from what was stored.

Knows phases, launches, idle power, and how a window's errors become an interval. Knows no sensor
and no source by its name; which source to show is in `sources.py`. Powers are watts, energies
joules, times `perf_counter_ns`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebench.figures.calibration import Line
from edgebench.figures.windows import NoFigure, Power, Readings, power_of, readings_of, too_short
from edgebench.records.base import Estimate
from edgebench.records.energy import (
    MIN_PERIODS,
    Calibration,
    Energy,
    PhaseEnergy,
    Timeline,
    Total,
    Window,
)

DRIFT_SHARE = 0.05  # idle power that moved by more is flagged
COARSE_SHARE = 0.01  # a resolution that hides more is told
TREND_SHARE = 0.02
MIN_LAUNCHES = 3  # fewer say nothing of the difference between processes


@dataclass(frozen=True)
class Measured:
    """One window and its power."""

    window: Window
    power: Power


@dataclass(frozen=True)
class _Errors:
    """What widens an interval beside the spread between windows, in the figure's own unit.

    `sampling` is chance's share, which the spread may hold already; `fixed` is the same in all
    windows; `known` is False where nobody knows how far the source is off.
    """

    sampling: float
    fixed: float
    known: bool


class _Source:
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
        if wanted and (measured or all(reason.is_short for reason in missed)):
            slowest = max((self.rails[r] for r in self.total.rails), key=lambda r: r.update_s)
            missed = [too_short(slowest, self.line, max(w.seconds for w in wanted))]
        self.reasons += [f"{phase}: {reason}" for reason in missed if not (long or measured)] or [
            f"{phase}: {reason}" for reason in missed
        ]
        return []

    def _power(self, window: Window) -> Power:
        parts = [power_of(self.rails[rail], window, self.line) for rail in self.total.rails]
        power = parts[0]
        for part in parts[1:]:
            power = power + part
        return self.fit.apply(power) if self.fit else power

    def fixed_share(self, watts: float, power: Power) -> float:
        """Return the errors that every window has alike, as a share of the power."""
        parts = [self.total.error_share, power.edge / watts, power.step / watts]
        if self.fit:
            parts = [self.fit.half_w(watts) / watts, *parts[1:]]
        return float(sum(part**2 for part in parts) ** 0.5)


def energy_of(timeline: Timeline, total: Total, calibration: Calibration | None = None) -> Energy:
    """Return one source's energy: idle power, and the joules of each phase, gross and net.

    With a calibration the source's readings go through it: the figures are then of the wall, and
    derived. Where a phase has no figure, `reason` says why.
    """
    source = _Source(timeline, total, calibration)
    idle, drift_w = _idle(source)
    prefill = _phase(source, "prefill", idle)
    decode = _phase(source, "decode", idle)
    complete = idle and prefill and decode
    reasons = [*source.reasons, *(() if complete else timeline.errors)]
    warnings = [*source.warnings]
    if complete:
        warnings += [f"{total.source}: {error}" for error in timeline.errors]
    if idle and drift_w is not None and abs(drift_w) > max(DRIFT_SHARE * idle.value, 0.05):
        warnings.append(f"idle power moved by {drift_w:+.2f} W from before to after")
    return Energy(
        source=f"{total.source} calibrated" if calibration else total.source,
        rails=total.rails or tuple(series.rail for series in timeline.series),
        kind="derived" if calibration else total.kind,
        boundary="wall" if calibration else total.boundary,
        covers=None if calibration else total.covers,
        period_s=source.update_s,
        idle_w=idle,
        idle_drift_w=drift_w,
        prefill=prefill,
        decode=decode,
        rail_w=_rail_watts(source),
        calibration=calibration,
        reason="; ".join(dict.fromkeys(reasons)) or None,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def energies(
    timelines: Sequence[Timeline], calibrations: Mapping[str, Calibration] | None = None
) -> tuple[Energy, ...]:
    """Return the energy of every source, in the order of the meters.

    A source that `calibrations` names is there twice: as it reads, and as the wall by its fit.
    """
    known = calibrations or {}
    sources: list[Energy] = []
    for line in timelines:
        for total in line.totals:
            sources.append(energy_of(line, total))
            if total.source in known:
                sources.append(energy_of(line, total, known[total.source]))
    return tuple(sources)


def _idle(source: _Source) -> tuple[Estimate | None, float | None]:
    measured = source.windows("idle")
    if not measured:
        return None, None
    watts = [m.power.watts for m in measured]
    errors = _errors(source, measured, [1.0] * len(measured))
    idle = _estimate(_by_launch(measured, watts), errors, len(measured))
    return idle, watts[-1] - watts[0] if len(watts) > 1 else None


def _phase(source: _Source, phase: str, idle: Estimate | None) -> PhaseEnergy | None:
    """Return a phase's joules for one repetition of its tokens, over all windows that are good."""
    measured = source.windows(phase)
    if not measured:
        return None
    seconds = [m.window.seconds / m.window.tokens for m in measured]  # of a token
    gross = [m.power.watts * s for m, s in zip(measured, seconds, strict=True)]
    errors = _errors(source, measured, seconds)
    per_token = _estimate(_by_launch(measured, gross), errors, len(measured))
    net = None
    if idle:
        less = [j - idle.value * s for j, s in zip(gross, seconds, strict=True)]
        idle_j = (idle.bounds.high - idle.value) * statistics.fmean(seconds) if idle.bounds else 0.0
        fixed = (errors.fixed**2 + idle_j**2) ** 0.5
        known = errors.known and idle.bounds is not None
        net = _estimate(
            _by_launch(measured, less), _Errors(errors.sampling, fixed, known), len(measured)
        )
    tokens = max(m.window.repetition_tokens for m in measured)
    _tell(source, phase, measured)
    return PhaseEnergy(
        gross_j=_scaled(per_token, tokens),
        net_j=_scaled(net, tokens) if net else None,
        j_per_token=per_token,
        net_j_per_token=net,
        windows=len(measured),
    )


def _errors(source: _Source, measured: Sequence[Measured], factors: Sequence[float]) -> _Errors:
    """Return the errors of the mean over windows whose watts are multiplied by `factors`."""
    pairs = list(zip(measured, factors, strict=True))
    sampling = statistics.fmean(m.power.sampling * f for m, f in pairs) / len(pairs) ** 0.5
    fixed = statistics.fmean(
        source.fixed_share(max(m.power.watts, 1e-9), m.power) * m.power.watts * f for m, f in pairs
    )
    trend = abs(_trend(source, measured)) / 2 * statistics.fmean(factors)
    return _Errors(sampling, (fixed**2 + trend**2) ** 0.5, source.total.kind != "estimated")


def _trend(source: _Source, measured: Sequence[Measured]) -> float:
    """Return by how many watts power still moved within windows of a sensor of unknown averaging.

    0 where the sensor's averaging is known, or the movement is within chance.
    """
    if source.line.averaging_s is not None or len(measured) < 3:
        return 0.0
    trends = [m.power.trend for m in measured]
    mean = statistics.fmean(trends)
    chance = _t95(len(trends)) * statistics.stdev(trends) / len(trends) ** 0.5
    large = TREND_SHARE * statistics.fmean(m.power.watts for m in measured)
    return mean if abs(mean) > max(chance, large) else 0.0


def _tell(source: _Source, phase: str, measured: Sequence[Measured]) -> None:
    """Warn of a sensor that is coarse, or that had not settled."""
    name = source.total.source
    watts = statistics.fmean(m.power.watts for m in measured)
    step = max(m.power.step for m in measured)
    if step > COARSE_SHARE * watts:
        source.warnings.append(
            f"{name} shows steps of {2 * step:.3g} W: the interval is widened by half of one"
        )
    if trend := _trend(source, measured):
        source.warnings.append(
            f"{name}: power moved by {trend:+.2f} W within the windows of {phase}: the sensor may "
            "average over longer than was taken"
        )


def _by_launch(measured: Sequence[Measured], values: Sequence[float]) -> list[float]:
    """Return a value a launch where there are enough of them, else a value a window."""
    launches: dict[int, list[float]] = {}
    for m, value in zip(measured, values, strict=True):
        launches.setdefault(m.window.launch, []).append(value)
    if len(launches) < MIN_LAUNCHES:
        return list(values)
    return [statistics.fmean(of) for of in launches.values()]


def _estimate(values: Sequence[float], errors: _Errors, windows: int) -> Estimate:
    """Return the mean, with Student's interval over `values` and the other errors beside it.

    A single value tells no spread, so it has no interval.
    """
    value, n = statistics.fmean(values), len(values)
    over = "launches" if n < windows else "windows"
    if n < 2 or not errors.known:
        return Estimate(value=value, n=n, method=f"mean over {over}")
    spread = _t95(n) * statistics.stdev(values) / n**0.5
    half = (max(spread, errors.sampling) ** 2 + errors.fixed**2) ** 0.5
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        n=n,
        method=f"mean over {over}, Student's t, with the sensor's accuracy and sampling",
    )


def _t95(n: int) -> float:
    """Return Student's two-sided 95 % quantile for `n` values (Cornish and Fisher's expansion)."""
    exact = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
    if n in exact:
        return exact[n]
    z, df = 1.959964, n - 1
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    ends = estimate.bounds
    return estimate.model_copy(
        update={
            "value": estimate.value * factor,
            "low": ends.low * factor if ends else None,
            "high": ends.high * factor if ends else None,
        }
    )


def _rail_watts(source: _Source) -> dict[str, float]:
    """Return each rail's mean watts while decoding, for a reader who wants to see them apart."""
    watts: dict[str, float] = {}
    for rail, readings in source.rails.items():
        powers: list[float] = []
        for window in source.line.windows:
            if window.phase == "decode":
                try:
                    powers.append(power_of(readings, window, source.line).watts)
                except NoFigure:
                    continue
        if powers:
            watts[rail] = statistics.fmean(powers)
    return watts


def joined(held: Sequence[Timeline], more: Sequence[Timeline], launch: int = 0) -> list[Timeline]:
    """Append a later request's readings to each meter's timeline; its windows are of `launch`.

    A meter is known by its totals and rails, so that one that is missing in a launch costs that
    launch's windows alone. Where the clock began anew, as after a restart of the machine, the later
    readings are moved behind the earlier ones.
    """
    together = {_meter(line): line for line in held}
    for line in more:
        windows = tuple(w.model_copy(update={"launch": launch}) for w in line.windows)
        later = line.model_copy(update={"windows": windows})
        earlier = together.get(_meter(line))
        together[_meter(line)] = _appended(earlier, later) if earlier else later
    return list(together.values())


def _meter(line: Timeline) -> tuple[object, ...]:
    return (*line.totals, *(series.rail for series in line.series))


def _appended(before: Timeline, after: Timeline) -> Timeline:
    ends = [s.t_ns[-1] for s in before.series if s.t_ns] + [w.end_ns for w in before.windows]
    begins = [s.t_ns[0] for s in after.series if s.t_ns] + [w.start_ns for w in after.windows]
    last, first = max(ends, default=0), min(begins, default=0)
    shift = last + 10**9 - first if begins and first < last else 0
    series = tuple(
        a.model_copy(
            update={"t_ns": a.t_ns + tuple(t + shift for t in b.t_ns), "values": a.values + b.values}
        )
        for a, b in zip(before.series, after.series, strict=True)
    )
    windows = tuple(
        w.model_copy(update={"start_ns": w.start_ns + shift, "end_ns": w.end_ns + shift})
        for w in after.windows
    )
    return before.model_copy(
        update={
            "series": series,
            "windows": before.windows + windows,
            "errors": tuple(dict.fromkeys((*before.errors, *after.errors))),
        }
    )
