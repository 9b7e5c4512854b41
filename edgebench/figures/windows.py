"""A sensor's readings in one window: the mean power that belongs to the window alone.

Knows sensors that are late, that average, that show the same value until they have a new one, that
show coarse steps, stick or fall silent, and counters that wrap and reset. Knows no sensor by its
name. A window's power is the mean of what was surely of the window: the start is left out until
the sensor has forgotten the phase before.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebench.records.energy import (
    MAX_COUNTER_J,
    MAX_POWER_W,
    Series,
    Timeline,
    Window,
    settle_s,
    window_needed_s,
)

MAX_GAP = 6  # a silence of more readings or updates than this is a gap
MAX_NEGATIVE = 0.05  # a larger share of readings below zero is no noise
MIN_CHANGES = 5  # fewer show no pace
FEWEST_UPDATES = 5  # in a window that counts with others
STUCK_UPDATES = 20  # so many without a change don't happen to a sensor that works
NS = 1e-9
Floats = npt.NDArray[np.float64]


class NoFigure(Exception):
    """Why a window has no power; `is_short` where a longer window would have had one."""

    def __init__(self, reason: str, is_short: bool = False) -> None:
        super().__init__(reason)
        self.is_short = is_short


@dataclass(frozen=True)
class Readings:
    """A rail's readings in seconds from `start_ns`, and what they show of their sensor.

    `read_s` is how often it was read, `update_s` how often it had something new, `step` its
    resolution: the smallest difference between two readings.
    """

    series: Series
    start_ns: int
    t: Floats
    v: Floats
    read_s: float
    update_s: float
    step: float


@dataclass(frozen=True)
class Power:
    """A window's mean power in watts, and how far it may be off.

    `sampling` is what chance does in one window (95 %), `edge` what the part that was left out may
    hold, `step` what the sensor's resolution hides, `trend` the second half less the first.
    """

    watts: float
    sampling: float
    edge: float
    step: float
    trend: float
    updates: float
    update_s: float

    def __add__(self, other: Power) -> Power:
        """Add another rail's power in the same window; errors of one load go together."""
        return Power(
            self.watts + other.watts,
            self.sampling + other.sampling,
            self.edge + other.edge,
            self.step + other.step,
            self.trend + other.trend,
            min(self.updates, other.updates),
            max(self.update_s, other.update_s),
        )


def readings_of(series: Series) -> Readings:
    """Take a rail's readings, and its sensor's pace from the changes in them.

    Raises NoFigure where there are too few readings, or none differs from another.
    """
    if len(series.t_ns) < 2:
        raise NoFigure(f"{series.rail} gave no readings")
    t: Floats = ((np.asarray(series.t_ns, np.int64) - series.t_ns[0]) * NS).astype(np.float64)
    v = np.asarray(series.values, np.float64)
    limit = MAX_POWER_W if series.unit == "W" else MAX_COUNTER_J
    if np.abs(v).max() > limit:
        worst = float(v[np.abs(v).argmax()])
        raise NoFigure(f"{series.rail} showed {worst:.3g} {series.unit}, beyond any machine")
    read_s = max(float(np.median(np.diff(t))), 1e-6)
    if series.kind == "estimated":
        return Readings(series, series.t_ns[0], t, v, read_s, read_s, 0.0)
    changes = t[1:][np.diff(v) != 0]
    if not changes.size:
        raise NoFigure(
            f"{series.rail} showed {v[0]:.4g} {series.unit} from the first to the last of "
            f"{v.size} readings: it is stuck"
        )
    update_s = max(read_s, _pace(changes, float(t[-1] - t[0])))
    return Readings(series, series.t_ns[0], t, v, read_s, update_s, _step(v))


def _pace(changes: Floats, seconds: float) -> float:
    """Return the time between updates: a low quantile, since an update may repeat its value."""
    if changes.size < MIN_CHANGES:
        return seconds / changes.size
    return float(np.quantile(np.diff(changes), 0.25))


def _step(values: Floats) -> float:
    steps = np.diff(np.unique(values))
    steps = steps[steps > 1e-9 * max(1.0, float(np.abs(values).max()))]
    return float(steps.min()) if steps.size else 0.0


