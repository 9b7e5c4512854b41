"""Watts that a person states: an estimate, marked as one, and never there unless asked for."""

from __future__ import annotations

import re
import time

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.records.energy import Total

_WATTS = re.compile(r"(\d+(?:\.\d+)?)\s*W?")


class Estimate:
    """The same power at all times."""

    nominal_s = 0.05

    def __init__(self, watts: float) -> None:
        self._watts = watts
        self.rails = {"stated": Rail(unit="W", kind="estimated")}
        self.totals = (Total(source="estimate", rails=("stated",), kind="estimated"),)

    def sample(self) -> list[Reading]:
        """Return the stated power."""
        return [Reading(time.perf_counter_ns(), "stated", self._watts)]

    def close(self) -> None:
        """Hold nothing."""


def find(typed: str) -> Meter | str:
    """Return a meter of the watts that were typed, or why there is none."""
    match = _WATTS.fullmatch(typed.strip())
    if not match:
        return "estimate: state the watts, for example --meter estimate:15W"
    return Estimate(float(match[1]))
