"""A person's calibration: a line from a sensor's watts to those of a wall or USB meter.

Fits by least squares and applies the fit with its own uncertainty. Reads no meter: the pairs were
typed, or come of timelines in which both were read (`pairs_of` in `totals.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from edgebench.errors import UsageError
from edgebench.figures.windows import Power
from edgebench.records.energy import Calibration
from edgebench.stats.student import t_quantile

MIN_PAIRS = 3
MIN_RANGE = 0.2  # of the sensor's mean: levels that lie closer give no slope
MAX_EXTRAPOLATED = 0.25  # of the range, beyond its ends
_WATTS = r"\s*(\d+(?:\.\d+)?)\s*(m?)W?\s*"
_PAIR = re.compile(f"{_WATTS}={_WATTS}")


class Pair(NamedTuple):
    """What the sensor and the reference showed at one level of load."""

    sensor_w: float
    reference_w: float


def parse_pair(typed: str) -> Pair:
    """Read `5.1W=6.3W`: the sensor's watts, then the reference's; raise UsageError otherwise."""
    match = _PAIR.fullmatch(typed)
    if not match:
        raise UsageError(
            f"{typed!r} isn't a pair of watts", hint="--pair 5.1W=6.3W: the sensor, then the meter"
        )
    sensor, milli, reference, milli_too = match.groups()
    return Pair(
        float(sensor) * (1e-3 if milli else 1), float(reference) * (1e-3 if milli_too else 1)
    )


def fit(pairs: Sequence[Pair], date: str = "") -> Calibration:
    """Fit the reference's watts to the sensor's by least squares.

    Raises UsageError on fewer than three pairs, on levels of load that lie too close together, and
    where the reference falls while the sensor rises.
    """
    if len(pairs) < MIN_PAIRS:
        raise UsageError(
            f"{len(pairs)} pairs are too few: a line and its error need {MIN_PAIRS}",
            hint="add --pair SENSOR=METER at another load, such as idle, half and full",
        )
    x = np.array([pair.sensor_w for pair in pairs])
    y = np.array([pair.reference_w for pair in pairs])
    mean = float(x.mean())
    if not np.ptp(x) > MIN_RANGE * abs(mean):
        raise UsageError(
            f"the sensor's watts lie within {np.ptp(x):.2g} W of each other",
            hint="add a pair at a load that takes much more or much less",
        )
    square = float(((x - mean) ** 2).sum())
    gain = float((x - mean) @ (y - y.mean()) / square)
    if gain <= 0:
        raise UsageError("the meter's watts fall while the sensor's rise: they don't fit together")
    offset = float(y.mean() - gain * mean)
    residual = float(np.sqrt(((y - gain * x - offset) ** 2).sum() / (len(pairs) - 2)))
    return Calibration(
        gain=gain,
        offset_w=offset,
        gain_sd=residual / square**0.5,
        offset_sd=residual * (1 / len(pairs) + mean**2 / square) ** 0.5,
        n=len(pairs),
        date=date,
        mean_w=mean,
        low_w=float(x.min()),
        high_w=float(x.max()),
    )


@dataclass(frozen=True)
class Line:
    """A calibration at work."""

    fit: Calibration

    def apply(self, power: Power) -> Power:
        """Return the reference's power for the sensor's; errors grow with the gain."""
        gain = self.fit.gain
        return replace(
            power,
            watts=gain * power.watts + self.fit.offset_w,
            sampling=gain * power.sampling,
            edge=gain * power.edge,
            step=gain * power.step,
            trend=gain * power.trend,
        )

    @property
    def gain_share(self) -> float:
        """Return half the 95 % interval of the gain, as a share of it."""
        return float(t_quantile(0.975, self.fit.n - 2) * self.fit.gain_sd / self.fit.gain)

    def half_w(self, reference_w: float) -> float:
        """Return half the 95 % interval of the line at the reference's watts.

        The line is surest at the mean of its pairs; gain and offset err together.
        """
        fit = self.fit
        away = (reference_w - fit.offset_w) / fit.gain - fit.mean_w
        centre = max(0.0, fit.offset_sd**2 - (fit.gain_sd * fit.mean_w) ** 2)
        spread = (centre + (fit.gain_sd * away) ** 2) ** 0.5
        return float(t_quantile(0.975, fit.n - 2) * spread)

    def is_beyond(self, reference_w: float) -> bool:
        """Return whether the power lies far outside the levels that were fitted."""
        low, high = self.fit.low_w, self.fit.high_w
        if low is None or high is None:
            return False
        sensor_w = (reference_w - self.fit.offset_w) / self.fit.gain
        slack = MAX_EXTRAPOLATED * (high - low)
        return not low - slack <= sensor_w <= high + slack
