"""What every record is made of: frozen, bounded, in SI units.

Sizes are bytes, times seconds, energy joules, unless a name ends in another unit. Missing is None,
with a reason beside it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from edgebench.records.limits import (
    LARGEST_REAL,
    LARGEST_WHOLE,
    NAME_CHARACTERS,
    RENDERED_CHARACTERS,
    SMALLEST_POSITIVE,
    TOLD_CHARACTERS,
)


def clean(text: str, limit: int | None = 400) -> str:
    """Return text from elsewhere as one line without what could fool a reader, cut to `limit`.

    Control characters, and those that turn the direction of writing or aren't seen at all, become
    spaces; bytes of a file's name that aren't UTF-8 are written out.
    """
    if text.isprintable():
        return text[:limit]
    return "".join(char if char.isprintable() else _written_out(char) for char in text)[:limit]


def _written_out(char: str) -> str:
    is_byte = "\udc80" <= char <= "\udcff"  # as Python keeps it in the name of a file
    return f"\\x{ord(char) - 0xDC00:02x}" if is_byte else " "


def told(text: Any) -> Any:
    """Cut a text that was joined of others to what a record takes."""
    if isinstance(text, str) and len(text) > TOLD_CHARACTERS:
        return text[: TOLD_CHARACTERS - 1] + "…"
    return text


Whole = Annotated[int, Field(ge=-LARGEST_WHOLE, le=LARGEST_WHOLE)]
Count = Annotated[int, Field(ge=0, le=LARGEST_WHOLE)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Real = Annotated[float, Field(ge=-LARGEST_REAL, le=LARGEST_REAL, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=SMALLEST_POSITIVE, le=LARGEST_REAL, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=LARGEST_REAL, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=NAME_CHARACTERS)]
LongText = Annotated[str, Field(max_length=RENDERED_CHARACTERS)]
# Words that say why or warn of something, often joined of others: cut where Text is refused.
Told = Annotated[str, BeforeValidator(told), Field(max_length=TOLD_CHARACTERS)]


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

    value: Finite
    low: Finite | None = None
    high: Finite | None = None
    n: Count
    method: Told

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


def _of_size(estimate: Estimate) -> Estimate:
    if max(abs(end) for end in (estimate.value, *(estimate.bounds or ()))) > LARGEST_REAL:
        raise ValueError(f"a figure is larger than {LARGEST_REAL:g}")
    return estimate


def _positive(estimate: Estimate) -> Estimate:
    if _of_size(estimate).value < SMALLEST_POSITIVE:
        raise ValueError("the figure isn't positive")
    return estimate


def _share(estimate: Estimate) -> Estimate:
    if not 0 <= estimate.value <= 1:
        raise ValueError("a share isn't between 0 and 1")
    return _of_size(estimate)


# What is stored and reckoned with later: of a size whose squares and ratios are still numbers.
Figure = Annotated[Estimate, AfterValidator(_of_size)]
Rate = Annotated[Estimate, AfterValidator(_positive)]
ShareFigure = Annotated[Estimate, AfterValidator(_share)]
