"""Watts that a person states: an estimate, marked as one, and never there unless asked for.

`estimate:15W` says nothing of what the watts include; `estimate:15W wall` does. How far off they
are nobody knows, so such a figure has no interval.
"""

from __future__ import annotations

import re
import time
from typing import get_args

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.records.energy import Boundary, Total

_WATTS = re.compile(r"(\d+(?:\.\d+)?)\s*W?(?:\s+(package|module|board|wall))?")


class Estimate:
    """The same power at all times."""

    nominal_s = 0.05
    lag_s = 0.0
    averaging_s = 0.0

    def __init__(self, watts: float, boundary: Boundary | None) -> None:
        self._watts = watts
        self.rails = {"stated": Rail(unit="W", kind="estimated")}
        self.totals = (
            Total(source="estimate", rails=("stated",), kind="estimated", boundary=boundary),
        )

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
    boundary = next((b for b in get_args(Boundary) if b == match[2]), None)
    return Estimate(float(match[1]), boundary)
