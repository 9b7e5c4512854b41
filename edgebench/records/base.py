"""What every record is made of: frozen, bounded, in SI units.

Sizes are bytes, times seconds, energy joules, unless a name ends in another unit. Missing is None,
with a reason beside it.
"""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=10_000)]
LongText = Annotated[str, Field(max_length=200_000)]


def safe_name(text: str) -> str:
    """Make a name from elsewhere safe in a path: letters, digits, dot, dash and underscore.

    It is never empty or hidden, and has at most 120 characters.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    return cleaned[:120] or "model"


class Record(BaseModel):
    """A frozen record; fields it does not know are ignored, so a newer minor version reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Bounds(NamedTuple):
    """The two ends of an interval."""

    low: float
    high: float


class Estimate(Record):
    """A figure with its interval: 95 % unless `method` says otherwise.

    Where nothing honest can be said of the interval, as of a single launch, there is none.
    """

    value: Real
    low: Real | None = None
    high: Real | None = None
    n: Count
    method: Text

    @property
    def bounds(self) -> Bounds | None:
        """Return the interval, or None where none is known."""
        if self.low is None or self.high is None:
            return None
        return Bounds(self.low, self.high)

    @model_validator(mode="after")
    def _in_order(self) -> Estimate:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")
        slack = 1e-9 * (1 + abs(self.value))
        if self.bounds and not self.bounds.low - slack <= self.value <= self.bounds.high + slack:
            raise ValueError("the value lies outside its interval")
        return self
