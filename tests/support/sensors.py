"""Simulated power sensors read while simulated launches run, and how well their figures do.

The truth is known: idle, prefill and decode take `WATTS`, with a slow ripple and a share that
differs between launches. A sensor is late, averages, has something new now and then, is noisy,
coarse, and off by its own gain. Windows are as long as the worker would make them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgebench.figures.energy import energies, joined
from edgebench.records.base import Estimate
from edgebench.records.energy import (
    Energy,
    Phase,
    Series,
    Timeline,
    Total,
    Window,
    window_needed_s,
)

WATTS = {"idle": 4.0, "prefill": 12.0, "decode": 9.0}
SECONDS = {"prefill": 0.4, "decode": 1.5}
TOKENS = {"idle": 0, "prefill": 512, "decode": 128}
GRID_S = 0.002
RIPPLE, RIPPLE_S = 0.05, 0.37
LONGEST_WINDOW_S = 30.0


@dataclass(frozen=True)
class Sensor:
    """How a sensor shows a power; `stated_*` is what its meter says of it."""

    name: str
    read_s: float
    update_s: float
    unit: str = "W"
    averaging_s: float = 0.0
    lag_s: float = 0.0
    noise: float = 0.0
    step: float = 0.0
    error_share: float = 0.01
    stated_averaging_s: float | None = 0.0
    stated_lag_s: float = 0.0
    has_figure: bool = True
    stuck: bool = False


SENSORS = (
    Sensor("INA, instantaneous, 10 Hz, noise 2 %", 0.1, 0.1, noise=0.02),
    Sensor(
        "INA, mean of 0.42 s, read at 10 Hz", 0.1, 0.42, averaging_s=0.42, stated_averaging_s=0.42
    ),
    Sensor("counter, 1 ms, read at 50 Hz (RAPL)", 0.02, 0.001, unit="J", error_share=0.03),
    Sensor("counter, 100 ms, read at 10 Hz (NVML)", 0.1, 0.1, unit="J", error_share=0.05),
    Sensor(
        "power, mean of 1 s, read at 10 Hz (NVML)",
        0.1,
        0.1,
        averaging_s=1.0,
        stated_averaging_s=1.0,
        error_share=0.05,
    ),
    Sensor(
        "power, mean of 1 s, new each 1 s, read at 10 Hz (ACPI)",
        0.1,
        1.0,
        averaging_s=1.0,
        stated_averaging_s=1.0,
    ),
    Sensor("plug, new each 0.5 s, read at 10 Hz", 0.1, 0.5, stated_averaging_s=None),
    Sensor("plug, one line a second", 1.0, 1.0, stated_averaging_s=None),
    Sensor(
        "plug, one line a second, mean of 1 s, steps of 0.1 W",
        1.0,
        1.0,
        averaging_s=1.0,
        step=0.1,
        stated_averaging_s=None,
    ),
    Sensor("late by 0.8 s and said so, 10 Hz", 0.1, 0.1, lag_s=0.8, stated_lag_s=0.8),
    Sensor("steps of 0.5 W, 10 Hz", 0.1, 0.1, step=0.5, noise=0.02),
    Sensor(
        "battery, mean of 15 s",
        1.0,
        15.0,
        averaging_s=15.0,
        stated_averaging_s=15.0,
        has_figure=False,
    ),
    Sensor("battery, new each 30 s", 1.0, 30.0, stated_averaging_s=15.0, has_figure=False),
    Sensor("stuck", 0.1, 0.1, has_figure=False, stuck=True),
)


@dataclass
class _Trace:
    """Watts on a grid, and the windows and sampler's runs cut out of it."""

    watts: list[np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=list)
    windows: list[tuple[Phase, int, int, int]] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)
    at: int = 0

    def add(self, watts: float, seconds: float, phase: Phase | None = None, times: int = 1) -> None:
        count = max(1, round(seconds / GRID_S))
        self.watts.append(np.full(count, watts))
        if phase:
            self.windows.append((phase, self.at, self.at + count, times))
        self.at += count


def study(
    sensor: Sensor,
    rng: np.random.Generator,
    launches: int = 5,
    repetitions: int = 2,
    between: float = 0.005,
) -> tuple[Energy, float]:
    """Return the energy of one simulated case, and the sensor's gain."""
    gain = 1 + rng.uniform(-1, 1) * sensor.error_share
    lines: list[Timeline] = []
    offset_ns = 10**9
    for _ in range(launches):
        trace = _trace(sensor, repetitions, 1 + rng.normal(0, between))
        lines = joined(lines, [_timeline(sensor, trace, rng, gain, offset_ns)])
        offset_ns += int((trace.at * GRID_S + 20 + rng.random()) * 1e9)
    return energies(lines)[0], gain


