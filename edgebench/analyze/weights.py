"""What a pick is to have the most of: one respect, or several with weights.

Rows are weighed pair by pair: the lead is the weighted mean of the logarithms of their ratios, so
that with `decode=2,energy=1` twice the speed makes up for four times the joules. Ratios of decode
and prefill count as they are, those of joules and bytes upside down, accuracy by its share of right
answers. A third row never changes how two stand. Knows no constraints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pydantic import Field

from edgebench.analyze.choosing import (
    ASPECTS,
    Aspect,
    Lead,
    accuracy_reach,
    by_round,
    lead,
    value_of,
)
from edgebench.analyze.constraints import OF_LAUNCHES, Name
from edgebench.analyze.rows import Row
from edgebench.errors import UsageError, nearest
from edgebench.records.base import Estimate, Record
from edgebench.stats.launches import over_launches, ratio

KNOWN: tuple[Aspect, ...] = ("decode", "prefill", "energy", "memory", "accuracy")
# Speed and energy are measured in the very same launches.
_ON_LAUNCHES: tuple[Name, ...] = (*OF_LAUNCHES, "max-energy")
_SHARED: dict[Aspect, tuple[Name, ...]] = {
    "decode": _ON_LAUNCHES,
    "prefill": _ON_LAUNCHES,
    "energy": _ON_LAUNCHES,
    "memory": ("max-memory",),
    "accuracy": ("max-accuracy-loss", "min-accuracy"),
}
_LEAST_SHARE = 1e-3  # of right answers: no share is 0 for ever


class Objective(Record):
    """The respects that count, each with its share of the weight."""

    weights: dict[Aspect, float] = Field(description="add up to 1")

    @classmethod
    def read(cls, typed: str) -> Objective:
        """Read `decode`, or `decode=2,energy=1`. Raises UsageError on what is neither."""
        weights: dict[Aspect, float] = {}
        for part in typed.split(","):
            name, _, weight = (word.strip() for word in part.partition("="))
            aspect = next((known for known in KNOWN if known == name), None)
            if aspect is None:
                raise UsageError(f"unknown objective {name!r}", hint=nearest(name, KNOWN))
            if aspect in weights:
                raise UsageError(f"the objective {name} is there twice", hint="name it once")
            weights[aspect] = _weight(aspect, weight if "=" in part else "1")
        total = math.fsum(weights.values())
        if total <= 0:
            raise UsageError("the objective's weights add up to 0", hint="decode=2,energy=1")
        kept = {aspect: weight / total for aspect, weight in weights.items() if weight}
        return cls(weights=kept)

    @property
    def only(self) -> Aspect | None:
        """Return the respect, where there is but one."""
        return next(iter(self.weights)) if len(self.weights) == 1 else None

    @property
    def name(self) -> str:
        """Return it as it is typed, in percent of the weight."""
        if self.only:
            return self.only
        return ",".join(f"{aspect}={100 * share:.3g}%" for aspect, share in self.weights.items())

    @property
    def words(self) -> str:
        """Return what a sentence calls it."""
        return self.only or "balance of " + " and ".join(self.weights)

    @property
    def shared(self) -> tuple[Name, ...]:
        """Return the constraints that are judged on the objective's own measurements."""
        return tuple(dict.fromkeys(name for aspect in self.weights for name in _SHARED[aspect]))

    @property
    def left(self) -> list[Aspect]:
        """Return the respects that weren't asked for."""
        return [aspect for aspect in ASPECTS if aspect not in self.weights]

    def value(self, row: Row, tasks: Sequence[str]) -> float | None:
        """Return what rows are ordered by, the larger the better; None where a figure is missing.

        Of one respect its own figure, of several the weighted geometric mean.
        """
        if self.only:
            return value_of(self.only, row, tasks)
        logs = [
            None if log is None else share * log
            for aspect, share in self.weights.items()
            for log in [_log(aspect, row, tasks)]
        ]
        told = [log for log in logs if log is not None]
        return math.exp(math.fsum(told)) if len(told) == len(logs) else None

    def lead(self, row: Row, other: Row, tasks: Sequence[str]) -> Lead | None:
        """Return how a row stands to another; None where they can't be compared.

        Of several respects `by` is the ratio of what they are ordered by, less 1. It is shown
        where it exceeds what the respects may be off by: those of the same launches add up,
        accuracy is measured apart from them.
        """
        if self.only:
            return lead(self.only, row, other, tasks)
        mine, theirs = self.value(row, tasks), self.value(other, tasks)
        if mine is None or theirs is None or ("energy" in self.weights and _unlike(row, other)):
            return None
        by = mine / theirs - 1
        reaches = {
            aspect: share * reach
            for aspect, share in self.weights.items()
            if (reach := _REACHES[aspect](row, other, tasks)) is not None
        }
        if len(reaches) < len(self.weights):
            return Lead(by, is_shown=False)
        apart = reaches.pop("accuracy", 0.0)
        reach = math.hypot(math.fsum(reaches.values()), apart)
        return Lead(by, by != 0 and abs(math.log1p(by)) > reach)