def power_of(readings: Readings, window: Window, line: Timeline) -> Power:
    """Return the mean power of one rail in one window.

    Raises NoFigure where the window is too short for the sensor, the sensor was silent or stuck,
    its power negative, or a counter was reset.
    """
    begin = (window.start_ns - readings.start_ns) * NS
    end = (window.end_ns - readings.start_ns) * NS
    begin += _settle_s(readings, line)
    end = min(end + line.lag_s, float(readings.t[-1]))
    if readings.series.unit == "J":
        return _counted(readings, window, begin, end)
    return _sampled(readings, window, line, begin, end)


def too_short(readings: Readings, line: Timeline, longest_s: float) -> NoFigure:
    """Say how long a window would have to be."""
    averaging_s = 0.0 if readings.series.unit == "J" else line.averaging_s
    needed = window_needed_s(readings.update_s, line.lag_s, averaging_s)
    return NoFigure(
        f"{readings.series.rail} has something new every {readings.update_s:.3g} s, and holds what "
        f"was before for {_settle_s(readings, line):.3g} s: a window would have to last "
        f"{needed:.3g} s, the longest lasted {longest_s:.3g} s",
        is_short=True,
    )


def _settle_s(readings: Readings, line: Timeline) -> float:
    if readings.series.kind == "estimated":
        return 0.0
    averaging_s = 0.0 if readings.series.unit == "J" else line.averaging_s
    return settle_s(readings.update_s, line.lag_s, averaging_s)


def _sampled(readings: Readings, window: Window, line: Timeline, begin: float, end: float) -> Power:
    """Average a power over time; each reading holds until the next."""
    t, v, rail = readings.t, readings.v, readings.series.rail
    first = _first_of_window(readings, begin)
    last = int(np.searchsorted(t, end, "right"))
    if last - first < 2 or (end - t[first]) < FEWEST_UPDATES * readings.update_s:
        raise too_short(readings, line, window.seconds)
    edges = np.append(t[first:last], end)
    hold, held = np.diff(edges), v[first:last]
    _check_silence(readings, hold)
    seconds = float(hold.sum())
    watts = float(hold @ held / seconds)
    if watts < 0 or np.mean(held < 0) > MAX_NEGATIVE:
        raise NoFigure(f"{rail} showed a negative power ({watts:.3g} W)")
    if readings.series.kind != "estimated":
        _check_stuck(readings, window, line, slice(first, last))
    spread = float(np.sqrt(hold @ (held - watts) ** 2 / seconds))
    independent = max(1.0, seconds / max(readings.update_s, line.averaging_s or 0.0))
    half = edges[:-1] < edges[0] + seconds / 2
    trend = float(
        np.average(held[~half], weights=hold[~half] + 1e-12)
        - np.average(held[half], weights=hold[half] + 1e-12)
    )
    return Power(
        watts=watts,
        sampling=2 * spread / independent**0.5,
        edge=max(0.0, 1 - seconds / window.seconds) * spread,
        step=readings.step / 2 if spread < readings.step else 0.0,
        trend=trend,
        updates=seconds / readings.update_s,
        update_s=readings.update_s,
    )


def _first_of_window(readings: Readings, begin: float) -> int:
    """Return the first reading that was surely new after `begin`.

    A change after a reading past `begin` is an update of its own; without one, an update and a
    half must have passed.
    """
    t, v = readings.t, readings.v
    if readings.series.kind == "estimated":
        return int(np.searchsorted(t, begin))
    since = int(np.searchsorted(t, begin))
    sure = int(np.searchsorted(t, begin + 1.5 * readings.update_s))
    changed = np.flatnonzero(np.diff(v[since : sure + 1]))
    return since + 1 + int(changed[0]) if changed.size else sure


def _check_silence(readings: Readings, hold: Floats) -> None:
    longest = float(hold.max())
    if longest > MAX_GAP * max(readings.read_s, readings.update_s):
        raise NoFigure(f"{readings.series.rail} was silent for {longest:.2f} s")


