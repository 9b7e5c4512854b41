"""Joules from timelines: pure, so that a figure can be derived again from what was stored.

Knows phases, launches, idle power, how a window's errors become an interval, and which of several
sources to show. Knows no sensor and no source by its name. Powers are watts, energies joules, times
`perf_counter_ns`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgebench.figures.absent import failed_to_compute
from edgebench.figures.totals import Measured, Source
from edgebench.figures.windows import rough_watts
from edgebench.records.base import Estimate
from edgebench.records.energy import (
    MAX_POWER_W,
    Calibration,
    Energy,
    PhaseEnergy,
    Timeline,
    Total,
)
from edgebench.stats.student import t_quantile

DRIFT_SHARE = 0.05  # idle power that moved by more is flagged
TOLD_SHARE = 0.01  # what hides or moves more is told
WIDEST = ("wall", "board", "module", "package")
ON_CPU = ("cpu", "xnnpack")
MIN_LAUNCHES = 3  # fewer say nothing of the difference between processes


@dataclass(frozen=True)
class _Errors:
    """What widens an interval beside the spread between windows, in the figure's own unit.

    `sampling` is chance's share, which the spread may hold already; `fixed` is the same in all
    windows, and so is `accuracy`, the sensor's own. `known` is False where nobody knows how far the
    source is off.
    """

    sampling: float
    fixed: float
    accuracy: float
    known: bool = True


@dataclass(frozen=True)
class _Units:
    """The values that an interval is over, and what they are of."""

    values: list[float]
    name: str


@dataclass(frozen=True)
class _Idle:
    """Idle power, how much of its interval isn't the sensor's accuracy, and how far it moved."""

    watts: Estimate
    half_w: float | None
    drift_w: float | None


def energy_of(timeline: Timeline, total: Total, calibration: Calibration | None = None) -> Energy:
    """Return one source's energy: idle power, and the joules of each phase, gross and net.

    With a calibration the source's readings go through it: the figures are then of the wall, and
    derived. Where a phase has no figure, `reason` says why.
    """
    source = Source(timeline, total, calibration)
    idle = _idle(source)
    prefill = _phase(source, "prefill", idle)
    decode = _phase(source, "decode", idle)
    complete = idle and prefill and decode
    reasons = [*source.reasons, *(() if complete else timeline.errors)]
    warnings = [*source.warnings]
    if complete:
        warnings += [f"{total.source}: {error}" for error in timeline.errors]
    drift_w = idle.drift_w if idle else None
    if idle and drift_w and abs(drift_w) > max(DRIFT_SHARE * idle.watts.value, 0.05):
        warnings.append(f"idle power moved by {drift_w:+.2f} W from before to after")
    return Energy(
        source=f"{total.source} calibrated" if calibration else total.source,
        rails=total.rails or tuple(series.rail for series in timeline.series),
        kind="derived" if calibration and total.kind == "measured" else total.kind,
        boundary="wall" if calibration else total.boundary,
        covers=None if calibration else total.covers,
        period_s=source.update_s,
        idle_w=idle.watts if idle else None,
        idle_drift_w=drift_w,
        prefill=prefill,
        decode=decode,
        rail_w=_rail_watts(timeline),
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
            sources.append(_energy_or_reason(line, total))
            if total.source in known:
                sources.append(_energy_or_reason(line, total, known[total.source]))
    return tuple(sources)


def _energy_or_reason(line: Timeline, total: Total, fit: Calibration | None = None) -> Energy:
    """Return a source's energy; where it can't be computed, the reason alone."""
    try:
        return energy_of(line, total, fit)
    except Exception as error:  # noqa: BLE001 - one source may not cost the others
        return Energy(
            source=f"{total.source} calibrated" if fit else total.source,
            rails=total.rails,
            kind=total.kind,
            boundary=total.boundary,
            covers=total.covers,
            period_s=line.period_s,
            reason=failed_to_compute(error),
        )


def _idle(source: Source) -> _Idle | None:
    measured = source.windows("idle")
    if not measured:
        return None
    watts = [m.power.watts for m in measured]
    errors = _errors(source, measured, [1.0] * len(measured))
    units = _units(measured, watts)
    without = _estimate(units, replace(errors, accuracy=0.0)).bounds
    return _Idle(
        _estimate(units, errors),
        (without.high - without.low) / 2 if without else None,
        _drift_w(measured, watts),
    )


def _phase(source: Source, phase: str, idle: _Idle | None) -> PhaseEnergy | None:
    """Return a phase's joules for one repetition of its tokens, over all windows that are good."""
    measured = source.windows(phase)
    if not measured:
        return None
    seconds = [m.window.seconds / m.window.tokens for m in measured]  # of a token
    gross = [m.power.watts * s for m, s in zip(measured, seconds, strict=True)]
    errors = _errors(source, measured, seconds)
    per_token = _estimate(_units(measured, gross), errors)
    net = _net(source, measured, seconds, errors, idle) if idle else None
    tokens = max(m.window.repetition_tokens for m in measured)
    _tell(source, phase, measured)
    return PhaseEnergy(
        gross_j=_scaled(per_token, tokens),
        net_j=_scaled(net, tokens) if net else None,
        j_per_token=per_token,
        net_j_per_token=net,
        windows=len(measured),
    )


