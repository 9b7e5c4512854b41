"""Readings of power sensors on a timeline, and the joules made of them.

Knows what a sensor says of itself (boundary, lag, averaging, accuracy) and how long a window it
needs. Makes no joules.
"""

from __future__ import annotations

import itertools
from typing import Any, Literal

from pydantic import Field, model_validator

from edgebench.records.base import (
    Amount,
    Count,
    Figure,
    Finite,
    Positive,
    Real,
    Record,
    Text,
    Told,
    Whole,
)

Kind = Literal["measured", "derived", "estimated"]
Boundary = Literal["package", "module", "board", "wall"]
Phase = Literal["idle", "prefill", "decode", "load"]

MIN_PERIODS = 20  # updates of a sensor that a figure needs
MAX_POWER_W = 20_000.0  # no machine that runs one model takes more
MAX_COUNTER_J = 1e15
UNKNOWN_AVERAGING_S = 1.0

# What runs of 0.1.0, which had no boundaries, held under these names.
_BOUNDARIES_BEFORE: dict[str, tuple[Boundary, str | None]] = {
    "ina": ("module", None), "pmic": ("board", None), "pmic wall fit": ("wall", None),
    "rapl": ("package", "cpu"), "nvml": ("package", "gpu"), "battery": ("board", None),
    "command": ("wall", None),
}  # fmt: skip


def settle_s(update_s: float, lag_s: float, averaging_s: float | None) -> float:
    """Return how long a sensor's readings still hold what was before.

    An averaging time that nobody states is taken as one update's, and at least a second.
    """
    mean_of_s = max(update_s, UNKNOWN_AVERAGING_S) if averaging_s is None else averaging_s
    return lag_s + mean_of_s


def window_needed_s(update_s: float, lag_s: float, averaging_s: float | None) -> float:
    """Return how long a window must last so that its sensor has 20 updates of it alone."""
    return settle_s(update_s, lag_s, averaging_s) + (MIN_PERIODS + 2) * update_s


class Series(Record):
    """One rail's readings on the worker's monotonic clock: watts, or joules of a counter."""

    rail: Text
    unit: Literal["W", "J"]
    kind: Kind
    wrap_j: Real | None = None
    t_ns: tuple[Whole, ...]
    values: tuple[Finite, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Series:
        if len(self.t_ns) != len(self.values):
            raise ValueError("times and values are not as many")
        if any(b < a for a, b in itertools.pairwise(self.t_ns)):
            raise ValueError("times are not in order")
        return self


class Window(Record):
    """A phase's start and end on that clock, and the tokens that were evaluated in it."""

    phase: Phase
    start_ns: Whole
    end_ns: Whole
    tokens: Count = 0
    repetition_tokens: Count = 0
    launch: Count = Field(default=0, description="which of the case's worker processes, from 0")

    @property
    def seconds(self) -> float:
        """Return the window's length."""
        return (self.end_ns - self.start_ns) / 1e9


class _Source(Record):
    """Where watts come from and what they include."""

    source: Text
    rails: tuple[Text, ...]
    kind: Kind
    boundary: Boundary | None = Field(
        default=None,
        description="what a joule includes: the chip's package, the module, the board, or all that "
        "comes out of the wall; None: nobody says",
    )
    covers: Literal["cpu", "gpu"] | None = Field(
        default=None, description="of a package: which; None: all that works"
    )


class Total(_Source):
    """A source of energy: the rails that add up to it, none where no sum may be claimed."""

    error_share: Amount = Field(default=0.0, description="the sensor's accuracy: 0.01 is 1 %")


class Timeline(Record):
    """What one meter gave while phases ran."""

    period_s: Positive = Field(description="how often it was read")
    read_s: Amount = 0.0
    lag_s: Amount = Field(default=0.0, description="how late a reading comes")
    averaging_s: Amount | None = Field(
        default=None, description="a reading is the mean of so long a time; None: unknown"
    )
    totals: tuple[Total, ...]
    series: tuple[Series, ...]
    windows: tuple[Window, ...]
    errors: tuple[Told, ...] = ()


class Calibration(Record):
    """A line from a sensor's watts to a reference's, by least squares on `n` levels of load."""

    gain: Positive
    offset_w: Real
    gain_sd: Amount
    offset_sd: Amount
    n: Count = Field(ge=3)
    date: Text = ""
    mean_w: Real = Field(default=0.0, description="the sensor's mean over the levels")
    low_w: Real | None = Field(default=None, description="the least of them")
    high_w: Real | None = None


class PhaseEnergy(Record):
    """Joules of one phase of one repetition, with idle power (gross) and without it (net)."""

    gross_j: Figure
    net_j: Figure | None = None
    j_per_token: Figure
    net_j_per_token: Figure | None = None
    windows: Count = 0


class Energy(_Source):
    """Energy from one source."""

    period_s: Positive = Field(description="how often the sensor has something new")
    idle_w: Figure | None = None
    idle_drift_w: Real | None = Field(default=None, description="idle after minus idle before")
    prefill: PhaseEnergy | None = None
    decode: PhaseEnergy | None = None
    rail_w: dict[Text, Real] = Field(default={}, description="rail -> mean watts while decoding")
    calibration: Calibration | None = Field(
        default=None, description="the person's own fit that these figures went through"
    )
    reason: Told | None = Field(default=None, description="why a figure is absent")
    warnings: tuple[Told, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_0_1_0(cls, data: Any) -> Any:
        if isinstance(data, dict) and "boundary" not in data:
            boundary, covers = _BOUNDARIES_BEFORE.get(str(data.get("source")), (None, None))
            return {**data, "boundary": boundary, "covers": data.get("covers", covers)}
        return data