def _trace(sensor: Sensor, repetitions: int, share: float) -> _Trace:
    needed = window_needed_s(sensor.update_s, sensor.stated_lag_s, sensor.stated_averaging_s)
    needed = max(
        needed, window_needed_s(sensor.read_s, sensor.stated_lag_s, sensor.stated_averaging_s)
    )
    wanted = needed if needed <= LONGEST_WINDOW_S else 0.0
    trace, wait_s = _Trace(), 2 * sensor.read_s + sensor.stated_lag_s
    idle, decode = WATTS["idle"] * share, WATTS["decode"] * share
    trace.add(decode, 3.0)  # the warm-up
    for number in range(repetitions + 2):
        begin = trace.at
        trace.add(idle, wait_s)
        if number in (0, repetitions + 1):
            trace.add(idle, max(1.0, 1.1 * wanted), "idle")
        else:
            for phase in ("prefill", "decode"):
                trace.add(WATTS[phase] * share, SECONDS[phase], phase)
            for phase in ("prefill", "decode"):
                if SECONDS[phase] < wanted:
                    times = math.ceil(1.05 * wanted / SECONDS[phase])
                    trace.add(WATTS[phase] * share, times * SECONDS[phase], phase, times)
        trace.add(idle, wait_s)
        trace.runs.append((begin, trace.at))
        trace.add(decode, 0.02)
    return trace


def _timeline(
    sensor: Sensor, trace: _Trace, rng: np.random.Generator, gain: float, offset_ns: int
) -> Timeline:
    watts = np.concatenate(trace.watts)
    t = np.arange(watts.size) * GRID_S
    watts = watts * (1 + RIPPLE * np.sin(2 * np.pi * t / RIPPLE_S + rng.random() * 2 * np.pi))
    joules = np.concatenate([[0.0], np.cumsum(watts) * GRID_S])
    updates = np.arange(rng.random() * sensor.update_s, t[-1], sensor.update_s)
    index = np.minimum(((updates - sensor.lag_s) / GRID_S).astype(int), watts.size - 1).clip(0)
    if sensor.unit == "J":
        shown = joules[index]
    elif sensor.averaging_s:
        before = np.maximum(index - int(sensor.averaging_s / GRID_S), 0)
        shown = (joules[index] - joules[before]) / np.maximum((index - before) * GRID_S, GRID_S)
    else:
        shown = watts[index]
    shown = shown * gain * (1 + rng.normal(0, sensor.noise, shown.size))
    if sensor.step:
        shown = np.round(shown / sensor.step) * sensor.step
    if sensor.stuck:
        shown = np.full_like(shown, 7.0)
    times, values = [], []
    for begin, end in trace.runs:
        reads = np.arange(begin * GRID_S + 1e-4, end * GRID_S, sensor.read_s)
        reads = reads + rng.uniform(0, 0.02, reads.size) * sensor.read_s
        newest = np.searchsorted(updates, reads, "right") - 1
        times += list(reads[newest >= 0])
        values += list(shown[newest[newest >= 0]])
    return Timeline(
        period_s=sensor.read_s,
        lag_s=sensor.stated_lag_s,
        averaging_s=sensor.stated_averaging_s,
        totals=(
            Total(
                source="simulated", rails=("r",), kind="measured", error_share=sensor.error_share
            ),
        ),
        series=(
            Series(
                rail="r",
                unit=sensor.unit,
                kind="measured",
                t_ns=tuple(offset_ns + int(s * 1e9) for s in times),
                values=tuple(map(float, values)),
            ),
        ),
        windows=tuple(
            Window(
                phase=phase,
                start_ns=offset_ns + int(a * GRID_S * 1e9),
                end_ns=offset_ns + int(b * GRID_S * 1e9),
                tokens=times_ * TOKENS[phase],
                repetition_tokens=TOKENS[phase],
            )
            for phase, a, b, times_ in trace.windows
        ),
    )


@dataclass
class Score:
    """How often a figure was there, its bias, and how often its interval held the truth."""

    absent: int = 0
    ratios: list[float] = field(default_factory=list)
    halves: list[float] = field(default_factory=list)
    held: int = 0

    def add(self, estimate: Estimate | None, truth: float, gain: float) -> None:
        """Count one study's estimate; the sensor's own gain is no bias of the figure's."""
        if estimate is None or estimate.bounds is None:
            self.absent += 1
            return
        self.ratios.append(estimate.value / truth / gain)
        self.halves.append((estimate.bounds.high - estimate.bounds.low) / 2 / truth)
        self.held += estimate.bounds.low <= truth <= estimate.bounds.high

    @property
    def bias(self) -> float:
        """Return the mean error, as a share of the truth."""
        return float(np.mean(self.ratios)) - 1

    @property
    def coverage(self) -> float:
        """Return the share of intervals that hold the truth."""
        return self.held / max(1, len(self.ratios))


def scores(sensor: Sensor, studies: int, seed: int, **how: Any) -> dict[str, Score]:
    """Run studies; return the scores of prefill, decode, net decode and idle."""
    rng = np.random.default_rng(seed)
    result = {name: Score() for name in ("prefill", "decode", "net decode", "idle")}
    token = {p: WATTS[p] * SECONDS[p] / TOKENS[p] for p in ("prefill", "decode")}
    net = (WATTS["decode"] - WATTS["idle"]) * SECONDS["decode"] / TOKENS["decode"]
    for _ in range(studies):
        energy, gain = study(sensor, rng, **how)
        decode = energy.decode
        estimates = {
            "prefill": (energy.prefill.j_per_token if energy.prefill else None, token["prefill"]),
            "decode": (decode.j_per_token if decode else None, token["decode"]),
            "net decode": (decode.net_j_per_token if decode else None, net),
            "idle": (energy.idle_w, WATTS["idle"]),
        }
        for name, (estimate, truth) in estimates.items():
            result[name].add(estimate, truth, gain)
    return result