def _net(
    source: Source,
    measured: Sequence[Measured],
    seconds: Sequence[float],
    errors: _Errors,
    idle: _Idle,
) -> Estimate:
    """Return a token's joules without idle power; a sensor's gain errs on the difference alone."""
    joules = [
        (m.power.watts - idle.watts.value) * s for m, s in zip(measured, seconds, strict=True)
    ]
    idle_j = (idle.half_w or 0.0) * statistics.fmean(seconds)
    less = replace(
        errors,
        fixed=(errors.fixed**2 + idle_j**2) ** 0.5,
        accuracy=source.gain_share * abs(statistics.fmean(joules)),
        known=errors.known and idle.half_w is not None,
    )
    return _estimate(_units(measured, joules), less)


def _errors(source: Source, measured: Sequence[Measured], factors: Sequence[float]) -> _Errors:
    """Return the errors of the mean over windows whose watts are multiplied by `factors`."""
    pairs = list(zip(measured, factors, strict=True))
    trend = abs(source.trend_w(measured))
    fixed = statistics.fmean(
        (m.power.edge**2 + m.power.step**2 + trend**2) ** 0.5 * f for m, f in pairs
    )
    return _Errors(
        sampling=statistics.fmean(m.power.sampling * f for m, f in pairs) / len(pairs) ** 0.5,
        fixed=fixed,
        accuracy=statistics.fmean(source.accuracy_w(m.power.watts) * f for m, f in pairs),
        known=source.total.kind != "estimated",
    )


def _tell(source: Source, phase: str, measured: Sequence[Measured]) -> None:
    """Warn of a sensor that is coarse, or that had not settled."""
    name = source.total.source
    watts = statistics.fmean(m.power.watts for m in measured)
    step = max(m.power.step for m in measured)
    if step > TOLD_SHARE * watts:
        source.warnings.append(
            f"{name} shows steps of {2 * step:.3g} W: the interval is widened by half of one"
        )
    if source.fit and source.fit.is_beyond(watts):
        source.warnings.append(f"{name}: {watts:.3g} W lies far outside what was calibrated")
    if abs(trend := source.trend_w(measured)) > TOLD_SHARE * watts:
        source.warnings.append(
            f"{name}: power moved by {trend:+.2g} W within the windows of {phase}: the interval is "
            "widened by that"
        )


def _units(measured: Sequence[Measured], values: Sequence[float]) -> _Units:
    """Return a value a launch where there are enough of them, else a value a window."""
    launches = _of_launches(measured, values)
    if len(launches) < MIN_LAUNCHES:
        return _Units(list(values), "windows")
    return _Units([statistics.fmean(of) for of in launches], "launches")


def _of_launches(measured: Sequence[Measured], values: Sequence[float]) -> list[list[float]]:
    launches: dict[int, list[float]] = {}
    for m, value in zip(measured, values, strict=True):
        launches.setdefault(m.window.launch, []).append(value)
    return list(launches.values())


def _drift_w(measured: Sequence[Measured], watts: Sequence[float]) -> float | None:
    """Return by how much idle power moved from before to after, over launches."""
    moved = [of[-1] - of[0] for of in _of_launches(measured, watts) if len(of) > 1]
    return statistics.fmean(moved) if moved else None