def _check_stuck(readings: Readings, window: Window, line: Timeline, span: slice) -> None:
    """Raise NoFigure where the same value held for long and the sensor did not answer to phases.

    A sensor of coarse steps may well show one value for a whole phase, but not also in another.
    """
    t, v = readings.t, readings.v
    moved = np.flatnonzero(np.diff(v)) + 1
    bounds = np.concatenate([[0], moved, [v.size]])  # of runs of one value
    runs = range(
        int(np.searchsorted(bounds, span.start, "right")) - 1,
        int(np.searchsorted(bounds, span.stop - 1, "right")),
    )
    for run in runs:
        first, after = int(bounds[run]), int(bounds[run + 1])
        held_s = t[min(after, span.stop) - 1] - t[max(first, span.start)]
        if held_s < (STUCK_UPDATES - 1) * readings.update_s:
            continue
        if _spans_phases(readings, window, line, float(t[first]), float(t[after - 1])):
            raise NoFigure(
                f"{readings.series.rail} showed {v[first]:.4g} W without a change for "
                f"{t[after - 1] - t[first]:.3g} s: it is stuck, or its steps are too coarse"
            )


def _spans_phases(
    readings: Readings, window: Window, line: Timeline, begin: float, end: float
) -> bool:
    """Return whether one value reaches from a window into another phase, or there is no other."""
    slack_s = _settle_s(readings, line) + 2 * readings.update_s
    others = [w for w in line.windows if w.phase != window.phase or w.phase == "load"]
    others = [w for w in others if w is not window]
    return not others or any(
        begin < (w.end_ns - readings.start_ns) * NS
        and end > (w.start_ns - readings.start_ns) * NS + slack_s
        for w in others
    )


def _counted(readings: Readings, window: Window, begin: float, end: float) -> Power:
    """Take a counter's rise from its first update in the window to its last."""
    t, rail = readings.t, readings.series.rail
    since, until = int(np.searchsorted(t, begin)), int(np.searchsorted(t, end, "right"))
    if until - since < 3:
        raise NoFigure(f"{rail} was not read in the window", is_short=True)
    _check_silence(readings, np.diff(np.append(t[since:until], end)))
    joules = unwrap(readings.series, since, until)
    moved = np.flatnonzero(np.diff(joules)) + 1
    if not moved.size:
        raise NoFigure(f"{rail} showed the same counter for the whole window: it is stuck")
    times, counts = t[since:until][moved], joules[moved]
    seconds = float(times[-1] - times[0])
    if moved.size < 2 or seconds < FEWEST_UPDATES * readings.update_s:
        raise NoFigure(f"{rail} had too few updates in the window", is_short=True)
    watts = float((counts[-1] - counts[0]) / seconds)
    parts = np.interp(np.linspace(times[0], times[-1], 6), times, counts)
    powers = np.diff(parts) / (seconds / 5)
    middle = float(np.interp(times[0] + seconds / 2, times, counts))
    return Power(
        watts=watts,
        sampling=0.8 * watts * readings.read_s / seconds,  # two uniform errors of a reading each
        edge=max(0.0, 1 - seconds / window.seconds) * float(powers.std()),
        step=0.0,
        trend=2 * float(counts[-1] + counts[0] - 2 * middle) / seconds,
        updates=seconds / readings.update_s,
        update_s=readings.update_s,
    )


def rough_watts(series: Series, window: Window, line: Timeline) -> float | None:
    """Return a rail's mean power in a window, unchecked; None without two readings in it."""
    late_ns = int((line.lag_s + (line.averaging_s or 0.0)) / NS)
    first = bisect_left(series.t_ns, window.start_ns + late_ns)
    last = bisect_right(series.t_ns, window.end_ns)
    if last - first < 2:
        return None
    try:
        if series.unit == "W":
            return statistics.fmean(series.values[first:last])
        joules = unwrap(series, first, last)
    except (NoFigure, OverflowError):
        return None
    return float(joules[-1]) / ((series.t_ns[last - 1] - series.t_ns[first]) * NS)


def unwrap(series: Series, since: int = 0, until: int | None = None) -> Floats:
    """Return a counter's part that only rises: wraps are added, a reset raises NoFigure."""
    values = np.asarray(series.values[since:until], np.float64)
    steps = np.diff(values)
    back = steps < 0
    if back.any():
        if series.wrap_j is None:
            raise NoFigure(f"{series.rail} was reset")
        steps = np.where(back, steps + series.wrap_j, steps)
    seconds = np.diff(np.asarray(series.t_ns[since:until], np.int64)) * NS
    wrong = (steps < 0) | (steps > MAX_POWER_W * np.maximum(seconds, 1e-3))
    if wrong.any():
        raise NoFigure(f"{series.rail} was reset, or jumped by {steps[wrong][0]:.3g} J")
    return np.concatenate([[0.0], np.cumsum(steps)])