def _weight(aspect: str, typed: str) -> float:
    try:
        weight = float(typed)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise UsageError(
            f"the weight of {aspect} isn't a number from 0 up: {typed!r}",
            hint="decode=2,energy=1",
        )
    return weight


def _log(aspect: Aspect, row: Row, tasks: Sequence[str]) -> float | None:
    value = value_of(aspect, row, tasks)
    if value is None:
        return None
    if aspect == "accuracy":
        return math.log(max(value, _LEAST_SHARE))
    if aspect in ("memory", "energy"):  # the less the better: their values are negative
        return -math.log(-value) if value < 0 else None
    return math.log(value) if value > 0 else None


# how far a logarithm of a ratio may be off, at 95 %


def _decode(row: Row, other: Row, _: Sequence[str]) -> float | None:
    return _speed(row, other, decode=True)


def _prefill(row: Row, other: Row, _: Sequence[str]) -> float | None:
    return _speed(row, other, decode=False)


def _speed(row: Row, other: Row, *, decode: bool) -> float | None:
    if not (row.speed and other.speed):
        return None
    ours, theirs = by_round(row.speed, decode), by_round(other.speed, decode)
    if set(ours) & set(theirs):
        together = ratio(ours, theirs)
        return _log_half(together) if together else None
    if not (ours and theirs):
        return None
    return _both(*(over_launches(list(launches.values())) for launches in (ours, theirs)))


def _energy(row: Row, other: Row, _: Sequence[str]) -> float | None:
    if not (row.energy and other.energy):
        return None
    return _both(row.energy.j_per_token, other.energy.j_per_token)


def _unlike(row: Row, other: Row) -> bool:
    return not (row.energy and other.energy) or row.energy.source != other.energy.source


def _both(mine: Estimate, theirs: Estimate) -> float | None:
    halves = [_log_half(mine), _log_half(theirs)]
    told = [half for half in halves if half is not None]
    return math.hypot(*told) if len(told) == len(halves) else None


def _log_half(estimate: Estimate) -> float | None:
    if not estimate.bounds:
        return None
    low, high = estimate.bounds
    if low <= 0:
        return None
    return max(math.log(high / estimate.value), math.log(estimate.value / low))


def _memory(row: Row, other: Row, _: Sequence[str]) -> float | None:
    return 0.0


def _accuracy(row: Row, other: Row, tasks: Sequence[str]) -> float | None:
    reach = accuracy_reach(row, other, tasks)
    mine, theirs = value_of("accuracy", row, tasks), value_of("accuracy", other, tasks)
    if reach is None or mine is None or theirs is None:
        return None
    return reach / max(min(mine, theirs), _LEAST_SHARE)


_REACHES: dict[Aspect, Callable[[Row, Row, Sequence[str]], float | None]] = {
    "decode": _decode,
    "prefill": _prefill,
    "energy": _energy,
    "memory": _memory,
    "accuracy": _accuracy,
}
