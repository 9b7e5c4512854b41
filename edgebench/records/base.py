"""What every record is made of: frozen, bounded, in SI units.

Sizes are bytes, times seconds, energy joules, unless a name ends in another unit. Missing is None,
with a reason beside it.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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


class Estimate(Record):
    """A figure with its interval: 95 % unless `method` says otherwise."""

    value: Real
    low: Real
    high: Real
    n: Count
    method: Text
