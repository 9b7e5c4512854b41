"""The figures that are promised: what a benchmark returns, and which there are.

Each module here has `measure(...) -> list[Figure]`, whose arguments all have defaults, and says in
its docstring's first line what it shows. Importing one measures nothing and loads nothing heavy.
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# name -> about how long it takes with its defaults, on two cores, once everything is built.
DURATIONS = {
    "help": "15 s",
    "speed": "10 min",
    "wall": "5 min",
    "quantize": "3 min",
    "sampler": "3 min",
    "hellaswag": "10 min",
    "tasks": "20 min",
    "divergence": "15 min",
    "onnx": "40 min",
    "racing": "2 min",
    "repeats": "25 min",
}


@dataclass(frozen=True)
class Range:
    """Two ends of a range; None where it has none."""

    low: float | None
    high: float | None

    def holds(self, value: float) -> bool:
        """Tell whether a value lies within, the ends included."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.low is None:
            return "" if self.high is None else f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Figure:
    """A row of the table: what is measured, what is wanted, what came out.

    `wanted` is None where a figure is shown for itself. `spread` is the range of what `measured`
    is the middle of, and `n` their number. The unit, where there is one, ends the name.
    """

    name: str
    wanted: Range | None
    measured: float
    spread: Range | None = None
    n: int = 1
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Tell whether the figure is as wanted; None where nothing is."""
        return None if self.wanted is None else self.wanted.holds(self.measured)


class NotMeasurableError(Exception):
    """What a benchmark needs isn't here; the message says what to do."""


def ratio(name: str, pairs: Sequence[tuple[float, float]], wanted: Range | None) -> Figure:
    """Return the median of the pairs' ratios, ours over theirs, with both medians as its note."""
    ratios = [ours / theirs for ours, theirs in pairs]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Figure(
        name=name,
        wanted=wanted,
        measured=statistics.median(ratios),
        spread=Range(min(ratios), max(ratios)),
        n=len(ratios),
        note=f"medians {ours:.4g} and {theirs:.4g}",
    )


def summary(name: str) -> str:
    """Return the first line of a benchmark's docstring."""
    return (importlib.import_module(f"benchmarks.{name}").__doc__ or "").splitlines()[0]


def measure_of(name: str) -> Callable[..., list[Figure]]:
    """Return a benchmark's function."""
    measure: Callable[..., list[Figure]] = importlib.import_module(f"benchmarks.{name}").measure
    return measure
