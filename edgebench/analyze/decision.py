"""What a pick comes to: the winner and how to run it, each loser and why, and what is open.

Records alone, in SI units. Decides nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgebench.analyze.advice import Advice
from edgebench.analyze.choosing import Aspect
from edgebench.analyze.constraints import Check
from edgebench.analyze.running import Command
from edgebench.records.base import Estimate, Record, Told

Kind = Literal["failed", "breaks", "open", "unmeasured", "worse", "alike", "beside"]


class Rejection(Record):
    """Why an artifact can't be taken."""

    artifact: Told
    constraint: Told
    estimate: Estimate | None = None
    limit: float | None = None
    about: Told = ""
    reason: Told = ""


class Next(Record):
    """A question that is open, and what to type so that it closes."""

    artifact: Told
    constraint: Told
    message: Told
    about: Told = ""
    estimate: Estimate | None = None
    limit: float | None = None
    advice: Advice | None = None


class Aside(Record):
    """An artifact that was not considered, and why."""

    artifact: Told
    reason: Told


class Comparison(Record):
    """How the winner stands to a loser in one respect."""

    aspect: Aspect
    winner: Estimate
    loser: Estimate
    by: float = Field(
        description="how much better the winner is: 0.1 is 10 %, in accuracy 10 points; below 0 "
        "where the loser is better"
    )
    is_shown: bool = Field(description="whether that is more than chance")
    p_value: float | None = None


class Loser(Record):
    """Why an artifact was not picked."""

    artifact: Told
    why: Kind
    behind: float | None = Field(
        default=None, description="how much better the winner is at the objective, 0.1 for 10 %"
    )
    is_shown: bool = Field(default=False, description="whether that is more than chance")
    breaks: tuple[Check, ...] = ()
    open: tuple[Check, ...] = ()
    compared: tuple[Comparison, ...] = ()
    reason: Told = Field(default="", description="beside the figures")


class Winner(Record):
    """What was picked, with the settings that were measured and what to type to run it."""

    artifact: Told = Field(description="its name, as the pick tells rows apart")
    name: Told = Field(description="the artifact's own name")
    model: Told
    level: Told
    format: Told
    device: Told
    path: Told
    sha256: Told
    runtime: Told
    settings: dict[str, int | str | None]
    figures: dict[Aspect, Estimate]
    run: tuple[Command, ...]


class Pick(Record):
    """The decision, and why."""

    decision: Literal["picked", "none", "undecided"]
    artifact: Told | None
    sha256: Told | None
    winner: Winner | None = None
    objective: Told
    weights: dict[Aspect, float] = Field(default={}, description="of the objective; add up to 1")
    tasks: tuple[Told, ...]
    baseline: Told | None
    satisfying: tuple[Told, ...]
    pareto: tuple[Told, ...]
    losers: tuple[Loser, ...] = ()
    rejected: tuple[Rejection, ...]
    measure_next: tuple[Next, ...]
    left_open: tuple[Next, ...]
    left_out: tuple[Aside, ...]
    reason: Told
    warnings: tuple[Told, ...]
    checks: dict[str, tuple[Check, ...]]
