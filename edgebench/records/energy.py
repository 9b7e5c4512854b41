"""Readings of power sensors on a timeline, and the joules made of them."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field, model_validator

from edgebench.records.base import Count, Estimate, Positive, Real, Record, Text

MIN_PERIODS = 20  # of a sensor; a shorter window has no figure


class Series(Record):
    """One rail's readings on the worker's monotonic clock: watts, or joules of a counter."""

    rail: Text
    unit: Literal["W", "J"]
    kind: Literal["measured", "derived", "estimated"]
    wrap_j: Real | None = None
    t_ns: tuple[int, ...]
    values: tuple[Real, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Series:
        if len(self.t_ns) != len(self.values):
            raise ValueError("times and values are not as many")
        if any(b < a for a, b in itertools.pairwise(self.t_ns)):
            raise ValueError("times are not in order")
        return self


class Window(Record):
    """A phase's start and end on that clock, and the tokens that were evaluated in it."""

    phase: Literal["idle", "prefill", "decode"]
    start_ns: int
    end_ns: int
    tokens: Count = 0
    repetition_tokens: Count = 0

    @property
    def seconds(self) -> float:
        """Return the window's length."""
        return (self.end_ns - self.start_ns) / 1e9


class Total(Record):
    """A source of energy: the rails that add up to it, none where no sum may be claimed."""

    source: Text
    rails: tuple[Text, ...]
    kind: Literal["measured", "derived", "estimated"]


class Timeline(Record):
    """What one meter gave while phases ran."""

    period_s: Positive
    read_s: Real = 0.0
    totals: tuple[Total, ...]
    series: tuple[Series, ...]
    windows: tuple[Window, ...]
    errors: tuple[Text, ...] = ()


class PhaseEnergy(Record):
    """Joules of one phase of one repetition, with idle power (gross) and without it (net)."""

    gross_j: Estimate
    net_j: Estimate | None = None
    j_per_token: Estimate
    net_j_per_token: Estimate | None = None
    windows: Count = 0


class Energy(Record):
    """Energy from one source."""

    source: Text
    rails: tuple[Text, ...]
    kind: Literal["measured", "derived", "estimated"]
    period_s: Positive
    idle_w: Estimate | None = None
    idle_drift_w: Real | None = Field(default=None, description="idle after minus idle before")
    prefill: PhaseEnergy | None = None
    decode: PhaseEnergy | None = None
    rail_w: dict[str, Real] = Field(default={}, description="rail -> mean watts while decoding")
    reason: Text | None = Field(default=None, description="why a figure is absent")
    warnings: tuple[Text, ...] = ()