def _estimate(units: _Units, errors: _Errors) -> Estimate:
    """Return the mean, with Student's interval over units and the other errors beside it.

    A single value tells no spread, so it has no interval.
    """
    value, n = statistics.fmean(units.values), len(units.values)
    if n < 2 or not errors.known:
        return Estimate(value=value, n=n, method=f"mean over {units.name}")
    spread = t_quantile(0.975, n - 1) * statistics.stdev(units.values) / n**0.5
    half = (max(spread, errors.sampling) ** 2 + errors.fixed**2 + errors.accuracy**2) ** 0.5
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        n=n,
        method=f"mean over {units.name}, Student's t, with the sensor's accuracy and sampling",
    )


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    ends = estimate.bounds
    return estimate.model_copy(
        update={
            "value": estimate.value * factor,
            "low": ends.low * factor if ends else None,
            "high": ends.high * factor if ends else None,
        }
    )


def _rail_watts(line: Timeline) -> dict[str, float]:
    """Return each rail's mean watts while decoding, for a reader who wants to see them apart."""
    watts: dict[str, float] = {}
    for series in line.series:
        shown = [rough_watts(series, w, line) for w in line.windows if w.phase == "decode"]
        if known := [power for power in shown if power is not None and _is_power(power)]:
            watts[series.rail] = statistics.fmean(known)
    return watts


def _is_power(watts: float) -> bool:
    return abs(watts) <= MAX_POWER_W  # and it is a number


# which source to show


def source_for(energies: Sequence[Energy], provider: str) -> Energy | None:
    """Return the source to show for a run on `provider`; None where none fits it.

    A source fits where it covers what worked: a GPU's meter never stands for a CPU's run. Of those
    that fit: one with joules of decode before one without, measured (or through the person's own
    calibration) before derived before estimated, the whole before a part.
    """
    return min((e for e in energies if _fits(e, provider)), key=_rank, default=None)


def common_source(rows: Sequence[Sequence[Energy]], provider: str) -> str | None:
    """Return the source that a comparison of runs uses for all its rows; None where none fits.

    The one that most rows have joules of; stated watts only where no row has anything else.
    `of_source` then gives each row's energy, None where the row lacks it.
    """
    fitting = [e for energies in rows for e in energies if _fits(e, provider)]
    counts: dict[str, int] = {}
    for e in fitting:
        counts[e.source] = counts.get(e.source, 0) + (e.decode is not None)
    best = min(
        fitting,
        key=lambda e: (not counts[e.source], e.kind == "estimated", -counts[e.source], _rank(e)),
        default=None,
    )
    return best.source if best else None


def of_source(energies: Sequence[Energy], source: str | None) -> Energy | None:
    """Return a run's energy by the source of that name."""
    return next((e for e in energies if e.source == source), None)


def reason_without(energies: Sequence[Energy], provider: str, source: str | None = None) -> str:
    """Say why a run has no joules by `source`, or by any where none is named."""
    if source is not None and of_source(energies, source) is None:
        return f"not measured by {source}, as the other rows are"
    chosen = of_source(energies, source) or source_for(energies, provider)
    if chosen:
        return f"{chosen.source}: {chosen.reason or 'it gave no figure'}"
    names = ", ".join(dict.fromkeys(e.source for e in energies))
    return f"{names} doesn't show what a run on {provider} takes" if names else "no meter"


def _fits(energy: Energy, provider: str) -> bool:
    on_cpu = provider in ON_CPU
    return energy.covers is None or (energy.covers == "cpu") == on_cpu


def _rank(energy: Energy) -> tuple[bool, int, int]:
    trust = {"measured": 0, "derived": 0 if energy.calibration else 1, "estimated": 2}
    boundary = WIDEST.index(energy.boundary) if energy.boundary else len(WIDEST)
    return energy.decode is None, trust[energy.kind], boundary


# launches


def joined(held: Sequence[Timeline], more: Sequence[Timeline]) -> list[Timeline]:
    """Append a later launch's readings to each meter's timeline, and count its windows as its own.

    A meter is known by its totals and rails, so that one that is missing in a launch costs that
    launch's windows alone. Where the clock began anew, as after a restart of the machine, the later
    readings are moved behind the earlier ones.
    """
    together = {_meter(line): line for line in held}
    launch = 1 + max((w.launch for line in held for w in line.windows), default=-1)
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
            update={
                "t_ns": a.t_ns + tuple(t + shift for t in b.t_ns),
                "values": a.values + b.values,
            }
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
